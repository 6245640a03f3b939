-- The search over what is remembered of a user: by meaning (vectors), by words (tsvectors), and fused.
-- Measured in docs/decisions/0004-retrieval.md.

-- Every vector of the user compared with the question's: exact, and the quickest up to 1,300 rows a table.
-- Here as below, a kept plan knows no values and would evaluate an expression of a parameter once per row, were it not in a
-- (select …): 23 ms became 5.6.
create function coach.compare_all(p_user_id uuid, p_vector halfvec, p_model text, p_domains text[], p_limit integer)
returns table (id uuid, is_message boolean, similarity double precision, content text)
language sql stable
begin atomic
    select compared.id, compared.is_message, compared.similarity, compared.content
    from (
        select e.id, false as is_message, 1 - (e.embedding <=> (select p_vector)) as similarity, e.text_snippet as content
        from public.user_metadata_embeddings e
        where e.user_id = p_user_id and e.embedding_model = p_model and e.domain_tag = any (p_domains)
        union all
        select m.id, true, 1 - (m.message_embedding <=> (select p_vector)), m.message_content
        from public.ai_conversation_memory m
        where m.user_id = p_user_id
            and m.embedding_model = p_model
            and m.message_embedding is not null
            and 'conversation' = any (p_domains)
    ) compared
    order by compared.similarity desc
    limit p_limit;
end;

-- The sign bits choose whose vectors are compared: the candidates are read from the covering index alone.
create function coach.compare_facts(
    p_user_id uuid, p_vector halfvec, p_model text, p_domains text[], p_candidates integer
)
returns table (id uuid, is_message boolean, similarity double precision, content text)
language sql stable
begin atomic
    select e.id, false, 1 - (e.embedding <=> (select p_vector)), e.text_snippet
    from (
        select c.id
        from public.user_metadata_embeddings c
        where c.user_id = p_user_id and c.embedding_model = p_model and c.domain_tag = any (p_domains)
        order by c.code <~> (select binary_quantize(p_vector)::bit(1536))
        limit p_candidates
    ) candidate
    join public.user_metadata_embeddings e on e.user_id = p_user_id and e.id = candidate.id;
end;

create function coach.compare_messages(p_user_id uuid, p_vector halfvec, p_model text, p_candidates integer)
returns table (id uuid, is_message boolean, similarity double precision, content text)
language sql stable
begin atomic
    select m.id, true, 1 - (m.message_embedding <=> (select p_vector)), m.message_content
    from (
        select c.id
        from public.ai_conversation_memory c
        where c.user_id = p_user_id and c.embedding_model = p_model and c.message_embedding is not null
        order by c.code <~> (select binary_quantize(p_vector)::bit(1536))
        limit p_candidates
    ) candidate
    join public.ai_conversation_memory m on m.user_id = p_user_id and m.id = candidate.id;
end;

-- How many candidates a table of that many rows needs for a recall@10 of .99; up to 1,300 all of them.
create function coach.candidates(p_rows bigint) returns integer
language sql immutable
as $$ select case when p_rows <= 1300 then 1300 when p_rows <= 20000 then 200 else 400 end $$;

-- The rows nearest to a question, and how near. Which way is quickest depends on how many rows there are, so this looks
-- first. Ids are random: more than 150 in the last sixteenth of all ids are far more than 1,300 in all, which needs no
-- counting; fewer, and up to 1,301 are counted. (Ids that grow with time begin with a 0, so they are always counted.)
-- plpgsql starts only the statement that it needs, and keeps the plans: at 500 rows planning cost more than searching.
create function coach.nearest(p_user_id uuid, p_vector halfvec, p_model text, p_domains text[], p_limit integer)
returns table (id uuid, is_message boolean, similarity double precision, content text)
language plpgsql stable strict
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    late constant uuid := 'f0000000-0000-0000-0000-000000000000';
    facts bigint;
    messages bigint;
begin
    select
        case
            when late_facts > 150 then 16 * late_facts
            else (
                select count(*)
                from (
                    select
                    from public.user_metadata_embeddings e
                    where e.user_id = p_user_id and e.embedding_model = p_model
                    limit 1301
                ) counted
            )
        end,
        case
            when late_messages > 150 then 16 * late_messages
            else (
                select count(*)
                from (
                    select
                    from public.ai_conversation_memory m
                    where m.user_id = p_user_id and m.embedding_model = p_model and m.message_embedding is not null
                    limit 1301
                ) counted
            )
        end
    into facts, messages
    from (
        select
            (
                select count(*)
                from public.user_metadata_embeddings e
                where e.user_id = p_user_id and e.id >= late
            ) as late_facts,
            (
                select count(*)
                from public.ai_conversation_memory m
                where m.user_id = p_user_id and m.id >= late
            ) as late_messages
    ) sample;

    if facts <= 1300 and messages <= 1300 then
        return query select * from coach.compare_all(p_user_id, p_vector, p_model, p_domains, p_limit);
    else
        return query
        select * from coach.compare_facts(p_user_id, p_vector, p_model, p_domains, coach.candidates(facts))
        union all
        select *
        from coach.compare_messages(p_user_id, p_vector, p_model, coach.candidates(messages))
        where 'conversation' = any (p_domains);
    end if;
