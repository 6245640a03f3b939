-- after: tables
-- What a browser may write is bounded in the database, since it comes there without passing the API. A migration that lets
-- authenticated write a column names it to coach.bound; tests/migration/test_bounds.py finds those that were forgotten.

-- What values of a type keep to, and what one that does not becomes; %1$I stands for the column. Days, moments and numbers
-- are of our time and size, texts short or (p_is_long) up to 100 kB. No row where a type needs no bound.
create function coach.bound_of(p_type regtype, p_is_long boolean, out holds text, out repaired text) returns setof record
language sql stable
as $$
    select b.holds, b.repaired
    from (values
        ('date', false, '%1$I between ''1900-01-01'' and ''2200-12-31''', 'current_date'),
        ('timestamptz', false, '%1$I between ''1900-01-01 00:00Z'' and ''2200-12-31 23:59:59Z''', 'now()'),
        ('timestamp', false, '%1$I between ''1900-01-01'' and ''2200-12-31 23:59:59''', 'now()'),
        ('time', false, '%1$I < ''24:00''', '''23:59:59'''),
        ('text', false, 'length(%1$I) <= 500', 'left(%1$I, 500)'),
        ('text', true, 'octet_length(%1$I) <= 102400', 'coach.first_bytes(%1$I, 102400)'),
        ('text[]', false, 'coach.is_short_list(%1$I)', 'coach.short_list(%1$I)'),
        ('uuid[]', false, 'coach.is_list(%1$I)', 'coach.first_items(%1$I)'),
        ('jsonb', false, 'coach.is_small_json(%1$I, 16384)', 'coach.empty_json(%1$I)'),
        ('jsonb', true, 'coach.is_small_json(%1$I, 1048576)', 'coach.empty_json(%1$I)'),
        ('integer', false, '%1$I between -1000000000 and 1000000000', 'greatest(least(%1$I, 1000000000), -1000000000)'),
        ('bigint', false, '%1$I between -1000000000 and 1000000000', 'greatest(least(%1$I, 1000000000), -1000000000)'),
        (
            'numeric', false, '%1$I between -1e15 and 1e15',
            'case when %1$I = ''NaN'' then 0 else greatest(least(%1$I, 1e15), -1e15) end'
        )
    ) b (type, is_long, holds, repaired)
    where b.type::regtype = case p_type when 'varchar'::regtype then 'text' else p_type end and b.is_long = p_is_long
$$;

-- The first so many bytes of a text, less the character that they would cut in two.
create function coach.first_bytes(p_text text, p_most integer) returns text
language sql immutable
as $$
    select convert_from(substring(whole for p_most - over), 'UTF8')
    from (select convert_to(p_text, 'UTF8') as whole) bytes
    cross join lateral (
        select min(n) as over from generate_series(0, 3) n where get_byte(whole, p_most - n) not between 128 and 191
    ) cut
$$;

create function coach.first_items(p_list anyarray) returns anyarray
language sql immutable
as $$
    select array(
        select item
        from unnest(p_list) with ordinality items (item, place)
        where item is not null
        order by place
        limit 100
    )
$$;

create function coach.short_list(p_list text[]) returns text[]
language sql immutable
as $$ select coach.first_items(array(select left(item, 500) from unnest(p_list) item)) $$;

create function coach.empty_json(p_value jsonb) returns jsonb
language sql immutable
as $$ select case jsonb_typeof(p_value) when 'array' then '[]' else '{}' end::jsonb $$;

-- Bounds columns of a table: those of p_columns by their types, those of p_long as long texts or JSON. Values of rows that
-- are there already are repaired, each old one kept in coach.repaired_values: a day or moment out of bounds becomes null
-- where it may and now elsewhere, a list or text is cut, a number the nearest that is allowed, JSON empty.
create function coach.bound(p_table name, p_columns name[], p_long name[] default '{}', p_owner name default 'user_id')
returns void
language plpgsql
as $$
declare
    target regclass := format('public.%I', p_table)::regclass;
    col record;
    repaired bigint;
begin
    for col in
        select
            attname as name,
            format(b.holds, attname) as holds,
            case
                when not attnotnull and b.repaired in ('current_date', 'now()') then 'null'
                else format(b.repaired, attname)
            end as repaired
        from pg_attribute
        cross join lateral coach.bound_of(atttypid::regtype, attname = any (p_long)) b
        where attrelid = target and attname = any (p_columns || p_long) and not attisdropped
        order by attnum
    loop
        execute format(
            'insert into coach.repaired_values (user_id, table_name, row_id, column_name, old_value)
            select t.%1$I, %2$L, coalesce(to_jsonb(t) ->> ''id'', t.%1$I::text), %3$L, to_jsonb(t.%3$I)
            from %4$s t
            where not %5$s',
            p_owner, p_table, col.name, target, col.holds
        );
        get diagnostics repaired = row_count;
        if repaired > 0 then
            execute format('update %s set %I = %s where not %s', target, col.name, col.repaired, col.holds);
            perform coach.report(format(
                'public.%s: %s was out of bounds in %s rows; repaired, and kept in coach.repaired_values',
                p_table, col.name, repaired
            ));
        end if;
        execute format(
            'alter table %s add constraint %I check (%s)', target, p_table || '_' || col.name || '_bound', col.holds
        );
    end loop;
end
$$;
