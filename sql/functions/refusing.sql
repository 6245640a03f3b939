-- after: columns, tables
-- What of an app's table would refuse a row of ours: its checks and foreign keys of columns that we write, its unique
-- constraints of fewer columns than ours, and its own columns, which we do not know. All of it gives way, and is reported.

create function coach.is_linked(p_table regclass) returns boolean
language sql stable
as $$ select p_table in (select to_regclass(format('public.%I', t)) from unnest(coach.linked_tables()) t) $$;

-- Whose rows a browser writes, by the app's own rules.
create function coach.is_browsers(p_table regclass) returns boolean
language sql stable
as $$
    select coach.is_linked(p_table)
        or p_table in (
            to_regclass('public.journal_entries'), to_regclass('public.user_profiles'),
            to_regclass('public.user_analytics_preferences')
        )
$$;

-- An app's index or check may have the name that ours will have.
create function coach.clear_names(p_table regclass, p_draft regclass) returns void
language plpgsql
as $$
declare
    old record;
begin
    for old in
        select format('alter index %s rename to %I', indexrelid::regclass, 'app_' || left(relname, 59)) as rename
        from pg_index
        join pg_class c on c.oid = indexrelid
        where indrelid = p_table
            and relname like '%\_idx'
            and not exists (select from pg_constraint where conindid = indexrelid)
        union all
        select format('alter table %s rename constraint %I to %I', p_table, conname, 'app_' || left(conname, 59))
        from pg_constraint app
        where conrelid = p_table
            and exists (select from pg_constraint ours where ours.conrelid = p_draft and ours.conname = app.conname)
            and contype = 'c'
    loop
        execute old.rename;
    end loop;
end
$$;

create function coach.drop_constraint(p_table regclass, p_name name, p_is_remade boolean default false) returns void
language plpgsql
as $$
declare
    definition text := (
        select pg_get_constraintdef(oid) from pg_constraint where conrelid = p_table and conname = p_name
    );
begin
    execute format('alter table %s drop constraint %I', p_table, p_name);
    if not p_is_remade then
        perform coach.report(format(
            '%s: %s dropped, which could refuse what the coach writes: %s', coach.full_name(p_table), p_name, definition
        ), 'converted');
    end if;
end
$$;

create function coach.drop_constraints(p_table regclass, p_draft regclass, p_owner name) returns void
language plpgsql
as $$
declare
    old record;
begin
    for old in
        select
            conname,
            contype = 'f' and (confrelid = conrelid or coach.is_linked(confrelid)) as is_remade
        from pg_constraint c
        where conrelid = p_table
            and contype in ('c', 'f')
            and exists (
                select
                from pg_attribute app
                join pg_attribute ours on ours.attrelid = p_draft and ours.attname = app.attname
                where app.attrelid = p_table
                    and app.attnum = any (conkey)
                    and not (contype = 'f' and app.attname = p_owner)
            )
        order by conname
    loop
        perform coach.drop_constraint(p_table, old.conname, old.is_remade);
    end loop;
end
$$;

-- p_columns are of a unique constraint of ours. An app's without the user would tell one user of another's rows; of tables
-- that the server writes (one message a day?) any could refuse it.
create function coach.drop_narrow_keys(p_table regclass, p_draft regclass, p_columns name[]) returns void
language plpgsql
as $$
declare
    old record;
begin
    for old in
        select indexrelid::regclass as index, conname, columns.names
        from pg_index
        left join pg_constraint on conindid = indexrelid and conrelid = indrelid and contype = 'u'
        cross join lateral (
            select array_agg(attname order by attname) as names
            from pg_attribute
            where attrelid = p_table and attnum = any (indkey)
        ) columns
        where indrelid = p_table
            and indisunique
            and not indisprimary
            and columns.names not in (p_columns, '{id}')
            and (
                columns.names <@ p_columns
                or 'user_id' = any (p_columns)
                    and ('user_id' <> all (columns.names) or not coach.is_browsers(p_table))
                    and columns.names <@ array(select attname from pg_attribute where attrelid = p_draft)
                    and not 'id' = any (columns.names)
            )
        order by columns.names
    loop
        execute case
            when old.conname is null then format('drop index %s', old.index)
            else format('alter table %s drop constraint %I', p_table, old.conname)
        end;
        perform coach.report(format(
            '%s: unique (%s) dropped, since ours is of (%s); consider: name these in the app''s "on conflict"',
            coach.full_name(p_table), array_to_string(old.names, ', '), array_to_string(p_columns, ', ')
        ), 'warning');
    end loop;
end
$$;

-- The app's own columns: which are null where we add a row, or hold their default.
create function coach.relax_columns(p_table regclass, p_draft regclass) returns void
language plpgsql
as $$
declare
    col record;
    old record;
    presets text := '';
    refuses boolean;
begin
    for col in
        select
            attname as name,
            format_type(atttypid, atttypmod) as type,
            format_type(typbasetype, typtypmod) as base,
            typtype = 'd' and typnotnull as is_strict,
            attnotnull and adbin is null and attidentity = '' as is_required,
            attnum = any (indkey) as is_key,
            case when attgenerated = '' then pg_get_expr(adbin, adrelid) end as preset
        from pg_attribute a
        join pg_type t on t.oid = atttypid
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        left join pg_index on indrelid = attrelid and indisprimary
        where attrelid = p_table
            and attnum > 0
            and not attisdropped
            and not exists (select from pg_attribute ours where ours.attrelid = p_draft and ours.attname = a.attname)
        order by attnum
    loop
        if col.is_required and col.is_key then
            raise exception '%: % is of the primary key and has no default, so the coach could add no row: '
                'give it a default, or make id the key', coach.full_name(p_table), col.name;
        end if;
        if col.is_required then
            execute format('alter table %s alter %I drop not null', p_table, col.name);
            perform coach.report(format(
                '%s: %s was not null without a default; it may be null now', coach.full_name(p_table), col.name
            ), 'converted');
        end if;
        if col.is_strict and col.preset is null then
            execute format('alter table %s alter %I type %s', p_table, col.name, col.base);
            perform coach.report(format(
                '%s: %s was %s, which may not be null; it is %s now',
                coach.full_name(p_table), col.name, col.type, col.base
            ), 'converted');
            col.type := col.base;
        end if;
        presets := presets || format(
            ', (%s)::%s as %I', coalesce(case when col.preset !~ 'nextval' then col.preset end, 'null'), col.type, col.name
        );
    end loop;
    for old in
        select conname, pg_get_expr(conbin, conrelid) as expression
        from pg_constraint
        where conrelid = p_table and contype = 'c'
        order by conname
    loop
        execute format('select (%s) is false from (select null%s) preset', old.expression, presets) into refuses;
        if refuses then
            perform coach.drop_constraint(p_table, old.conname);
        end if;
    end loop;
end
$$;
