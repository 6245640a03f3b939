-- after: candidates, consents, dependents, kinds
-- The search over what is remembered of a user: by meaning (vectors), by words (tsvectors), and fused.
-- Measured in docs/decisions/0004-retrieval.md.

-- The combined context of a question, best first: what design.md calls "retrieve". Meaning and words are standardised
-- over the candidates and averaged; a message is lifted by half of the best score among the two before and after it in
-- its thread, since an answer often does not repeat what it is about. Life data have no neighbours: a quarter of their own
-- score stands in, or messages would crowd them out. Without a vector the words decide alone. Nothing is
-- retrieved without the consent record_rag_snippets. No message whose text is echo is found: a turn passes its question.
-- similarity, words and has_all_words are the evidence for a row; a turn shows none where it is weak for all of them.
-- Row level security holds for every row that this returns: it runs as whoever calls.
select coach.drop_functions('search_combined_context');

create function public.search_combined_context(
    p_user_id uuid,
    query_text text,
    query_embedding halfvec(1536),
    query_model text,
    domain_tags text[] default null,
    match_count integer default 10,
    exclude uuid[] default '{}',
    echo text default null
)
returns table (
    domain text,
    id uuid,
    title text,
    content text,
    score double precision,
    similarity double precision,
    words double precision,
    has_all_words boolean,
    updated_at timestamptz,
    conversation text,
    message text
)
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    domains text[] := coalesce(domain_tags, array(select kind from coach.entity_kinds) || 'conversation'::text);
    all_words tsquery := array_to_string(coach.words_of(query_text), ' & ')::tsquery;
    has_few boolean := coach.has_few_rows(p_user_id);
begin
    if public.user_has_consented(p_user_id, 'record_rag_snippets') is not true then
        return;
    end if;
    return query
    with candidate as materialized (
        select c.*
        from coach.all_candidates(p_user_id, query_text, query_embedding, query_model, domains, exclude, echo) c
        where has_few
        union all
        -- At least 200 of each table: what standardising and neighbours need, not only the ten best.
        select c.*
        from coach.nearest_candidates(
            p_user_id, query_text, query_embedding, query_model, domains, exclude, echo, greatest(match_count, 50)
        ) c
        where not has_few
    ),
    scored as (
        select
            candidate.*,
            0.5 * coalesce((similarity - avg(similarity) over ()) / nullif(stddev_pop(similarity) over (), 0), 0)
            + 0.5 * coalesce((words - avg(words) over ()) / nullif(stddev_pop(words) over (), 0), 0) as own
        from candidate
    ),
    ranked as (
        select scored.id, scored.is_message, scored.domain, scored.entity_id, scored.similarity, scored.words,
            own + 0.25 * greatest(own, 0) as score
        from scored
        where not is_message
        union all
        select
            said.id, true, said.domain, said.entity_id, said.similarity, said.words,
            own + 0.5 * greatest(
                0,
                case when lag(id) over thread = parent_id then lag(own) over thread end,
                case when lead(parent_id) over thread = id then lead(own) over thread end,
                case
                    when lag(id) over thread = parent_id and lag(id, 2) over thread = lag(parent_id) over thread
                    then 0.5 * lag(own, 2) over thread
                end,
                case
                    when lead(parent_id) over thread = id and lead(parent_id, 2) over thread = lead(id) over thread
                    then 0.5 * lead(own, 2) over thread
                end
            )
        from scored said
        where said.is_message
        window thread as (partition by conversation_id order by said_at, id)
    ),
    -- An entity of many chunks stands for itself once. Four rows for each that is wanted are enough to find them in.
    foremost as (
        select ranked.*
        from ranked
        order by score desc, id
        limit 4 * match_count
    ),
    best as (
        select once.*
        from (
            select distinct on (domain, entity_id) foremost.*
            from foremost
            order by domain, entity_id, score desc, id
        ) once
        order by score desc, id
        limit match_count
    )
    select
        best.domain,
        best.entity_id,
        case when best.is_message then coalesce(c.title, '') else e.title end,
        case when best.is_message then coalesce(m.author_name || ': ', '') || m.message_content else e.text_snippet end,
        best.score,
        best.similarity,
        best.words,
        coalesce(case when best.is_message then m.search else e.search end @@ all_words, false),
        case when best.is_message then m.conversation_date else e.updated_at end,
        c.client_id,
        m.client_id
    from best
    left join public.user_metadata_embeddings e on not best.is_message and e.user_id = p_user_id and e.id = best.id
    left join public.ai_conversation_memory m on best.is_message and m.user_id = p_user_id and m.id = best.id
    left join public.conversations c on c.user_id = p_user_id and c.id = m.conversation_id
    order by best.score desc, best.id;
end
$$;

-- The original design's search, over life data alone and by meaning alone. Vectors are compared within one model: where
-- none is named, that of the user's newest row.
select coach.drop_functions('search_metadata_embeddings');

create function public.search_metadata_embeddings(
    query_embedding halfvec(1536),
    p_user_id uuid,
    domain_tags text[] default null,
    match_count integer default 10,
    query_model text default null
)
returns table (
    id uuid,
    domain_tag text,
    entity_id uuid,
    text_snippet text,
    similarity double precision
)
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    model text := coalesce(
        query_model,
        (
            select newest.embedding_model
            from public.user_metadata_embeddings newest
            where newest.user_id = p_user_id
            order by newest.updated_at desc
            limit 1
        )
    );
    domains text[] := coalesce(
        array_remove(domain_tags, 'conversation'), array(select kind from coach.entity_kinds)
    );
begin
    if public.user_has_consented(p_user_id, 'record_rag_snippets') is not true then
        return;
    end if;
    return query
    select n.id, n.domain, n.entity_id, n.content, n.similarity
    from coach.nearest(p_user_id, query_embedding, model, domains, coalesce(match_count, 10)) n
    where not n.is_message
    order by n.similarity desc
    limit coalesce(match_count, 10);
end
$$;
select coach.keep_results('search_combined_context');

select coach.keep_results('search_metadata_embeddings');
