-- after: app_columns, constraints, filling, tags
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

-- Rows without a user are moved out, whole, before anything could cascade from them. Only rows that others refer to are
-- the operator's to decide about.
create function coach.move_rows_without_user(p_table regclass, p_name name, p_owner name) returns void
language plpgsql
as $$
declare
    ownerless text := format('not exists (select from auth.users u where u.id = t.%I)', p_owner);
    old record;
    moved bigint;
begin
    for old in
        select
            conrelid::regclass as child,
            conname,
            coach.is_linked(conrelid) as is_linked,
            (
                select string_agg(format('c.%I = t.%I', child.attname, parent.attname), ' and ')
                from unnest(conkey, confkey) key (child, parent)
                join pg_attribute child on child.attrelid = conrelid and child.attnum = key.child
                join pg_attribute parent on parent.attrelid = confrelid and parent.attnum = key.parent
            ) as joined
        from pg_constraint
        where contype = 'f' and confrelid = p_table
    loop
        if old.is_linked then
            execute format('alter table %s drop constraint %I', old.child, old.conname);
            continue;
        end if;
        execute format('select count(*) from %s t join %s c on %s where %s', p_table, old.child, old.joined, ownerless)
        into moved;
        if moved > 0 then
            raise exception '% has rows without an owner, and % rows of % refer to them: give them one, or delete them',
                coach.full_name(p_table), moved, old.child;
        end if;
    end loop;
    execute format(
        'with gone as (delete from %s t where %s returning to_jsonb(t) as content),
        kept as (insert into coach.rows_without_user (table_name, content) select %3$L, content from gone)
        insert into coach.system_log (webhook_type, table_name, row_id, old_value)
        select ''adoption_ownerless'', %3$L, content ->> ''id'', content from gone',
        p_table, ownerless, p_name
    );
    get diagnostics moved = row_count;
    if moved > 0 then
        perform coach.report(format(
            'public.%s: %s rows without an owner moved to coach.rows_without_user', p_name, moved
        ));
    end if;
end
$$;

-- The owner's key: to auth.users, and it cascades.
create function coach.adopt_owner(p_table regclass, p_owner name) returns void
language plpgsql
as $$
declare
    old record;
    kept boolean := false;
begin
    for old in
        select conname, confrelid = 'auth.users'::regclass and confdeltype = 'c' as good
        from pg_constraint
        join pg_attribute on attrelid = conrelid and attnum = conkey[1]
        where conrelid = p_table and contype = 'f' and cardinality(conkey) = 1 and attname = p_owner
    loop
        if old.good and not kept then
            kept := true;
        else
            execute format('alter table %s drop constraint %I', p_table, old.conname);
        end if;
    end loop;
    if not kept then
        execute format(
            'alter table %s add foreign key (%I) references auth.users (id) on delete cascade', p_table, p_owner
        );
    end if;
end
$$;

-- An owner's column must be a uuid before anything can be said of owners.
create function coach.adopt_owner_column(p_table regclass, p_owner name) returns void
language plpgsql
as $$
declare
    found text := (
        select format_type(atttypid, atttypmod)
        from pg_attribute
        where attrelid = p_table and attname = p_owner and not attisdropped
    );
    is_filled boolean;
begin
    if found is null then
        execute format('select exists (select from %s)', p_table) into is_filled;
        if is_filled then
            raise exception '% has rows, but no %: is it another table of that name? Rename it.',
                coach.full_name(p_table), p_owner;
        end if;
        execute format('alter table %s add %I uuid', p_table, p_owner);
    elsif found <> 'uuid' then
        perform coach.convert_column(p_table, p_owner, 'uuid', p_owner);
    end if;
end
$$;

create function coach.adopt(p_name name, p_owner name) returns void
language plpgsql
as $$
declare
    target regclass := format('public.%I', p_name)::regclass;
    draft regclass := format('coach.%I', p_name)::regclass;
    kind "char" := (select relkind from pg_class where oid = target);
    nullable name[];
    rows bigint;
begin
    if kind <> 'r' then
        raise exception 'public.% is no plain table (%), and the coach needs one of that name: rename it', p_name, kind;
    end if;
    execute format('select count(*) from %s', target) into rows;
    perform coach.report(format('public.%s: was there, %s rows', p_name, rows));
    -- A deferred key with events of its own would keep the table from being altered.
    set constraints all immediate;
    perform coach.pause_triggers(target);
    if p_name = 'user_behavior_events' then
        perform coach.keep_event_kinds(target);
    end if;
    nullable := coach.nullable_columns(target, draft);
    perform coach.drop_constraints(target, draft, p_owner);
    perform coach.clear_names(target, draft);
    perform coach.adopt_owner_column(target, p_owner);
    perform coach.move_rows_without_user(target, p_name, p_owner);
    perform coach.adopt_columns(target, draft, p_owner);
    perform coach.relax_columns(target, draft);
    perform coach.adopt_constraints(target, draft);
    perform coach.adopt_owner(target, p_owner);
    perform coach.welcome_nulls(target, nullable);
end
$$;
