-- after: dependents, reading
-- How a column of an app's becomes what ours is. A value that cannot be read as the new type, or that the new type holds
-- less of, is kept in coach.repaired_values.

-- The column, and those that are generated from it.
create function coach.column_with_generated(p_table regclass, p_column name) returns smallint[]
language sql stable
as $$
    select array(
        select attnum
        from pg_attribute a
        where attrelid = p_table
            and (
                attname = p_column
                or attgenerated <> '' and exists (
                    select
                    from pg_attrdef
                    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = pg_attrdef.oid
                    join pg_attribute source on source.attrelid = p_table and source.attnum = refobjsubid
                    where adrelid = p_table and adnum = a.attnum and refobjid = p_table and source.attname = p_column
                )
            )
    )
$$;

-- What of the app's keeps these columns from another type, and what makes it again: columns that are generated from the
-- first, then indexes and unique constraints.
create function coach.stands_on_columns(p_table regclass, p_numbers smallint[], p_column name)
returns table (what text, gone text, back text)
language sql stable
as $$
    select
        format('the expression of %I', attname),
        format(
            case attgenerated when 's' then 'alter table %s alter %I drop expression' else 'alter table %s drop %I' end,
            p_table, attname
        ),
        format(
            '%salter table %s add %I %s generated always as (%s) %s',
            case attgenerated when 's' then format('alter table %s drop %I; ', p_table, attname) else '' end,
            p_table, attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid),
            case attgenerated when 's' then 'stored' else 'virtual' end
        )
    from pg_attribute
    join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = p_table and attnum = any (p_numbers) and attgenerated <> '' and attname <> p_column
    union all
    select
        format('constraint %I', conname),
        format('alter table %s drop constraint %I', p_table, conname),
        format('alter table %s add constraint %I %s', p_table, conname, pg_get_constraintdef(c.oid))
    from pg_constraint c
    where conrelid = p_table
        and contype in ('u', 'x')
        and conkey && p_numbers
        and not exists (select from pg_constraint f where f.contype = 'f' and f.conindid = c.conindid)
    union all
    select
        format('publication %I', pubname),
        format('alter publication %I drop table %s', pubname, p_table),
        format(
            'alter publication %I add table %s (%s) %s', pubname, p_table,
            (
                select string_agg(quote_ident(attname), ', ')
                from pg_attribute
                where attrelid = p_table and attnum > 0 and (prattrs is null or attnum = any (prattrs))
            ),
            'where (' || pg_get_expr(prqual, prrelid) || ')'
        )
    from pg_publication_rel
    join pg_publication p on p.oid = prpubid
    where prrelid = p_table and (prattrs is not null or prqual is not null)
    union all
    select 'index ' || indexrelid::regclass, format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
    from pg_index
    where indrelid = p_table
        and not exists (select from pg_constraint where conindid = indexrelid)
        and exists (
            select
            from pg_depend
            where classid = 'pg_class'::regclass
                and objid = indexrelid
                and refobjid = p_table
                and refobjsubid = any (p_numbers)
        )
$$;

-- How many of a column's values are lost or cut in another type; each is kept in the log, from where migration 0018
-- moves it to the user's own.
create function coach.log_unreadable(p_table regclass, p_column name, p_wanted text, p_way text, p_owner name)
returns bigint
language plpgsql
as $$
declare
    found name := (select atttypid::regtype from pg_attribute where attrelid = p_table and attname = p_column);
    kept bigint;
begin
    if p_wanted like 'halfvec%' then
        return 0; -- made anew
    end if;
    execute format(
        'insert into coach.system_log (webhook_type, table_name, row_id, old_value)
        select
            ''adoption_converted'', %1$L, coalesce(to_jsonb(t) ->> ''id'', t.%6$I::text), jsonb_build_object(%2$L, t.%2$I)
        from %3$s t
        where %2$I is not null and (%4$s is null %5$s)',
        (select relname from pg_class where oid = p_table), p_column, p_table, p_way,
        case
            when found ~ '^(date|timestamp)' and p_wanted ~ '^(date|timestamp)'
                or found ~ '^(numeric|real|double|bigint|integer)' and p_wanted ~ '^(smallint|integer|bigint|numeric)'
                then format('or (%s)::%s::%s <> %I', p_way, p_wanted, found, p_column)
        end,
        p_owner
    );
    get diagnostics kept = row_count;
    return kept;
