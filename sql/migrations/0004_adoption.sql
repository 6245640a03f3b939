-- How a table comes to be. A migration drafts it in schema coach, in full; coach.settle then moves it to public, or,
-- where an app's database has one of that name, gives that one what it lacks.

-- A draft's column list, as the parts of "add column".
create function coach.column_definition(p_table regclass, p_column name) returns text
language sql stable
as $$
    select format('%I %s', attname, format_type(atttypid, atttypmod))
        || case attgenerated when 's' then format(' generated always as (%s) stored', expression) else '' end
        || case when attgenerated = '' and expression is not null then ' default ' || expression else '' end
        || case when attnotnull then ' not null' else '' end
    from pg_attribute
    left join lateral (
        select pg_get_expr(adbin, adrelid) as expression
        from pg_attrdef
        where adrelid = attrelid and adnum = attnum
    ) default_value on true
    where attrelid = p_table and attname = p_column
$$;

create function coach.settle(p_name name, p_owner name default 'user_id') returns void
language plpgsql
as $$
declare
    draft regclass := format('coach.%I', p_name)::regclass;
begin
    if to_regclass(format('public.%I', p_name)) is null then
        execute format('alter table %s set schema public', draft);
    else
        perform coach.adopt(p_name, p_owner);
        execute format('drop table coach.%I', p_name);
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
    execute format('create index if not exists %I on %s (user_id, %I)', child || '_' || p_column || '_own_idx', p_child, p_column);
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
        perform coach.report(format('public.%s: %s rows named a %s that is not their owner''s; set to null', child, strays, p_column));
    end if;
    execute format('alter table %s validate constraint %I', p_child, fkey);
end
$$;

revoke all on all functions in schema coach from public;
grant execute on function coach.acts_for(uuid) to authenticated, service_role;