end
$$;

-- The rows that share words with a question, by the same idea as BM25: rare words of this user's count more (idf), and
-- ts_rank saturates with repetition (1, 1.25, 1.36 ... 1.64). Definer, for row level security keeps @@ from using the GIN
-- index (it is not leakproof); so it asks itself who calls, and gives ids and scores only. The statement is planned with
-- its values, which decides between the user's own rows and the index.
create function coach.rows_with_words(p_user_id uuid, p_question text, p_domains text[], p_limit integer)
returns table (id uuid, is_message boolean, score real)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
    lexemes text[] := (tsvector_to_array(to_tsvector('pg_catalog.english', left(p_question, 8000))))[:32];
    words tsquery[] := array(
        select ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery
        from unnest(lexemes) lexeme
    );
    any_word tsquery := (
        select string_agg(word::text, ' | ')::tsquery
        from unnest(words) word
    );
begin
    if any_word is null or not coach.acts_for(p_user_id) then
        return;
    end if;
    return query execute $q$
        with matching as (
            select m.id, true as is_message, m.search
            from public.ai_conversation_memory m
            where m.user_id = $1 and m.search @@ $2 and not m.deleted
                and 'conversation' = any ($4)
            union all
            select e.id, false, e.search
            from public.user_metadata_embeddings e
            where e.user_id = $1 and e.search @@ $2
                and e.domain_tag = any ($4)
        ),
        hits as (
            select
                matching.id, matching.is_message,
                ts_rank('{1, 1, 1, 1}', matching.search, word.query) as share,
                count(*) over (partition by word.place) as spread
            from matching
            cross join unnest($3) with ordinality word (query, place)
            where matching.search @@ word.query
        ),
        total as materialized (
            select (select count(*) from public.ai_conversation_memory where user_id = $1)
                + (select count(*) from public.user_metadata_embeddings where user_id = $1) as rows
        )
        select
            hits.id, hits.is_message,
            sum(ln(1 + (greatest(total.rows - hits.spread, 0) + 0.5::float8) / (hits.spread + 0.5::float8)) * hits.share)::real
                as score
        from hits
        cross join total
        group by hits.id, hits.is_message
        order by score desc
        limit $5
    $q$
    using p_user_id, any_word, words, p_domains, p_limit;
end
$$;

