-- What a search chooses from: the rows near a question by meaning, and those that share words with it.
-- Measured in docs/decisions/0004-retrieval.md.

-- How many candidates a table needs for a recall@10 of .998 or more, by how many of its ids lie in the last sixteenth of
-- all ids, where they are random (up to about 320, 1,300 and 20,000 rows). On 2,760 real texts: 40 of 320 find .9987, 64
-- of 1,300 find .9993, 100 all ten. (Ids that grow with time begin with a 0: a table of those counts as small, and of
-- 10,000 rows 40 still find .98.)
create function coach.candidates(p_late bigint) returns integer
language sql immutable
as $$ select case when p_late < 20 then 40 when p_late < 80 then 100 when p_late < 1250 then 200 else 400 end $$;

-- The rows nearest to a question, at least four times as many as are wanted, and how near: the sign bits, read from the
-- covering index alone, choose whose vectors are compared. That pays from the first row: at 500 rows it takes .45 ms
-- where comparing all of them takes .65.
-- plpgsql keeps the plans; planned anew, they cost more than the search. A kept plan knows no values and would evaluate an
-- expression of a parameter once per row, were it not in a (select …): 23 ms became 5.6.
create function coach.nearest(p_user_id uuid, p_vector halfvec, p_model text, p_domains text[], p_limit integer)
returns table (id uuid, is_message boolean, similarity double precision, content text)
language plpgsql stable strict
set search_path = public, extensions -- where pgvector's operators are: called from a function with an empty path
set plan_cache_mode = force_generic_plan
as $$
begin
    return query
    select e.id, false, 1 - (e.embedding <=> p_vector), e.text_snippet
    from (
        select c.id
        from public.user_metadata_embeddings c
        where c.user_id = p_user_id and c.embedding_model = p_model and c.domain_tag = any (p_domains)
        order by c.code <~> (select binary_quantize(p_vector)::bit(1536))
        limit (
            select greatest(4 * p_limit, coach.candidates(count(*)))
            from (
                select
                from public.user_metadata_embeddings s
                where s.user_id = p_user_id and s.id >= 'f0000000-0000-0000-0000-000000000000'
                limit 1250
            ) late
        )
    ) candidate
    join public.user_metadata_embeddings e on e.user_id = p_user_id and e.id = candidate.id
    union all
    select m.id, true, 1 - (m.message_embedding <=> p_vector), m.message_content
    from (
        select c.id
        from public.ai_conversation_memory c
        where c.user_id = p_user_id
            and c.embedding_model = p_model
            and c.message_embedding is not null
            and 'conversation' = any (p_domains)
        order by c.code <~> (select binary_quantize(p_vector)::bit(1536))
        limit (
            select greatest(4 * p_limit, coach.candidates(count(*)))
            from (
                select
                from public.ai_conversation_memory s
                where s.user_id = p_user_id and s.id >= 'f0000000-0000-0000-0000-000000000000'
                limit 1250
            ) late
        )
    ) candidate
    join public.ai_conversation_memory m on m.user_id = p_user_id and m.id = candidate.id;
end
$$;

-- A row that has a word of the question, and its words.
create type coach.word_match as (id uuid, is_message boolean, search tsvector);

-- The rows that share words with a question, by the same idea as BM25: rare words of this user's count more (idf), and
-- ts_rank saturates with repetition (1, 1.25, 1.36 ... 1.64). Definer, for row level security keeps @@ from using the GIN
-- index (it is not leakproof); so it asks itself who calls, and gives ids and scores only. Of a user with few rows all
-- are read, by a plan that the session keeps; the rows of others are planned for with their values, which decides
-- between the user's own rows and the index.
create function coach.rows_with_words(p_user_id uuid, p_question text, p_domains text[], p_limit integer)
returns table (id uuid, is_message boolean, score real)
language plpgsql stable strict security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    words tsquery[] := array(
        select ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery
        from unnest((tsvector_to_array(to_tsvector('pg_catalog.english', left(p_question, 8000))))[:32]) lexeme
    );
    any_word tsquery;
    matches coach.word_match[];
    messages bigint;
    snippets bigint;
begin
    if cardinality(words) = 0 or not coach.acts_for(p_user_id) then
        return;
    end if;
    any_word := array_to_string(words, ' | ')::tsquery;
    messages := (select count(*) from public.ai_conversation_memory m where m.user_id = p_user_id);
    snippets := (select count(*) from public.user_metadata_embeddings e where e.user_id = p_user_id);
    if messages + snippets < 2000 then
        matches := array(
            select (own.id, own.is_message, own.search)::coach.word_match
            from (
                select m.id, true as is_message, m.search
                from public.ai_conversation_memory m
                where m.user_id = p_user_id and not m.deleted and 'conversation' = any (p_domains)
                union all
                select e.id, false, e.search
                from public.user_metadata_embeddings e
                where e.user_id = p_user_id and e.domain_tag = any (p_domains)
                offset 0 -- keeps the next condition out, and the index of everybody's words with it
            ) own
            where own.search @@ any_word
        );
    else
        execute $q$
            select array(
                select (m.id, true, m.search)::coach.word_match
                from public.ai_conversation_memory m
                where m.user_id = $1 and m.search @@ $2 and not m.deleted and 'conversation' = any ($3)
                union all
                select (e.id, false, e.search)::coach.word_match
                from public.user_metadata_embeddings e
                where e.user_id = $1 and e.search @@ $2 and e.domain_tag = any ($3)
            )
        $q$
        into matches
        using p_user_id, any_word, p_domains;
    end if;
    return query
    with hits as (
        select
            match.id, match.is_message,
            ts_rank('{1, 1, 1, 1}', match.search, word.query) as share,
            count(*) over (partition by word.place) as spread
        from unnest(matches) match
        cross join unnest(words) with ordinality word (query, place)
        where match.search @@ word.query
    )
    select
        hits.id, hits.is_message,
        sum(
            ln(1 + (greatest(messages + snippets - hits.spread, 0) + 0.5::float8) / (hits.spread + 0.5::float8))
            * hits.share
        )::real as score
    from hits
    group by hits.id, hits.is_message
    order by score desc
    limit p_limit;
end
$$;

revoke all
    on function
        coach.candidates(bigint),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer)
    from public, anon, authenticated;
grant execute
    on function
        coach.candidates(bigint),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer)
    to authenticated, service_role;
