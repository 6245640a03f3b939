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

grant execute on function coach.candidates, coach.nearest to authenticated, service_role;
