-- after: dependents
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
    perform coach.lock_writing_users(p_table);
end
$$;

-- Locks the user before the rows. Every statement that writes a user's rows first takes a share of that user's row of
-- auth.users. Every foreign key takes the same share at the end of the statement. A deletion of the account locks that
-- row first and then the others. Without this order an edit locks a task and then needs the share, a deletion has the
-- user's row and waits for the task, and PostgreSQL fails one of them. A statement within a trigger or a cascade needs
-- no lock of its own: the outer statement has it. Not on Citus, whose triggers run on the shards.
create function coach.lock_writing_users(p_table regclass) returns void
language plpgsql
as $$
begin
    if not coach.on_citus() then
        execute format(
            'create or replace trigger coach_lock_user
            before insert or update or delete on %s
            for each statement
            when (pg_trigger_depth() = 0)
            execute function coach.lock_writing_user()',
            p_table
        );
    end if;
end
$$;

-- The tables that link to each other: their old keys between themselves go, coach.link makes new ones.
create function coach.linked_tables() returns name[]
language sql immutable
as $$ select array['pillars', 'areas', 'projects', 'tasks']::name[] $$;

create function coach.settle(p_name name, p_owner name default 'user_id') returns void
language plpgsql
as $$
declare
    draft regclass := format('coach.%I', p_name)::regclass;
begin
    if to_regclass(format('public.%I', p_name)) is not null then
        begin
            perform coach.adopt(p_name, p_owner);
            execute format('drop table coach.%I', p_name);
        exception
            when others then
                perform coach.refuse_after_error(p_name, sqlstate, sqlerrm);
        end;
    end if;
    if to_regclass(format('coach.%I', p_name)) is not null then
        execute format('alter table %s set schema public', draft);
    end if;
    perform coach.place(format('public.%I', p_name)::regclass, p_owner);
    perform coach.protect(format('public.%I', p_name)::regclass, p_owner);
end
$$;

-- A foreign key between two tables of users: composite, so that nobody can point at another user's row, with the index
-- that deleting through it needs. Children of a foreign or missing parent are let go of, and reported.
create function coach.link(p_child regclass, p_column name, p_parent regclass, p_action text default 'cascade')
returns void
language plpgsql
as $$
declare
    child name := (select relname from pg_class where oid = p_child);
    fkey name := format('%s_%s_own_fkey', child, p_column);
    old record;
    strays bigint;
begin
    if to_regclass(format('coach_refused.%I', child)) is not null
        or to_regclass(format('coach_refused.%I', (select relname from pg_class where oid = p_parent))) is not null
    then
        return;
    end if;
    execute format(
        'create index if not exists %I on %s (user_id, %I)', child || '_' || p_column || '_own_idx', p_child, p_column
    );
    for old in
        select conname
        from pg_constraint
        join pg_attribute on attrelid = conrelid and attnum = conkey[1]
        where conrelid = p_child and contype = 'f' and cardinality(conkey) = 1 and attname = p_column
    loop
        execute format('alter table %s drop constraint %I', p_child, old.conname);
    end loop;
    execute format(
        'alter table %s add constraint %I foreign key (user_id, %I) references %s (user_id, id) on delete %s not valid',
        p_child, fkey, p_column, p_parent, p_action
    );
    execute format(
        'with stray as (
            select to_jsonb(c) ->> ''id'' as id, c.%1$I as parent
            from %2$s c
            where c.%1$I is not null
                and not exists (select from %3$s p where p.user_id = c.user_id and p.id = c.%1$I)
        )
        insert into coach.system_log (webhook_type, table_name, row_id, old_value)
        select ''adoption_foreign_parent'', %4$L, id, jsonb_build_object(%1$L, parent) from stray',
        p_column, p_child, p_parent, child
    );
    get diagnostics strays = row_count;
    if strays > 0 then
        execute format('alter table %s alter column %I drop not null', p_child, p_column);
        execute format(
            'update %2$s c set %1$I = null
            where c.%1$I is not null
                and not exists (select from %3$s p where p.user_id = c.user_id and p.id = c.%1$I)',
            p_column, p_child, p_parent
        );
        perform coach.report(format(
            'public.%s: %s rows named a %s that is not their owner''s; set to null', child, strays, p_column
        ));
    end if;
    execute format('alter table %s validate constraint %I', p_child, fkey);
end
$$;
