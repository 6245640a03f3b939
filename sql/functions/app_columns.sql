-- after: reporting
-- What of an adopted table an app could write before, and still can: nulls, and its kinds of event.

-- The columns in which an app may write a null, and ours has a default instead.
create function coach.nullable_columns(p_table regclass, p_draft regclass) returns name[]
language sql stable
as $$
    select array_agg(ours.attname order by ours.attnum)
    from pg_attribute ours
    join pg_attribute theirs on theirs.attrelid = p_table and theirs.attname = ours.attname and not theirs.attisdropped
    join pg_attrdef on adrelid = p_draft and adnum = ours.attnum
    where ours.attrelid = p_draft and ours.attnotnull and ours.attgenerated = '' and not theirs.attnotnull
$$;

-- A null that is written there becomes the default.
create function coach.fill_nulls() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    return jsonb_populate_record(
        new,
        (
            select coalesce(jsonb_object_agg(preset.key, preset.value), '{}')
            from jsonb_each(tg_argv[0]::jsonb) preset
            join jsonb_each(to_jsonb(new)) given using (key)
            where given.value = 'null'
        )
    );
end
$$;

create function coach.welcome_nulls(p_table regclass, p_columns name[]) returns void
language plpgsql
as $$
declare
    presets jsonb := '{}';
    col record;
    value jsonb;
begin
    for col in
        select attname as name, pg_get_expr(adbin, adrelid) as preset
        from pg_attribute
        join pg_attrdef on adrelid = attrelid and adnum = attnum
        where attrelid = p_table and attname = any (p_columns) and attnotnull
    loop
        if col.preset ~* '\mnow\(\)|current_(date|time)' then
            value := '"now"';
        else
            execute format('select to_jsonb(%s)', col.preset) into value;
        end if;
        presets := presets || jsonb_build_object(col.name, value);
    end loop;
    if presets <> '{}' then
        execute format(
            'create or replace trigger "A_fill_nulls"
            before insert or update on %s
            for each row
            when (%s)
            execute function coach.fill_nulls(%L)',
            p_table, (select string_agg(format('new.%I is null', key), ' or ') from jsonb_object_keys(presets) key), presets
        );
    end if;
end
$$;

-- The kinds of event that a column's type, its checks and the table that it refers to allow.
create function coach.allowed_kinds(p_table regclass, p_column name) returns text[]
language plpgsql
as $$
declare
    number smallint;
    type oid;
    found text[];
    looked_up record;
    listed text[];
begin
    select attnum, atttypid
    into number, type
    from pg_attribute
    where attrelid = p_table and attname = p_column and not attisdropped;
    found := array(select enumlabel from pg_enum where enumtypid = type)
        || array(
            select word[1]
            from pg_constraint c
            cross join regexp_matches(pg_get_constraintdef(c.oid), '''([^'']*)''', 'g') word
            where contype = 'c'
                and (conrelid = p_table and number = any (conkey) or contypid = type)
                and pg_get_constraintdef(c.oid) ~ '= ANY|= '''
        );
    for looked_up in
        select confrelid::regclass as parent, attname as name
        from pg_constraint
        join pg_attribute on attrelid = confrelid and attnum = confkey[array_position(conkey, number)]
        where contype = 'f' and conrelid = p_table and number = any (conkey)
    loop
        execute format('select array_agg(%I::text) from %s', looked_up.name, looked_up.parent) into listed;
        found := found || listed;
    end loop;
    return found;
end
$$;

create function coach.keep_event_kinds(p_table regclass) returns void
language plpgsql
as $$
declare
    kept text[];
begin
    with kinds as (
        insert into coach.event_kinds (kind)
        select kind
        from unnest(coach.allowed_kinds(p_table, 'action_type')) kind
        where kind <> ''
        on conflict do nothing
        returning kind
    )
    select array_agg(kind order by kind) into kept from kinds;
    perform coach.report(format(
        'public.user_behavior_events: %s; kinds that stand in none of its rows or checks are refused; '
            'consider: insert into coach.event_kinds (kind) values (''…'')',
        coalesce('kinds kept: ' || array_to_string(kept, ', '), 'no kinds of its own were found')
    ));
end
$$;
