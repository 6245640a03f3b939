-- What Supabase brings along, before any app: its roles and their grants. A superuser runs it in an empty database.
-- app_postgres stands for Supabase's postgres, which is no superuser and does not own auth.

do $$
declare
    wanted record;
begin
    for wanted in
        select *
        from (values
            ('anon', 'nologin noinherit'),
            ('authenticated', 'nologin noinherit'),
            ('service_role', 'nologin noinherit bypassrls'),
            ('supabase_auth_admin', 'login noinherit createrole'),
            ('authenticator', 'login noinherit'),
            ('app_postgres', 'login createdb createrole bypassrls')
        ) role (name, attributes)
    loop
        if to_regrole(wanted.name) is null then
            execute format('create role %I %s', wanted.name, wanted.attributes);
        end if;
    end loop;
    -- Those of ours that another database of this cluster made: who made a role may grant it, and here it was another.
    for wanted in
        select rolname as name
        from pg_roles
        where rolname in
            ('anon', 'authenticated', 'service_role', 'coach_session', 'coach_server', 'coach_worker', 'authenticator')
    loop
        execute format('grant %I to app_postgres with admin option', wanted.name);
    end loop;
    execute format('grant all on database %I to app_postgres', current_database());
end
$$;
grant anon, authenticated, service_role to authenticator;

create schema extensions;
create extension vector with schema extensions;
grant all on schema extensions to app_postgres;
grant usage on schema extensions to anon, authenticated, service_role;

grant all on schema public to app_postgres;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role app_postgres in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role app_postgres in schema public
    grant all on functions to anon, authenticated, service_role;
alter default privileges for role app_postgres in schema public
    grant all on sequences to anon, authenticated, service_role;

create schema auth authorization supabase_auth_admin;
set role supabase_auth_admin;
create table auth.users (
    instance_id uuid,
    id uuid primary key,
    aud varchar(255),
    role varchar(255),
    email varchar(255),
    encrypted_password varchar(255),
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    created_at timestamptz,
    updated_at timestamptz,
    is_anonymous boolean not null default false,
    deleted_at timestamptz
);
create table auth.sessions (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    created_at timestamptz
);
alter table auth.users enable row level security;
create function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;
create function auth.role() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
    )::text
$$;
create function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;
grant usage on schema auth to anon, authenticated, service_role, app_postgres;
-- Nothing of auth.users is the service role's to read or lock.
grant insert, update, delete, truncate, references, trigger on all tables in schema auth to app_postgres;
grant select on all tables in schema auth to app_postgres with grant option;
reset role;