end
$$;

-- By the first of these statements that goes. None need: the app's index may be of operators that the new type lacks.
create function coach.make_again(p_table regclass, p_what text, p_statements text[]) returns void
language plpgsql
as $$
declare
    statement text;
begin
    foreach statement in array p_statements loop
        begin
            execute statement;
            return;
        exception
            when others then null;
        end;
    end loop;
    perform coach.report(
        format('%s: %s does not go with the new type and is gone; it was: %s', coach.full_name(p_table), p_what, p_statements[1]),
        'warning'
    );
end
$$;

-- An app compares the column with values of its enum, in policies and functions; they are text to it from now on.
create function coach.read_enum_as_text(p_type oid) returns void
language plpgsql
as $$
begin
    if (select typtype from pg_type where oid = p_type) = 'e'
        and not exists (select from pg_cast where castsource = p_type and casttarget = 'text'::regtype)
    then
        execute format('create cast (%s as text) with inout as implicit', p_type::regtype);
    end if;
end
$$;

-- Whether all of a column's values can be cast as they are: a cast takes a microsecond, coach.readable twenty.
create function coach.fits(p_table regclass, p_way text, p_wanted text) returns boolean
language plpgsql
as $$
begin
    execute format('select count((%s)::%s) from %s', p_way, p_wanted, p_table);
    return true;
exception
    when data_exception or program_limit_exceeded then
        return false;
end
$$;

-- Converts one column, and makes again what stood on it.
create function coach.convert_column(p_table regclass, p_column name, p_wanted text, p_owner name) returns void
language plpgsql
as $$
declare
    found record;
    way text;
    kept bigint;
    numbers smallint[] := coach.column_with_generated(p_table, p_column);
    number smallint;
    standing jsonb;
    one record;
begin
    select atttypid as type, format_type(atttypid, atttypmod) as name, typtype <> 'b' as is_own
    into found
    from pg_attribute
    join pg_type t on t.oid = atttypid
    where attrelid = p_table and attname = p_column;
    way := coach.conversion(p_column, found.type, p_wanted, p_owner);
    if not coach.fits(p_table, way, p_wanted) then
        way := format('coach.readable(%s, %L)', way, p_wanted);
    end if;
    kept := coach.log_unreadable(p_table, p_column, p_wanted, way, p_owner);
    if kept > 0 and p_column in ('id', p_owner) then
        raise exception '%: % is %, and % of its values are no %; give these rows others first',
            coach.full_name(p_table), p_column, found.name, kept, p_wanted;
    end if;
    foreach number in array numbers loop
        perform coach.set_aside_dependents('pg_class', p_table, number);
    end loop;
    standing := (select jsonb_agg(s order by what like 'index%', back) from coach.stands_on_columns(p_table, numbers, p_column) s);
    for one in select * from jsonb_to_recordset(standing) as (gone text) loop
        execute one.gone;
    end loop;
    execute format('alter table %s alter %I drop default', p_table, p_column);
    if kept > 0 or p_wanted like 'halfvec%' then
        execute format('alter table %s alter %I drop not null', p_table, p_column);
    end if;
    execute format('alter table %s alter %I type %s using (%s)::%3$s', p_table, p_column, p_wanted, way);
    perform coach.read_enum_as_text(found.type);
    perform coach.report(
        format('%s: %s was %s, is %s now', coach.full_name(p_table), p_column, found.name, p_wanted)
            || case when kept > 0 then format('; %s values do not fit and are kept in coach.repaired_values', kept) else '' end,
        'converted'
    );
    for one in select * from jsonb_to_recordset(standing) as (what text, back text) loop
        perform coach.make_again(p_table, one.what, array[
            one.back,
            regexp_replace(
                case when found.is_own then replace(one.back, '::' || found.name, '::' || p_wanted) else one.back end,
                format('\m%s\M', p_column), coach.inverse(p_column, found.name, p_wanted), 'g'
            )
        ]);
    end loop;
end
$$;
