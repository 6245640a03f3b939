-- after: access
-- A question's words, each as a query of its own.
create function coach.words_of(p_question text) returns tsquery[]
language sql immutable
set search_path = ''
as $$
    select array(
        select ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery
        from unnest((tsvector_to_array(to_tsvector('pg_catalog.english', left(p_question, 8000))))[:32]) lexeme
    )
$$;

-- How much a word weighs that so many of all rows have (idf).
create function coach.weight_of_word(p_rows bigint, p_spread bigint) returns double precision
language sql immutable
as $$ select ln(1 + (greatest(p_rows - p_spread, 0) + 0.5::float8) / (p_spread + 0.5::float8)) $$;

-- A row that has a word of the question, and its words.
create type coach.word_match as (id uuid, is_message boolean, search tsvector);

-- The rows that share words with a question, by the same idea as BM25: rare words of this user's count more (idf), and
-- ts_rank saturates with repetition (1, 1.25, 1.36 ... 1.64). Definer, for row level security keeps @@ from using the GIN
-- index (it is not leakproof); so it asks itself who calls, and gives ids and scores only. Planned for with the values,
-- which decides between the user's own rows and the index.
create function coach.rows_with_words(p_user_id uuid, p_question text, p_domains text[], p_limit integer)
returns table (id uuid, is_message boolean, score double precision)
language plpgsql stable strict security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    words tsquery[] := coach.words_of(p_question);
    matches coach.word_match[];
    total bigint;
begin
    if cardinality(words) = 0 or not coach.may_act_for(p_user_id) then
        return;
    end if;
    total := (select count(*) from public.ai_conversation_memory m where m.user_id = p_user_id)
        + (select count(*) from public.user_metadata_embeddings e where e.user_id = p_user_id);
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
    using p_user_id, array_to_string(words, ' | ')::tsquery, p_domains;
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
    select hits.id, hits.is_message, sum(coach.weight_of_word(total, hits.spread) * hits.share) as score
    from hits
    group by hits.id, hits.is_message
    order by score desc
    limit p_limit;
end
$$;

grant execute on function coach.rows_with_words, coach.weight_of_word, coach.words_of to authenticated, service_role;
