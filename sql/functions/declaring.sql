-- after: dependents
-- From the declaration of consents to all that knows them by name: rows, columns, kinds of events, and what a person
-- consents to. functions/consents.sql calls it.
create function coach.declare_consents(p_declared jsonb) returns void
language plpgsql
as $$
begin
    insert into coach.consents (name, position, by_default, stops, entities, events)
    select c.name, c.position, c.default, c.stops, coalesce(c.entities, '{}'), coalesce(c.events, '{}')
    from rows from (
        jsonb_to_recordset(p_declared) as (name name, "default" boolean, stops text, entities text[], events text[])
    ) with ordinality c (name, "default", stops, entities, events, position)
    on conflict (name) do update
    set position = excluded.position,
        by_default = excluded.by_default,
        stops = excluded.stops,
        entities = excluded.entities,
        events = excluded.events;
    delete from coach.consents where name not in (select each ->> 'name' from jsonb_array_elements(p_declared) each);
    insert into coach.event_kinds (kind)
    select distinct event from coach.consents cross join unnest(events) event where event <> '*'
    on conflict do nothing;
    perform coach.settle_consent(name, by_default) from coach.consents order by position;
    perform coach.make_consents_of();
end
$$;

-- One column of user_analytics_preferences: added, or given the default and not null where an app has it already.
create function coach.settle_consent(p_name name, p_by_default boolean) returns void
language plpgsql
as $$
declare
    preferences constant regclass := 'public.user_analytics_preferences';
    found record;
    filled bigint;
begin
    select a.attnotnull, format_type(a.atttypid, a.atttypmod) as type, pg_get_expr(d.adbin, d.adrelid) as preset
    into found
    from pg_attribute a
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = preferences and a.attname = p_name and not a.attisdropped;
    if found.type is null then
        execute format('alter table %s add column %I boolean not null default %L', preferences, p_name, p_by_default);
        return;
    end if;
    if found.type <> 'boolean' then
        raise exception '%.% is %, but must be boolean to be adopted', preferences, p_name, found.type;
    end if;
    if found.preset is distinct from p_by_default::text then
        execute format('alter table %s alter %I set default %L', preferences, p_name, p_by_default);
    end if;
    if not found.attnotnull then
        execute format('update %s set %I = default where %2$I is null', preferences, p_name);
        get diagnostics filled = row_count;
        if filled > 0 then
            perform coach.report(format(
                'public.user_analytics_preferences: %s was null in %s rows; set to its default', p_name, filled
            ));
        end if;
        execute format('alter table %s alter %I set not null', preferences, p_name);
    end if;
end
$$;

-- coach.consents_of(user): every consent by its name, with the default where nothing was chosen. It becomes a part of
-- the statement that calls it, so a consent that is not asked for costs nothing. Row level security holds for it.
-- coach.given_consents: the names of those that are given.
create function coach.make_consents_of() returns void
language plpgsql
as $$
begin
    execute (
        select format('create type coach.consent_set as (%s)', string_agg(format('%I boolean', name), ', ' order by position))
        from coach.consents
    );
    execute (
        select format(
            'create function coach.consents_of(p_user_id uuid) returns setof coach.consent_set
            language sql stable rows 1
            begin atomic
                select %s
                from (select) one
                left join public.user_analytics_preferences p on p.user_id = p_user_id;
            end',
            string_agg(format('coalesce(p.%I, %L)', name, by_default), ', ' order by position)
        )
        from coach.consents
    );
    execute (
        select format(
            'create function coach.given_consents(c coach.consent_set) returns text[]
            language sql immutable
            begin atomic
                select array_remove(array[%s], null);
            end',
            string_agg(format('case when (c).%I then %L end', name, name), ', ' order by name)
        )
        from coach.consents
    );
end
$$;
