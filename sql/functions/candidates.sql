-- after: nearest, said, words
-- One row that a search ranks: how near it is in meaning (null: it has no vector of this model) and in words.
create type coach.candidate as (
    id uuid,
    is_message boolean,
    domain text,
    entity_id uuid,
    conversation_id uuid,
    parent_id uuid,
    said_at timestamptz,
    similarity double precision,
    words double precision
);

-- Which messages may be sources. The stand-in's answers only read rows back; remembered, they would push aside the rows
-- themselves. And not the text of p_echo: the same question asked before answers nothing, and would come first.
create function coach.is_source(m public.ai_conversation_memory, p_echo text) returns boolean
language sql immutable
as $$
    select coach.is_said(m)
        and m.model_used is distinct from 'offline'
        and (
            p_echo is null
            or octet_length(m.message_content) > octet_length(p_echo) + 100
            or btrim(m.message_content, E' \t\r\n') <> btrim(p_echo, E' \t\r\n')
        )
$$;

-- The candidates of a user with few rows: all of them. One pass over both tables takes half of what choosing, and
-- reading the chosen again, does up to some 2,000 rows (docs/decisions/0004-retrieval.md).
create function coach.all_candidates(
    p_user_id uuid, p_question text, p_vector halfvec, p_model text, p_domains text[], p_exclude uuid[], p_echo text
)
returns setof coach.candidate
language plpgsql stable
set search_path = public, extensions
set plan_cache_mode = force_generic_plan
as $$
declare
    each_word tsquery[] := coach.words_of(p_question);
    any_word tsquery := array_to_string(each_word, ' | ')::tsquery;
    hidden uuid[] := array(select c.id from public.conversations c where c.user_id = p_user_id and c.incognito);
begin
    return query
    with own as materialized (
        select
            e.id, false as is_message, e.domain_tag as domain, coalesce(e.entity_id, e.id) as entity_id,
            null::uuid as conversation_id, null::uuid as parent_id, e.updated_at as said_at,
            case when e.embedding_model = p_model then 1 - (e.embedding <=> p_vector) end as similarity,
            case when e.search @@ any_word then e.search end as matched
        from public.user_metadata_embeddings e
        where e.user_id = p_user_id and e.domain_tag = any (p_domains)
        union all
        select
            m.id, true, 'conversation', m.id,
            m.conversation_id, m.parent_id, m.conversation_date,
            case when m.embedding_model = p_model then 1 - (m.message_embedding <=> p_vector) end,
            case when m.search @@ any_word then m.search end
        from public.ai_conversation_memory m
        where m.user_id = p_user_id
            and 'conversation' = any (p_domains)
            and coach.is_source(m, p_echo)
            and (m.conversation_id = any (hidden)) is not true
            and m.id <> all (p_exclude)
    ),
    hits as (
        select
            own.id,
            ts_rank('{1, 1, 1, 1}', own.matched, word.query) as share,
            count(*) over (partition by word.place) as spread
        from own
        cross join unnest(each_word) with ordinality word (query, place)
        where own.matched @@ word.query
    ),
    spoken as (
        select hits.id, sum(coach.weight_of_word((select count(*) from own), hits.spread) * hits.share) as score
        from hits
        group by hits.id
    )
    select
        own.id, own.is_message, own.domain, own.entity_id, own.conversation_id, own.parent_id, own.said_at,
        own.similarity, coalesce(spoken.score, 0)
    from own
    left join spoken on spoken.id = own.id
    where own.similarity is not null or spoken.score > 0;
end
$$;

-- The candidates of a user with many rows: the nearest of each table and those with the weightiest words.
create function coach.nearest_candidates(
    p_user_id uuid,
    p_question text,
    p_vector halfvec,
    p_model text,
    p_domains text[],
    p_exclude uuid[],
    p_echo text,
    p_limit integer
)
returns setof coach.candidate
language plpgsql stable
set search_path = public, extensions
set plan_cache_mode = force_generic_plan
as $$
begin
    return query
    with found as materialized (
        select
            either.id, either.is_message,
            max(either.similarity) as similarity, coalesce(max(either.score), 0) as words
        from (
            select n.id, n.is_message, n.similarity, null::float8 as score
            from coach.nearest(p_user_id, p_vector, p_model, p_domains, p_limit) n
            union all
            select w.id, w.is_message, null, w.score
            from coach.rows_with_words(p_user_id, p_question, p_domains, 200) w
        ) either
        group by either.id, either.is_message
    )
    select
        e.id, false, e.domain_tag, coalesce(e.entity_id, e.id), null::uuid, null::uuid, e.updated_at,
        case
            when found.similarity is not null then found.similarity
            when e.embedding_model = p_model then 1 - (e.embedding <=> p_vector)
        end,
        found.words
    from found
    join public.user_metadata_embeddings e on e.user_id = p_user_id and e.id = found.id
    where not found.is_message
    union all
    select
        m.id, true, 'conversation', m.id, m.conversation_id, m.parent_id, m.conversation_date,
        case
            when found.similarity is not null then found.similarity
            when m.embedding_model = p_model then 1 - (m.message_embedding <=> p_vector)
        end,
        found.words
    from found
    join public.ai_conversation_memory m on m.user_id = p_user_id and m.id = found.id
    left join public.conversations c on c.user_id = m.user_id and c.id = m.conversation_id
    where found.is_message
        and coach.is_source(m, p_echo)
        and not coalesce(c.incognito, false)
        and m.id <> all (p_exclude);
end
$$;

-- Whether a user has so few rows that all of them are compared.
create function coach.has_few_rows(p_user_id uuid) returns boolean
language plpgsql stable
set plan_cache_mode = force_generic_plan
as $$
declare
    many constant integer := 2000;
begin
    return many > (
        select count(*)
        from (
            select from public.user_metadata_embeddings e where e.user_id = p_user_id
            union all
            select from public.ai_conversation_memory m where m.user_id = p_user_id
            limit many
        ) some_rows
    );
end
$$;

grant execute
    on function coach.nearest_candidates, coach.all_candidates, coach.has_few_rows, coach.is_source
    to authenticated, service_role;
