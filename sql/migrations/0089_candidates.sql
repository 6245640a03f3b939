-- What a search chooses from: the rows near a question by meaning, and those that share words with it.
-- Measured in docs/decisions/0004-retrieval.md.

-- How many candidates a table needs for a recall@10 of .998 or more, by how many of its ids lie in the last sixteenth of
-- all ids, where they are random: 40 up to about 320 rows, 100 at 1,300, 200 from 2,900 and 400 from 20,000. On 2,760 real
-- texts: 40 of 320 find .9987, 64 of 1,300 find .9993, 100 all ten. It grows without steps, for the estimate varies. (Ids
-- that grow with time begin with a 0: a table of those counts as small, and of 10,000 rows 40 still find .98.)
create function coach.candidates(p_late bigint) returns integer
language sql immutable
as $$ select case when p_late < 1250 then greatest(40, least(20 + p_late, 200)) else 400 end $$;

-- The rows nearest to a question, at least four times as many as are wanted, and how near: the sign bits, read from the
-- covering index alone, choose whose vectors are compared. That pays from the first row: at 500 rows it takes .34 ms
-- where comparing all of them takes .65.
-- It becomes a part of the statement that calls it, so that a column which is not asked for costs nothing; and that has to
-- keep its plan: planned anew, it costs more than the search. A kept plan knows no values and would evaluate an expression
-- of a parameter once per row, were it not in a (select …): 23 ms became 5.6. The chosen are read by an array of their
-- ids: from 17 on one descent of the index finds them all, where a join descends for each (.41 ms became .36).
create function coach.nearest(p_user_id uuid, p_vector halfvec, p_model text, p_domains text[], p_limit integer)
returns table (
    id uuid, is_message boolean, domain text, entity_id uuid, content text, similarity double precision
)
language sql stable
begin atomic
    select e.id, false, e.domain_tag, e.entity_id, e.text_snippet, 1 - (e.embedding <=> p_vector)
    from public.user_metadata_embeddings e
    where e.user_id = p_user_id and p_vector is not null and e.id = any (array(
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
    ))
    union all
    select m.id, true, 'conversation', m.id, m.message_content, 1 - (m.message_embedding <=> p_vector)
    from public.ai_conversation_memory m
    where m.user_id = p_user_id and p_vector is not null and m.id = any (array(
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
    ));
end;

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
    if cardinality(words) = 0 or not coach.acts_for(p_user_id) then
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
create function coach.is_source(p_status text, p_role text, p_model text, p_deleted boolean, p_content text, p_echo text)
returns boolean
language sql immutable
as $$
    select not p_deleted
        and p_role <> 'system'
        and p_status in ('complete', 'interrupted')
        and p_model is distinct from 'offline'
        and (
            p_echo is null
            or octet_length(p_content) > octet_length(p_echo) + 100
            or btrim(p_content, E' \t\r\n') <> btrim(p_echo, E' \t\r\n')
        )
$$;

-- The candidates of a user with few rows: all of them. One pass over both tables takes half of what choosing, and
-- reading the chosen again, does up to some 2,000 rows (docs/decisions/0004-retrieval.md).
create function coach.every_row(
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
            and coach.is_source(m.status, m.message_role, m.model_used, m.deleted, m.message_content, p_echo)
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
create function coach.chosen_rows(
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
        and coach.is_source(m.status, m.message_role, m.model_used, m.deleted, m.message_content, p_echo)
        and not coalesce(c.incognito, false)
        and m.id <> all (p_exclude);
end
$$;

-- Whether a user has so few rows that all of them are compared.
create function coach.has_few_rows(p_user_id uuid) returns boolean
language plpgsql stable
set search_path = ''
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

revoke all
    on function
        coach.candidates(bigint),
        coach.chosen_rows(uuid, text, halfvec, text, text[], uuid[], text, integer),
        coach.every_row(uuid, text, halfvec, text, text[], uuid[], text),
        coach.has_few_rows(uuid),
        coach.is_source(text, text, text, boolean, text, text),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer),
        coach.weight_of_word(bigint, bigint),
        coach.words_of(text)
    from public, anon, authenticated;
grant execute
    on function
        coach.candidates(bigint),
        coach.chosen_rows(uuid, text, halfvec, text, text[], uuid[], text, integer),
        coach.every_row(uuid, text, halfvec, text, text[], uuid[], text),
        coach.has_few_rows(uuid),
        coach.is_source(text, text, text, boolean, text, text),
        coach.nearest(uuid, halfvec, text, text[], integer),
        coach.rows_with_words(uuid, text, text[], integer),
        coach.weight_of_word(bigint, bigint),
        coach.words_of(text)
    to authenticated, service_role;
