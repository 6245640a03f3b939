-- What a migration says of existing rows and tables. The runner reads it: INFO, its kind in DETAIL (coach/database/lines.py).
create function coach.report(p_text text, p_kind text default 'reported') returns void
language plpgsql
as $$
begin
    raise info using message = p_text, detail = p_kind;
end
$$;

-- What only the operator can decide. The run goes on with ours in its place, to find the others too, and comes to nothing
-- in the end.
create function coach.refuse_table(p_name name, p_text text) returns void
language plpgsql
as $$
begin
    perform coach.report(p_text, 'refused');
    create schema if not exists coach_refused;
    execute format('alter table public.%I set schema coach_refused', p_name);
end
$$;

-- After an error. Of a value only that there is one: it may be a person's text.
create function coach.refuse_after_error(p_name name, p_state text, p_message text) returns void
language sql
as $$
    select coach.refuse_table(
        p_name,
        format(
            'public.%s cannot be adopted: %s', p_name,
            case when p_state ~ '^2[23]' then 'its rows fail with SQLSTATE ' || p_state else p_message end
        )
    )
$$;

create function coach.full_name(p_table regclass) returns text
language sql stable
as $$ select format('public.%I', relname) from pg_class where oid = p_table $$;

-- Finds a name in a statement, whatever characters it is of.
create function coach.name_pattern(p_name name) returns text
language sql immutable
as $$ select format('(?<!\w)%s(?!\w)', regexp_replace(p_name, '\W', '\\\&', 'g')) $$;
