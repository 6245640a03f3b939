-- after: tables
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

-- Rows without a user are moved out, whole, before anything could cascade from them.
create function coach.move_rows_without_user(p_table regclass, p_name name, p_owner name) returns void
language plpgsql
as $$
declare
    old record;
    moved bigint;
begin
    for old in
        select conrelid::regclass as child, conname
        from pg_constraint
        where contype = 'f'
            and confrelid = p_table
            and conrelid in (select to_regclass(format('public.%I', t)) from unnest(coach.linked_tables()) t)
    loop
        execute format('alter table %s drop constraint %I', old.child, old.conname);
    end loop;
    execute format(
        'insert into coach.rows_without_user (table_name, content)
        select %1$L, to_jsonb(t) from %2$s t where not exists (select from auth.users u where u.id = t.%3$I)',
        p_name, p_table, p_owner
    );
    get diagnostics moved = row_count;
    if moved = 0 then
        return;
    end if;
    for old in select conrelid::regclass as child from pg_constraint where contype = 'f' and confrelid = p_table loop
        raise exception 'public.% has % rows without an owner, and % refers to it: give them one, or delete them',
            p_name, moved, old.child;
    end loop;
    execute format(
        'delete from %1$s t where not exists (select from auth.users u where u.id = t.%2$I)', p_table, p_owner
    );
    insert into coach.system_log (webhook_type, table_name, row_id, old_value)
    select 'adoption_ownerless', p_name, content ->> 'id', content
    from coach.rows_without_user
    where table_name = p_name;
    perform coach.report(format('public.%s: %s rows without an owner moved to coach.rows_without_user', p_name, moved));
end
$$;

-- Columns that are missing are added; those that are there get our default and not null where they can.
create function coach.adopt_columns(p_table regclass, p_draft regclass) returns void
language plpgsql
as $$
declare
    col record;
    filled bigint;
    filled_table boolean;
begin
    execute format('select exists (select from %s)', p_table) into filled_table;
    for col in
        select
            d.attname as name,
            d.attnotnull as required,
            format_type(d.atttypid, d.atttypmod) as wanted,
            format_type(t.atttypid, t.atttypmod) as found,
            (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = p_draft and adnum = d.attnum) as preset,
            d.attgenerated = '' and t.atthasdef is false as lacks_default,
            t.attnotnull as has_required
        from pg_attribute d
        left join pg_attribute t on t.attrelid = p_table and t.attname = d.attname and not t.attisdropped
        where d.attrelid = p_draft and d.attnum > 0 and not d.attisdropped
        order by d.attnum
    loop
        if col.found is null then
            if col.required and col.preset is null and filled_table then
                raise exception '% has rows, but no %: is it another table of that name? Rename it.', p_table, col.name;
            end if;
            execute format('alter table %s add column %s', p_table, coach.column_definition(p_draft, col.name));
            continue;
        end if;
        if col.found <> col.wanted then
            if col.wanted = 'uuid' then
                raise exception '%.% is %, but must be uuid to be adopted', p_table, col.name, col.found;
            end if;
            perform coach.report(format(
                'public.%s: %s stays %s (ours is %s)', p_table, col.name, col.found, col.wanted
            ));
        elsif col.lacks_default and col.preset is not null then
            execute format('alter table %s alter %I set default %s', p_table, col.name, col.preset);
        end if;
        if col.required and not col.has_required and (col.found = col.wanted or col.preset is null) then
            filled := 0;
            if col.preset is null then
                execute format('select count(*) from %s where %I is null', p_table, col.name) into filled;
                if filled > 0 then
                    perform coach.report(format(
                        'public.%s: %s is null in %s rows; it may stay so', p_table, col.name, filled
                    ));
                    continue;
                end if;
            else
                execute format('update %s set %I = default where %I is null', p_table, col.name, col.name);
                get diagnostics filled = row_count;
            end if;
            if filled > 0 then
                perform coach.report(format(
                    'public.%s: %s was null in %s rows; set to its default', p_table, col.name, filled
                ));
            end if;
            execute format('alter table %s alter %I set not null', p_table, col.name);
        end if;
    end loop;
end
$$;

-- Unique constraints and checks. An app's check of a column that we check as well gives way: it would refuse our
-- values. Where rows hold other values than ours, the app's own check stays.
create function coach.adopt_constraints(p_table regclass, p_draft regclass) returns void
language plpgsql
as $$
declare
    ours record;
    old record;
begin
    for ours in
        select
            conname,
            contype,
            replace(pg_get_constraintdef(c.oid), 'PRIMARY KEY', 'UNIQUE') as definition,
            array(
                select attname from pg_attribute where attrelid = conrelid and attnum = any (conkey) order by 1
            ) as columns
        from pg_constraint c
        where conrelid = p_draft and contype in ('p', 'u', 'c')
    loop
        if ours.contype <> 'c' then
            if not exists (
                select
                from pg_index
                where indrelid = p_table
                    and indisunique
                    and indpred is null
                    and ours.columns = array(
                        select attname from pg_attribute where attrelid = p_table and attnum = any (indkey) order by 1
                    )
            ) then
                execute format('alter table %s add %s', p_table, ours.definition);
            end if;
            continue;
        end if;
        begin
            for old in
                select conname, pg_get_constraintdef(c.oid) as definition
                from pg_constraint c
                where conrelid = p_table
                    and contype = 'c'
                    and ours.columns = array(
                        select attname from pg_attribute where attrelid = p_table and attnum = any (conkey) order by 1
                    )
            loop
                execute format('alter table %s drop constraint %I', p_table, old.conname);
            end loop;
            execute format('alter table %s add constraint %I %s', p_table, ours.conname, ours.definition);
        exception
            when check_violation then
                perform coach.report(format(
                    'public.%s: rows do not keep to %s; it was not added', p_table, ours.definition
                ));
        end;
    end loop;
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

create function coach.adopt(p_name name, p_owner name) returns void
language plpgsql
as $$
declare
    target regclass := format('public.%I', p_name)::regclass;
    draft regclass := format('coach.%I', p_name)::regclass;
    rows bigint;
begin
    execute format('select count(*) from %s', target) into rows;
    perform coach.report(format('public.%s: was there, %s rows', p_name, rows));
    -- A deferred key with events of its own would keep the table from being altered.
    set constraints all immediate;
    perform coach.move_rows_without_user(target, p_name, p_owner);
    perform coach.adopt_columns(target, draft);
    perform coach.adopt_constraints(target, draft);
    perform coach.adopt_owner(target, p_owner);
end
$$;
