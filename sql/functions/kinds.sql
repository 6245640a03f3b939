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

-- Queues the rows t of a kind that have something to embed and meet a condition, which may name an id as $2.
create function coach.queue_matching(
    p_user_id uuid, k coach.entity_kinds, p_condition text, p_due timestamptz, p_id uuid default null
)
returns bigint
language plpgsql
as $$
declare
    ids uuid[];
begin
    execute format(
        'select array(select t.id from public.%I t%s where t.user_id = $1 and not t.%I and %s and %s)',
        k.table_name, coach.joined_parents(k.queue_name), k.hidden_by,
        case when k.filled_by is null then 'true' else format('t.%I <> ''[]''', k.filled_by) end, p_condition
    )
    into ids
    using p_user_id, p_id;
    return coach.enqueue(p_user_id, k.queue_name, ids, p_due);
end
$$;

-- Queues all that a user has of these kinds.
create function coach.queue_kinds(p_user_id uuid, p_queue_names text[]) returns bigint
language sql
as $$
    select coalesce(sum(coach.queue_matching(p_user_id, k, 'true', now())), 0)::bigint
    from (select * from coach.entity_kinds where queue_name = any (p_queue_names) order by queue_name) k
$$;

-- A row was renamed or moved: queues what carries its name. Of a user (user_profiles) whose zone changed, what has a day in
-- it. Indexes: those of the foreign keys.
create function coach.queue_carriers(p_user_id uuid, p_entity_table text, p_entity_id uuid, p_now timestamptz)
returns void
language plpgsql
as $$
begin
    perform coach.queue_matching(
        p_user_id,
        k,
        case
            when p_entity_table = 'user_profiles' then format('t.%I is not null', k.dated_by)
            when k.table_name = p_entity_table then 't.id = $2'
            when p.depth = 1 then format('t.%I = $2', p.column_name)
            else format('p%s.%I = $2', p.depth - 1, p.column_name)
        end,
        p_now,
        p_entity_id
    )
    from coach.entity_kinds k
    left join lateral coach.parents_of(k.queue_name) p on p.table_name = p_entity_table
    where case p_entity_table
        when 'user_profiles' then k.dated_by is not null
        else p.depth is not null or k.table_name = p_entity_table and k.queue_name <> p_entity_table
    end
    order by k.queue_name;
end
$$;

-- The name in the queue of a row of this kind: of two tables of one kind, the chunks of one are numbered downwards.
create function coach.queue_name_of(p_kind text, p_chunk integer) returns text
language sql stable
return (select queue_name from coach.entity_kinds where kind = p_kind and chunk_sign in (0, sign(p_chunk)));

grant execute
    on function
        coach.parents_of, coach.joined_parents, coach.readable_column, coach.read_entities, coach.needed_consents,
        coach.may_embed
    to coach_session, service_role;
grant execute on function coach.queue_carriers, coach.queue_matching, coach.queue_name_of to service_role;
