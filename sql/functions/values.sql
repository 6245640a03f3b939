create function coach.current_month() returns date
language sql stable
set search_path = ''
as $$ select date_trunc('month', now() at time zone 'UTC')::date $$;

create function coach.is_outside(p_value jsonb, p_lowest numeric, p_highest numeric) returns boolean
language sql immutable parallel safe
as $$
    select case coalesce(jsonb_typeof(p_value), 'null')
        when 'null' then false
        when 'number' then p_value::numeric not between p_lowest and p_highest
        else true
    end
$$;

-- What is wrong with a metric point; null where nothing is.
create function coach.metric_point_problem(p_point jsonb) returns text
language sql stable
as $$
    select case
        when jsonb_typeof(p_point) is distinct from 'object' then 'must be an object'
        when coach.moment(p_point ->> 'timestamp') is null then 'timestamp must be an RFC 3339 time'
        when coach.moment(p_point ->> 'timestamp') not between '1900-01-01 00:00Z' and '2200-12-31 23:59:59Z'
            then 'timestamp must be from 1900 to 2200'
        when coach.is_outside(p_point -> 'alignment_score', 0, 1) then 'alignment_score must be a number from 0 to 1'
        when coach.is_outside(p_point -> 'sentiment', -1, 1) then 'sentiment must be a number from -1 to 1'
        when coach.is_outside(p_point -> 'habit_strength', 0, 1) then 'habit_strength must be a number from 0 to 1'
        when coach.is_outside(p_point -> 'energy_level', 0, 1) then 'energy_level must be a number from 0 to 1'
        when coach.is_outside(p_point -> 'focus_time_minutes', 0, 1e6)
            then 'focus_time_minutes must be a number from 0 to 1000000'
    end
$$;

-- Time zones: the IANA names this server knows, less its aliases for files. UTC is asked for most and costs nothing.
create function coach.is_timezone(p_name text) returns boolean
language sql stable
set search_path = ''
as $$
    select p_name = 'UTC'
        or (
            p_name !~ '^(posix|right)/|^(localtime|Factory|posixrules)$'
            and exists (select from pg_catalog.pg_timezone_names where name = p_name)
        )
$$;

grant execute
    on function coach.current_month, coach.is_outside, coach.metric_point_problem, coach.is_timezone
    to authenticated, service_role;
