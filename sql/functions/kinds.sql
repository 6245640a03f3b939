-- after: access, consents, values
-- What is read of life data, as coach.entity_kinds says. The names in that table are put into statements as identifiers;
-- only migrations write it.

-- Whose names the rows of a kind carry, the nearest first: by which column each is reached from the one before.
create function coach.parents_of(p_queue_name text)
returns table (depth integer, column_name name, table_name name, kind text, name_column name)
language sql stable
as $$
    with recursive above as (
        select 1 as depth, k.parent_column as column_name, k.parent_table as table_name
        from coach.entity_kinds k
        where k.queue_name = p_queue_name and k.parent_table is not null
        union all
        select above.depth + 1, k.parent_column, k.parent_table
        from above
        join coach.entity_kinds k on k.queue_name = above.table_name
        where k.parent_table is not null
    )
    select above.depth, above.column_name, above.table_name, k.kind, k.naming[1]
    from above
    join coach.entity_kinds k on k.queue_name = above.table_name
    order by above.depth
$$;

-- The joins that lead to the parents: "left join public.projects p1 on … left join public.areas p2 on …".
create function coach.joined_parents(p_queue_name text) returns text
language sql stable
as $$
    select coalesce(
        string_agg(
            format(
                ' left join public.%1$I p%2$s on p%2$s.user_id = t.user_id and p%2$s.id = %3$s.%4$I',
                table_name, depth, case depth when 1 then 't' else 'p' || depth - 1 end, column_name
            ),
            '' order by depth
        ),
        ''
    )
    from coach.parents_of(p_queue_name)
$$;

-- A column as JSON can carry it and Python read it: days between the years 2 and 9998, times below 24:00.
create function coach.readable_column(p_table name, p_column name) returns text
language sql stable
as $$
    select case atttypid
        when 'date'::regtype then format('case when t.%1$I between %2$L and %3$L then t.%1$I end', attname, low, high)
        when 'timestamptz'::regtype
            then format('case when t.%1$I between %2$L and %3$L then t.%1$I end', attname, low, high)
        when 'time'::regtype then format('nullif(t.%I, ''24:00'')', attname)
        else format('t.%I', attname)
    end
    from pg_attribute, (values ('0002-01-01', '9998-12-31')) bounds (low, high)
    where attrelid = format('public.%I', p_table)::regclass and attname = p_column and not attisdropped
$$;

-- Rows of one kind as they stand: the columns that their snippets are made of, and their parents' names by kind. Nothing
-- of what was hidden. Under the caller's own row level security.
create function coach.read_entities(p_queue_name text, p_users uuid[], p_ids uuid[])
returns table (user_id uuid, id uuid, updated_at timestamptz, columns jsonb)
language plpgsql stable
as $$
declare
    k coach.entity_kinds;
    fields text;
begin
    select * into strict k from coach.entity_kinds where queue_name = p_queue_name;
    select string_agg(field, ', ')
    into fields
    from (
        select format('%L, %s', c, coach.readable_column(k.table_name, c))
        from unnest(k.naming || k.content) c
        union all
        select format('%L, p%s.%I', p.kind, p.depth, p.name_column) from coach.parents_of(p_queue_name) p
    ) each_field (field);
    return query execute format(
        'select t.user_id, t.id, t.updated_at, jsonb_build_object(%s)
        from unnest($1, $2) wanted (user_id, id)
        join public.%I t on t.user_id = wanted.user_id and t.id = wanted.id and not t.%I%s',
        fields, k.table_name, k.hidden_by, coach.joined_parents(p_queue_name)
    )
    using p_users, p_ids;
end
$$;

-- Whether a kind's rows have something to embed, as a condition on t.
create function coach.has_content(k coach.entity_kinds) returns text
language sql immutable
as $$
    select format('not t.%I', k.hidden_by)
        || case when k.filled_by is not null then format(' and t.%I <> ''[]''', k.filled_by) else '' end
$$;

