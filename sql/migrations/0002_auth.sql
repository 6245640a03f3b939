-- What Supabase brings along: made only where the database does not have it.
create schema if not exists auth;

do $$
begin
    if to_regclass('auth.users') is null then
        create table auth.users (
            id uuid primary key default gen_random_uuid(),
            email text,
            created_at timestamptz not null default now()
        );
        alter table auth.users enable row level security;
        grant select, insert, update, delete on auth.users to service_role;
    end if;

    if to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb
        language sql stable
        as $f$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $f$;
    end if;

    -- A sub that is no uuid means no user and is no error, so it is checked before the cast. A search calls this about
    -- eight times. So it is one expression, which the planner inlines, without a regular expression: 4 us instead of 7.
    if to_regprocedure('auth.uid()') is null then
        execute format(
            $f$
                create function auth.uid() returns uuid
                language sql stable
                return case when %s then (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid end
            $f$,
            case
                when current_setting('server_version_num')::integer >= 160000
                then $valid$
                    length(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub') = 36
                    and pg_input_is_valid(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', 'uuid')
                $valid$
                else $valid$
                    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
                        ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                $valid$
            end
        );
    end if;

    if to_regprocedure('auth.role()') is null then
        create function auth.role() returns text
        language sql stable
        as $f$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $f$;
    end if;
    if not has_schema_privilege('authenticated', 'auth', 'usage') then
        grant usage on schema auth to anon, authenticated, service_role;
    end if;
end
$$;
