-- What a migration says of existing rows and tables. The runner reads it: INFO, its kind in DETAIL (coach/database/lines.py).
create function coach.report(p_text text, p_kind text default 'reported') returns void
language plpgsql
as $$
begin
    raise info using message = p_text, detail = p_kind;
end
$$;

-- What only the operator can decide. The run goes on, to find the others too, and comes to nothing in the end.
create function coach.refuse(p_text text) returns void
language sql
as $$ select coach.report(p_text, 'refused') $$;

-- Ours takes its place meanwhile.
create function coach.refuse_table(p_name name, p_why text) returns void
language plpgsql
as $$
begin
    perform coach.refuse(format('public.%s cannot be adopted: %s', p_name, p_why));
    create schema if not exists coach_refused;
    execute format('alter table public.%I set schema coach_refused', p_name);
end
$$;

create function coach.full_name(p_table regclass) returns text
language sql stable
as $$ select format('public.%I', relname) from pg_class where oid = p_table $$;
