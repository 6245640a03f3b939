-- after: refusing
-- Our unique constraints and checks over the rows of an app's table, whose values are spelt as ours where they can be.

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
