-- after: columns
-- The columns of an app's table: those that are missing are added, those that are there become of our type, and get our
-- default and not null.

-- What a required column without a default gets where an app left it null: the first value that our check names, or no
-- text where any will do.
create function coach.stopgap(p_draft regclass, p_column name) returns text
language sql stable
as $$
    select quote_literal(coalesce(
        (
            select substring(pg_get_constraintdef(c.oid) from '''([^'']*)''::text')
            from pg_constraint c
            join pg_attribute on attrelid = conrelid and attnum = any (conkey)
            where conrelid = p_draft and contype = 'c' and attname = p_column
            limit 1
        ),
        ''
    ))
$$;

create function coach.fill_column(p_table regclass, p_column name, p_preset text) returns void
language plpgsql
as $$
declare
    filled bigint;
begin
    if p_preset is null then
        execute format('select count(*) from %s where %I is null', p_table, p_column) into filled;
        if filled > 0 then
            perform coach.report(format(
                '%s: %s is null in %s rows; it may stay so', coach.full_name(p_table), p_column, filled
            ));
            return;
        end if;
    else
        execute format('update %s set %I = %s where %2$I is null', p_table, p_column, p_preset);
        get diagnostics filled = row_count;
        if filled > 0 then
            perform coach.report(format(
                '%s: %s was null in %s rows; set to its default', coach.full_name(p_table), p_column, filled
            ));
        end if;
    end if;
    execute format('alter table %s alter %I set not null', p_table, p_column);
end
$$;

create function coach.adopt_columns(p_table regclass, p_draft regclass, p_owner name) returns void
language plpgsql
as $$
declare
    col record;
    filled_table boolean;
begin
    execute format('select exists (select from %s)', p_table) into filled_table;
    for col in
        select
            d.attname as name,
            d.attnotnull as required,
            format_type(d.atttypid, d.atttypmod) as wanted,
            format_type(t.atttypid, t.atttypmod) as found,
            pg_get_expr(ours.adbin, ours.adrelid) as preset,
            d.attgenerated <> '' as is_generated,
            t.attgenerated <> '' as was_generated,
            t.attidentity <> '' as was_identity,
            t.attgenerated = '' and theirs.adbin is not null as has_default,
            t.attnotnull as has_required,
            exists (
                select from pg_constraint where conrelid = p_draft and contype = 'c' and d.attnum = any (conkey)
            ) as is_checked,
            pg_get_expr(ours.adbin, ours.adrelid) is distinct from pg_get_expr(theirs.adbin, theirs.adrelid) as differs
        from pg_attribute d
        left join pg_attribute t on t.attrelid = p_table and t.attname = d.attname and not t.attisdropped
        left join pg_attrdef ours on ours.adrelid = p_draft and ours.adnum = d.attnum
        left join pg_attrdef theirs on theirs.adrelid = p_table and theirs.adnum = t.attnum
        where d.attrelid = p_draft and d.attnum > 0 and not d.attisdropped
        order by d.attnum
    loop
        if col.is_generated and (not col.was_generated or col.found <> col.wanted or col.differs) and col.found is not null then
            execute format('alter table %s rename %I to %I', p_table, col.name, 'app_' || col.name);
            perform coach.report(format(
                '%s: %s is app_%s now, since ours is generated', coach.full_name(p_table), col.name, col.name
            ), 'converted');
            col.found := null;
        end if;
        if col.found is null then
            if col.required and col.preset is null and filled_table then
                raise exception '% has rows, but no %: is it another table of that name? Rename it.',
                    coach.full_name(p_table), col.name;
            end if;
            execute format('alter table %s add column %s', p_table, coach.column_definition(p_draft, col.name));
            continue;
        end if;
        continue when col.is_generated;
        if col.was_generated or col.was_identity then
            execute format(
                'alter table %s alter %I drop %s', p_table, col.name,
                case when col.was_identity then 'identity' else 'expression' end
            );
            perform coach.report(format(
                '%s: %s was generated; it is written now', coach.full_name(p_table), col.name
            ), 'converted');
        end if;
        if col.found <> col.wanted then
            perform coach.convert_column(p_table, col.name, col.wanted, p_owner);
        end if;
        if col.preset is not null
            and (not col.has_default or col.found <> col.wanted or col.differs and col.is_checked)
        then
            execute format('alter table %s alter %I set default %s', p_table, col.name, col.preset);
        end if;
        if col.has_required and not col.required then
            execute format('alter table %s alter %I drop not null', p_table, col.name);
            perform coach.report(format(
                '%s: %s was not null; it may be null now', coach.full_name(p_table), col.name
            ), 'converted');
        end if;
        if col.required and (not col.has_required or col.found <> col.wanted) then
            perform coach.fill_column(
                p_table, col.name,
                coalesce(col.preset, case when col.wanted = 'text' then coach.stopgap(p_draft, col.name) end)
            );
        end if;
    end loop;
end
$$;