-- The consents without which nothing of these rows is embedded: those that their kind names, and those that are declared to
-- cover it. Asked with every change of a row: a search_path of its own would cost this more than the reading does.
create function coach.needed_consents(p_queue_name text) returns text[]
language plpgsql stable
as $$
begin
    return array(select name::text from coach.consents where entities && array['*', p_queue_name])
        || (select consents from coach.entity_kinds where queue_name = p_queue_name);
end
$$;

-- Whether a user gives all of them. A name that is no consent is never given.
create function coach.may_embed(p_user_id uuid, p_queue_name text) returns boolean
language plpgsql stable
as $$
begin
    return (
        select coach.needed_consents(p_queue_name) <@ coach.given_consents(c)
        from coach.consents_of(p_user_id) c
    );
end
$$;

-- Queues all that a user has of these kinds; of what is told by their consents, only rows that have it.
create function coach.queue_kinds(p_user_id uuid, p_queue_names text[]) returns bigint
language plpgsql
as $$
declare
    k coach.entity_kinds;
    rows bigint;
    queued bigint := 0;
begin
    for k in select * from coach.entity_kinds where queue_name = any (p_queue_names) order by queue_name loop
        execute format(
            'insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
            select t.user_id, $2, t.id, now()
            from public.%I t
            where t.user_id = $1 and %s
            order by t.id
            on conflict (user_id, entity_table, entity_id) do update
            set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null',
            k.table_name, coach.has_content(k)
        )
        using p_user_id, k.queue_name;
        get diagnostics rows = row_count;
        queued := queued + rows;
    end loop;
    return queued;
end
$$;

-- A row was renamed or moved: queues what carries its name. Of a user (user_profiles) whose zone changed, what has a day in
-- it. Indexes: those of the foreign keys.
create function coach.queue_carriers(p_user_id uuid, p_entity_table text, p_entity_id uuid, p_now timestamptz)
returns void
language plpgsql
as $$
declare
    carrier record;
begin
    for carrier in
        select
            k.queue_name, k.table_name, coach.has_content(k) as has_content,
            case
                when p_entity_table = 'user_profiles' then format('t.%I is not null', k.dated_by)
                when k.table_name = p_entity_table then 't.id = $2'
                when p.depth = 1 then format('t.%I = $2', p.column_name)
                else format('p%s.%I = $2', p.depth - 1, p.column_name)
            end as is_carrier
        from coach.entity_kinds k
        left join lateral coach.parents_of(k.queue_name) p on p.table_name = p_entity_table
        where case p_entity_table
            when 'user_profiles' then k.dated_by is not null
            else p.depth is not null or k.table_name = p_entity_table and k.queue_name <> p_entity_table
        end
        order by k.queue_name
    loop
        execute format(
            'insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
            select $1, $3, t.id, $4
            from public.%I t%s
            where t.user_id = $1 and %s and %s
            order by t.id
            on conflict (user_id, entity_table, entity_id) do update
            set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null',
            carrier.table_name, coach.joined_parents(carrier.queue_name), carrier.has_content, carrier.is_carrier
        )
        using p_user_id, p_entity_id, carrier.queue_name, p_now;
    end loop;
end
$$;

-- The kind of a row by its name in the queue; and the other way round, where the rows of two tables are of one kind and
-- their chunks are numbered upwards and downwards.
create function coach.domain_of(p_queue_name text) returns text
language sql stable
return (select kind from coach.entity_kinds where queue_name = p_queue_name);

create function coach.queue_name_of(p_kind text, p_chunk integer) returns text
language sql stable
return (select queue_name from coach.entity_kinds where kind = p_kind and chunk_sign in (0, sign(p_chunk)));

grant execute
    on function
        coach.parents_of(text),
        coach.joined_parents(text),
        coach.readable_column(name, name),
        coach.read_entities(text, uuid[], uuid[]),
        coach.needed_consents(text),
        coach.may_embed(uuid, text)
    to coach_session, service_role;
grant execute
    on function
        coach.has_content(coach.entity_kinds),
        coach.queue_carriers(uuid, text, uuid, timestamptz),
        coach.queue_name_of(text, integer)
    to service_role;
grant execute on function coach.domain_of(text) to authenticated, service_role;