-- The combined context of a question, best first: what design.md calls "retrieve". Meaning and words are standardised
-- over the candidates and averaged; a message is lifted by half of the best score among the two before and after it in
-- its thread, since an answer often does not repeat what it is about. Life data have no neighbours: a quarter of their own
-- score stands in, or messages would crowd them out. Without a vector the words decide alone. Nothing is
-- retrieved without the consent record_rag_snippets.
-- Row level security holds for every row that this returns: it runs as whoever calls.
select coach.drop_functions('search_combined_context');
create function public.search_combined_context(
    p_user_id uuid,
    query_text text,
    query_embedding halfvec(1536),
    query_model text,
    domain_tags text[] default null,
    match_count integer default 10,
    exclude uuid[] default '{}'
)
returns table (
    domain text,
    id uuid,
    title text,
    content text,
    score double precision,
    similarity double precision,
    updated_at timestamptz,
    conversation text,
    message text
)
language sql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
begin atomic
    with asked as materialized (
        select coalesce(
            domain_tags,
            '{pillar, area, project, task, journal_entry, behavior_summary, conversation}'
        ) as domains
        where public.user_has_consented(p_user_id, 'record_rag_snippets')
    ),
    found as materialized (
        select
            p_user_id as user_id, candidate.id, candidate.is_message,
            max(candidate.similarity) as similarity,
            coalesce(max(candidate.words), 0)::double precision as words
        from (
            select n.id, n.is_message, n.similarity, null::real as words
            from asked
            cross join lateral coach.nearest(p_user_id, query_embedding, query_model, asked.domains, 2600) n
            union all
            select w.id, w.is_message, null, w.score
            from asked
            cross join lateral coach.rows_with_words(p_user_id, query_text, asked.domains, 200) w
        ) candidate
        group by candidate.id, candidate.is_message
    ),
    read as (
        select
            e.user_id, e.id, false as is_message, e.domain_tag as domain, coalesce(e.entity_id, e.id) as entity_id,
            null::uuid as conversation_id, null::uuid as parent_id, e.updated_at as said_at, found.words,
            case
                when found.similarity is not null then found.similarity
                when e.embedding_model = query_model then 1 - (e.embedding <=> (select query_embedding))
            end as similarity
        from found
        join public.user_metadata_embeddings e on e.user_id = found.user_id and e.id = found.id
        where not found.is_message
        union all
        select
            m.user_id, m.id, true, 'conversation', m.id,
            m.conversation_id, m.parent_id, m.conversation_date, found.words,
            case
                when found.similarity is not null then found.similarity
                when m.embedding_model = query_model then 1 - (m.message_embedding <=> (select query_embedding))
            end
        from found
        join public.ai_conversation_memory m on m.user_id = found.user_id and m.id = found.id
        left join public.conversations c on c.user_id = m.user_id and c.id = m.conversation_id
        where found.is_message
            and not m.deleted
            and not coalesce(c.incognito, false)
            and m.message_role <> 'system'
            and m.status in ('complete', 'interrupted')
            -- The stand-in only reads rows back; remembered, its answers would push aside the rows themselves.
            and m.model_used is distinct from 'offline'
            and m.id <> all (exclude)
    ),
    scored as (
        select
            read.*,
            0.5 * coalesce((similarity - avg(similarity) over ()) / nullif(stddev_pop(similarity) over (), 0), 0)
            + 0.5 * coalesce((words - avg(words) over ()) / nullif(stddev_pop(words) over (), 0), 0) as own
        from read
    ),
    ranked as (
        select
            scored.*,
            own + 0.5 * greatest(
                case when is_message then 0 else 0.5 * own end,
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
            ) as score,
            row_number() over (partition by domain, entity_id order by own desc) as place
        from scored
        window thread as (partition by conversation_id order by said_at, id)
    ),
    best as (
        select r.user_id, r.id, r.is_message, r.domain, r.entity_id, r.score, r.similarity
        from ranked r
        where r.place = 1
        order by r.score desc, r.id
        limit match_count
    )
    select
        best.domain,
        best.entity_id,
        case when best.is_message then coalesce(c.title, '') else e.title end,
        case when best.is_message then coalesce(m.author_name || ': ', '') || m.message_content else e.text_snippet end,
        best.score,
        best.similarity,
        case when best.is_message then m.conversation_date else e.updated_at end,
        c.client_id,
        m.client_id
    from best
    left join public.user_metadata_embeddings e on not best.is_message and e.user_id = best.user_id and e.id = best.id
    left join public.ai_conversation_memory m on best.is_message and m.user_id = best.user_id and m.id = best.id
    left join public.conversations c on c.user_id = m.user_id and c.id = m.conversation_id
    order by best.score desc, best.id;
end;

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
language sql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
begin atomic
    select e.id, e.domain_tag, e.entity_id, e.text_snippet, nearest.similarity
    from (
        select n.id, n.similarity
        from coach.nearest(
            p_user_id,
            query_embedding,
            coalesce(
                query_model,
                (
                    select newest.embedding_model
                    from public.user_metadata_embeddings newest
                    where newest.user_id = p_user_id
                    order by newest.updated_at desc
                    limit 1
                )
            ),
            coalesce(
                array_remove(domain_tags, 'conversation'),
                '{pillar, area, project, task, journal_entry, behavior_summary}'
            ),
            match_count
        ) n
        where not n.is_message and public.user_has_consented(p_user_id, 'record_rag_snippets')
        order by n.similarity desc
        limit match_count
    ) nearest
    join public.user_metadata_embeddings e on e.user_id = p_user_id and e.id = nearest.id
    order by nearest.similarity desc;
end;

revoke all
    on function
        coach.compare_all(uuid, halfvec, text, text[], integer),
        coach.compare_facts(uuid, halfvec, text, text[], integer),
        coach.compare_messages(uuid, halfvec, text, integer),
        coach.candidates(bigint),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer),
        public.search_combined_context(uuid, text, halfvec, text, text[], integer, uuid[]),
        public.search_metadata_embeddings(halfvec, uuid, text[], integer, text)
    from public, anon, authenticated;
grant execute
    on function
        coach.compare_all(uuid, halfvec, text, text[], integer),
        coach.compare_facts(uuid, halfvec, text, text[], integer),
        coach.compare_messages(uuid, halfvec, text, integer),
        coach.candidates(bigint),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer),
        public.search_combined_context(uuid, text, halfvec, text, text[], integer, uuid[]),
        public.search_metadata_embeddings(halfvec, uuid, text[], integer, text)
    to authenticated, service_role;

-- Messages without a vector: how many a turn could not search, and what the worker has to fetch.
create index if not exists ai_conversation_memory_waiting_idx
    on public.ai_conversation_memory (user_id, created_at)
    where message_embedding is null and not deleted;
