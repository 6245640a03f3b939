-- The private schema: logs, and what every later migration is written with.
revoke all on schema coach from public;
grant usage on schema coach to authenticated, service_role, coach_server, coach_worker;
grant usage on schema public to anon, authenticated, service_role, coach_server, coach_worker;
grant select on coach.migrations to authenticated, service_role, coach_server, coach_worker;

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
create table coach.ownerless_rows (
    id uuid primary key default gen_random_uuid(),
    table_name text not null,
    content jsonb not null,
    moved_at timestamptz not null default now()
);
alter table coach.ownerless_rows enable row level security;
alter table coach.ownerless_rows force row level security;
grant select, delete on coach.ownerless_rows to service_role;

-- What a migration did to what was there. The runner passes INFO on to whoever migrates.
create function coach.report(p_text text) returns void
language plpgsql
as $$
begin
    raise info '%', p_text;
end
$$;

create function coach.on_citus() returns boolean
language sql stable
as $$ select exists (select from pg_extension where extname = 'citus') $$;

-- Citus: users' tables lie by their owner, so that everything of one user is on one shard; what they all
-- refer to is on every node.
create function coach.place(p_table regclass, p_owner name default 'user_id') returns void
language plpgsql
as $$
begin
    if not coach.on_citus() then
        return;
    end if;
    if not exists (select from pg_dist_partition where logicalrelid = 'auth.users'::regclass) then
        perform create_reference_table('auth.users');
    end if;
    if not exists (select from pg_dist_partition where logicalrelid = p_table) then
        perform create_distributed_table(p_table, p_owner::text);
    end if;
end
$$;

-- Row level security of one table: an app's lax policy is OR-ed with the permissive one, hence the restrictive one.
-- Citus refuses subqueries in policies; elsewhere one keeps auth.uid() from being asked per row.
create function coach.protect(p_table regclass, p_owner name default 'user_id') returns void
language plpgsql
as $$
declare
    own text := format('%I = %s', p_owner, case when coach.on_citus() then 'auth.uid()' else '(select auth.uid())' end);
begin
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    execute format('drop policy if exists coach_own on %s', p_table);
    execute format('drop policy if exists coach_only_own on %s', p_table);
    execute format('create policy coach_own on %s as permissive using (%s) with check (%s)', p_table, own, own);
    execute format('create policy coach_only_own on %s as restrictive using (%s) with check (%s)', p_table, own, own);
    execute format('revoke all on table %s from public, anon, authenticated, coach_session', p_table);
    execute format('grant select, insert, update, delete on table %s to service_role', p_table);
    perform coach.hold_writers(p_table);
end
$$;

-- The person before their rows: who writes rows of somebody's first takes a share of that somebody's row of auth.users,
-- which is what every foreign key to it takes at the end of a statement anyway. A deletion of the account takes that row
-- whole and then the others; in the opposite order an edit that holds a task and then queues it, and a deletion that waits
-- for the task, wait for each other, and PostgreSQL fails one of them.
-- Within triggers and cascades the statement that set them off has done so already. Not on Citus, whose triggers run on
-- the shards.
create function coach.hold_writers(p_table regclass) returns void
language plpgsql
as $$
begin
    if not coach.on_citus() then
        execute format(
            'create or replace trigger coach_hold_person
            before insert or update or delete on %s
            for each statement
            when (pg_trigger_depth() = 0)
            execute function coach.hold_writer()',
            p_table
        );
    end if;
end
$$;

create function coach.hold_writer() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    perform from auth.users where id = auth.uid() for key share;
    return null;
end
$$;

-- May whoever calls act for this user? The user, or a role that bypasses row level security anyway. Asked of the role
-- setting and not of current_user, which inside a definer function is the function's owner.
create function coach.acts_for(p_user_id uuid) returns boolean
language sql stable
set search_path = ''
as $$
    select coalesce(p_user_id = auth.uid(), false)
        or exists (
            select
            from pg_catalog.pg_roles
            where rolname = coalesce(nullif(current_setting('role'), 'none'), session_user)
                and (rolsuper or rolbypassrls)
        )
$$;

-- The same for a transaction that locks rows before it writes any, or that works for somebody whose claims it has not.
create function coach.hold_person(p_user_id uuid) returns void
language plpgsql security definer
set search_path = ''
as $$
begin
    if coach.acts_for(p_user_id) then
        perform from auth.users where id = p_user_id for key share;
    end if;
end
$$;

do $$
begin
    if coach.on_citus() then
        create or replace function coach.hold_person(p_user_id uuid) returns void
        language sql
        as 'select';
    elsif not (has_table_privilege('auth.users', 'select') and has_table_privilege('auth.users', 'update')) then
        raise exception 'auth.users: % may not lock its rows', current_user
            using errcode = 'insufficient_privilege',
                hint = format('Grant it: grant select, update on auth.users to %I', current_user);
    end if;
end
$$;

revoke all on all functions in schema coach from public;
grant execute on function coach.acts_for(uuid), coach.hold_person(uuid) to authenticated, service_role;
