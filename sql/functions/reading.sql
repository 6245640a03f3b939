-- How a value of an app's is read as what ours is.

-- The value, or null where it cannot be read as p_type. With an exception for each that cannot: 100,000 took a minute.
create function coach.readable(p_text text, p_type text) returns text
language plpgsql stable
as $$
begin
    execute format('select %L::%s', p_text, p_type);
    return p_text;
exception
    when data_exception or program_limit_exceeded then
        return null;
end
$$;

-- PostgreSQL 16 says it without one, for its own types.
do $$
begin
    if current_setting('server_version_num')::integer >= 160000 then
        alter function coach.readable(text, text) rename to readable_vector;
        create function coach.readable(p_text text, p_type text) returns text
        language sql stable
        as $f$
            select case
                when p_type like 'halfvec%' then coach.readable_vector(p_text, p_type)
                when pg_input_is_valid(p_text, p_type) then p_text
            end
        $f$;
    end if;
end
$$;

-- Times as apps write them. Words like 'now' or 'infinity' are casts too, hence the digit; ten digits are seconds since
-- 1970, thirteen are milliseconds.
create function coach.said_time(p_text text) returns text
language sql stable
as $$
    select case
        when lower(trim(p_text)) = 'noon' then '12:00'
        when lower(trim(p_text)) = 'midnight' then '00:00'
        when trim(p_text) ~ '^\d{10}(\.\d+)?$' then to_timestamp(p_text::numeric)::text
        when trim(p_text) ~ '^\d{13}$' then to_timestamp(p_text::numeric / 1000)::text
        when trim(p_text) ~ '^24:' then null
        when p_text ~ '\d' then p_text
    end
$$;

-- A moment's day. Midnight in UTC is how an app stores a day; anything else is a moment, which has its day on the clock
-- of its user.
create function coach.own_day(p_moment timestamptz, p_user_id uuid) returns date
language plpgsql stable
as $$
begin
    if not isfinite(p_moment) or (p_moment at time zone 'UTC')::time = '00:00' then
        return (p_moment at time zone 'UTC')::date;
    end if;
    return (p_moment at time zone coalesce((select timezone from public.user_profiles where id = p_user_id), 'UTC'))::date;
end
$$;

-- A list as an array's literal: of JSON, of an array, or with commas between.
create function coach.said_list(p_text text) returns text
language plpgsql stable
as $$
begin
    return case
        when p_text ~ '^\s*\[' then array(select jsonb_array_elements_text(p_text::jsonb))::text
        when p_text ~ '^\s*\{.*":' then null
        when p_text ~ '^\s*\{' then p_text
        else array(select trim(word) from string_to_table(p_text, ',') word where trim(word) <> '')::text
    end;
exception
    when data_exception then
        return null;
end
$$;

-- What the app's expressions of the column mean, over the new type: immutable, as indexes and generated columns need.
create function coach.inverse(p_column name, p_found text, p_wanted text) returns text
language sql immutable
as $$
    select format(
        case
            when p_wanted = 'timestamp with time zone' and p_found like 'timestamp%' then '(%I at time zone ''UTC'')'
            when p_wanted = 'timestamp with time zone' and p_found = 'date' then '((%I at time zone ''UTC'')::date)'
            when p_wanted = 'date' and p_found = 'timestamp with time zone'
                then '(%I::timestamp at time zone ''UTC'')'
            when p_wanted = 'date' and p_found like 'timestamp%' then '(%I::timestamp)'
            else '%I'
        end,
        p_column
    )
$$;

-- The expression that writes an app's column as text that p_wanted can read.
create function coach.conversion(p_column name, p_found oid, p_wanted text, p_owner name) returns text
language sql stable
as $$
    select format(
        case
            when p_wanted like '%[]' then 'coach.said_list(%1$I::text)'
            when p_wanted = 'jsonb' and base not in ('json', 'text', 'varchar', 'bpchar') then 'to_jsonb(%1$I)::text'
            when base = 'money' then '%1$I::numeric::text'
            when p_wanted = 'boolean' and category = 'N' then '(%1$I <> 0)::text'
            when p_wanted = 'boolean' and category = 'D' then '(%1$I is not null)::text'
            when p_wanted in ('smallint', 'integer', 'bigint') and category = 'B' then '(%1$I::integer)::text'
            when p_wanted in ('smallint', 'integer', 'bigint') and category = 'N' then 'round(%1$I::numeric)::text'
            when p_wanted in ('smallint', 'integer', 'bigint')
                then 'round(coach.readable(%1$I::text, ''numeric'')::numeric)::text'
            when p_wanted = 'date' and base = 'timestamptz' then 'coach.own_day(%1$I, %2$I)::text'
            when p_wanted = 'timestamp with time zone' and base in ('date', 'timestamp')
                then '(%1$I::timestamp at time zone ''UTC'')::text'
            when p_wanted ~ '^(date|time)' and category = 'N'
                then 'coach.said_time(trunc(%1$I::numeric)::text)'
            when p_wanted ~ '^(date|time)' and category <> 'D' then 'coach.said_time(%1$I::text)'
            when p_wanted like 'halfvec%%' then 'translate(%1$I::text, ''{}'', ''[]'')'
            else '%1$I::text'
        end,
        p_column, p_owner
    )
    from pg_type t
    cross join lateral (select coalesce(nullif(typbasetype, 0), oid) as oid) of
    cross join lateral (select typname as base, typcategory as category from pg_type b where b.oid = of.oid) base
    where t.oid = p_found
$$;
