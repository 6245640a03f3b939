-- The private schema: what the system notes of no user, and what stands on every table of users.
revoke all on schema coach from public;
grant usage on schema coach to authenticated, service_role, coach_server, coach_worker;
grant usage on schema public to anon, authenticated, service_role, coach_server, coach_worker;
grant select on coach.migrations to authenticated, service_role, coach_server, coach_worker;
grant select on coach.functions to coach_server, coach_worker;

do $$
begin
    if not exists (select from pg_extension where extname = 'vector') then
        if to_regnamespace('extensions') is not null then
            create extension vector with schema extensions;
        else
            create extension vector with schema public;
        end if;
    end if;
end
$$;

-- Where the extension lies elsewhere (Supabase: extensions), the server's own sessions must find its types.
do $$
declare
    home name := (
        select nspname
        from pg_extension e
        join pg_namespace n on n.oid = extnamespace
        where extname = 'vector'
    );
    login name;
begin
    if home <> 'public' then
        execute format('grant usage on schema %I to authenticated, service_role, coach_server, coach_worker', home);
        foreach login in array array['coach_server', 'coach_worker']::name[] loop
            execute format(
                'alter role %I in database %I set search_path = "$user", public, %I', login, current_database(), home
            );
        end loop;
    end if;
end
$$;

-- Events of no user: the columns of webhook_logs, and for a repaired row which one and what it held.
create table coach.system_log (
    id uuid primary key default gen_random_uuid(),
    webhook_type text not null,
    table_name text,
    row_id text,
    old_value jsonb,
    triggered_at timestamptz not null default now(),
    status text not null default 'completed'
        check (status in ('pending', 'queued', 'processing', 'completed', 'error')),
    error_message text,
    processed_at timestamptz
);
create index system_log_triggered_at_idx on coach.system_log (triggered_at);
alter table coach.system_log enable row level security;
alter table coach.system_log force row level security;
grant select, insert, update, delete on coach.system_log to service_role;

-- Rows that an adopted table held without an owner, whole.
create table coach.rows_without_user (
    id uuid primary key default gen_random_uuid(),
    table_name text not null,
    content jsonb not null,
    moved_at timestamptz not null default now()
);
alter table coach.rows_without_user enable row level security;
alter table coach.rows_without_user force row level security;
grant select, delete on coach.rows_without_user to service_role;

-- Setting aside what stands on something that must be replaced (views on a column of another type, functions whose
-- result changes), and putting it back. What cannot be put back stays in the table, as the statements that made it.
create table coach.set_aside (
    position bigint generated always as identity primary key,
    what text not null,
    statements text[] not null
);
alter table coach.set_aside enable row level security;
alter table coach.set_aside force row level security;
grant select, delete on coach.set_aside to service_role;

-- A definer, so that a browser's write holds its own account. Every users' table has a trigger that calls it
-- (coach.lock_writing_users), so it stays here.
create function coach.lock_writing_user() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    perform from auth.users where id = auth.uid() for key share;
    return null;
end
$$;

do $$
begin
    if not exists (select from pg_extension where extname = 'citus')
        and not (has_table_privilege('auth.users', 'select') and has_table_privilege('auth.users', 'update'))
    then
        raise exception 'auth.users: % may not lock its rows', current_user
            using errcode = 'insufficient_privilege',
                hint = format('Grant it: grant select, update on auth.users to %I', current_user);
    end if;
end
$$;
revoke all on all functions in schema coach from public;
