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

create function coach.drop_constraints(p_table regclass, p_draft regclass, p_owner name) returns void
language plpgsql
as $$
declare
    old record;
begin
    for old in
        select
            conname,
            pg_get_constraintdef(c.oid) as definition,
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
        execute format('alter table %s drop constraint %I', p_table, old.conname);
        if not old.is_remade then
            perform coach.report(format(
                '%s: %s dropped, which could refuse what the coach writes: %s',
                coach.full_name(p_table), old.conname, old.definition
            ), 'converted');
        end if;
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
        select conname, pg_get_constraintdef(oid) as definition, pg_get_expr(conbin, conrelid) as expression
        from pg_constraint
        where conrelid = p_table and contype = 'c'
        order by conname
    loop
        execute format('select (%s) is false from (select null%s) preset', old.expression, presets) into refuses;
        if refuses then
            execute format('alter table %s drop constraint %I', p_table, old.conname);
            perform coach.report(format(
                '%s: %s dropped, which refuses a row of the coach''s: %s',
                coach.full_name(p_table), old.conname, old.definition
            ), 'converted');
        end if;
    end loop;
end
$$;

-- An app may write our values in other letters ('HIGH', 'in progress'), or in LangChain's words. They become ours, where a
-- check of ours lists the values of one column.
create function coach.respell(p_table regclass, p_column name, p_check text) returns void
language plpgsql
as $$
declare
    allowed text[] := array(select word[1] from regexp_matches(p_check, '''([^'']*)''::text', 'g') word);
    plain constant text := 'regexp_replace(lower(%s), ''[^a-z0-9]'', '''', ''g'')';
    spelt bigint;
begin
    if p_check !~ '= ANY \(ARRAY\[' then
        return;
    end if;
    execute format(
        'update %1$s t
        set %2$I = ours.word
        from unnest($1) ours (word)
        where t.%2$I <> all ($1)
            and (%3$s = %4$s or (%3$s, ours.word) in ((''human'', ''user''), (''ai'', ''assistant'')))',
        p_table, p_column, format(plain, 't.' || quote_ident(p_column)), format(plain, 'ours.word')
    ) using allowed;
    get diagnostics spelt = row_count;
    if spelt > 0 then
        perform coach.report(format(
            '%s: %s spelt otherwise in %s rows, and respelt; consider: write one of %s from now on',
            coach.full_name(p_table), p_column, spelt, array_to_string(allowed, ', ')
        ), 'warning');
    end if;
end
$$;

-- Unique constraints and checks of ours.
create function coach.adopt_constraints(p_table regclass, p_draft regclass) returns void
language plpgsql
as $$
declare
    ours record;
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
        order by conname
    loop
        if ours.contype <> 'c' then
            perform coach.drop_narrow_keys(p_table, p_draft, ours.columns);
            if not exists (
                select
                from pg_index
                where indrelid = p_table
                    and indisunique
                    and indpred is null
                    and indexprs is null
                    and ours.columns = array(
                        select attname from pg_attribute where attrelid = p_table and attnum = any (indkey) order by 1
                    )
            ) then
                execute format('alter table %s add %s', p_table, ours.definition);
            end if;
            continue;
        end if;
        if cardinality(ours.columns) = 1 then
            perform coach.respell(p_table, ours.columns[1], ours.definition);
        end if;
        begin
            execute format('alter table %s add constraint %I %s', p_table, ours.conname, ours.definition);
        exception
            when check_violation then
                perform coach.report(format(
                    '%s: rows do not keep to %s; it was not added', coach.full_name(p_table), ours.definition
                ), 'warning');
        end;
    end loop;
end
$$;
