-- What a search chooses from: the rows near a question by meaning, and those that share words with it.
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

revoke all
    on function
        coach.compare_all(uuid, halfvec, text, text[], integer),
        coach.compare_facts(uuid, halfvec, text, text[], integer),
        coach.compare_messages(uuid, halfvec, text, integer),
        coach.candidates(bigint),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer)
    from public, anon, authenticated;
grant execute
    on function
        coach.compare_all(uuid, halfvec, text, text[], integer),
        coach.compare_facts(uuid, halfvec, text, text[], integer),
        coach.compare_messages(uuid, halfvec, text, integer),
        coach.candidates(bigint),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer)
    to authenticated, service_role;
