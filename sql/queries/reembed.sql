-- A change of the embedding model, as service_role. Every statement names its user; the first ones name nobody's rows.

-- name: declare_target(model)!
insert into coach.embedding_target as t (model)
values (:model)
on conflict (is_only) do update
set model = excluded.model, set_at = excluded.set_at
where t.model <> excluded.model;

-- name: target()$
select model from coach.embedding_target;

-- name: register_all()!
-- At a worker's start: whoever has vectors that another than the worker wrote. One index-only pass.
insert into embedding_models (user_id, serving_model)
select distinct on (e.user_id) e.user_id, e.embedding_model
from (
    select user_id, embedding_model from user_metadata_embeddings group by user_id, embedding_model
    union all
    select user_id, embedding_model
    from ai_conversation_memory
    where message_embedding is not null
    group by user_id, embedding_model
) e
where not exists (select from embedding_models m where m.user_id = e.user_id)
order by e.user_id, e.embedding_model
on conflict do nothing;

-- name: claim_user(target, token, now, until)^
-- Somebody who is served from another model, or for whom another target was begun. Both partial scans are empty in peace.
update embedding_models m
set fill_token = :token, leased_until = :until, target_model = :target
where m.user_id = (
    select o.user_id
    from embedding_models o
    where (o.serving_model <> :target or o.target_model is not null) and o.leased_until < :now
    order by o.user_id
    limit 1
    for update skip locked
)
returning m.user_id, m.serving_model;

-- name: leave_user(user_id, token)!
update embedding_models
set leased_until = '-infinity'
where user_id = :user_id and fill_token = :token;

-- name: leave_locked(user_id)!
update embedding_models
set leased_until = '-infinity'
where user_id = :user_id;

-- name: drop_other_facts(user_id, serving, target)!
-- What an earlier change left behind.
delete from user_metadata_embeddings
where user_id = :user_id and embedding_model not in (:serving, :target);

-- name: drop_other_messages(user_id, serving, target)!
delete from message_embeddings
where user_id = :user_id and embedding_model not in (:serving, :target);

-- name: drop_seconds(user_id, target)!
delete from message_embeddings
where user_id = :user_id and embedding_model = :target;

-- name: unfilled_facts(user_id, serving, target, limit)
-- Index user_metadata_embeddings_code_idx, and the unique one for the other half.
select s.id, s.text_snippet
from user_metadata_embeddings s
where s.user_id = :user_id
    and s.embedding_model = :serving
    and not exists (
        select
        from user_metadata_embeddings t
        where t.user_id = s.user_id
            and t.embedding_model = :target
            and t.domain_tag = s.domain_tag
            and t.entity_id is not distinct from s.entity_id
            and t.chunk = s.chunk
    )
limit :limit::integer;

-- name: unfilled_messages(user_id, serving, target, limit)
-- Whatever it has a vector of that is not the target's.
select m.id, m.message_content, m.author_name
from ai_conversation_memory m
where m.user_id = :user_id
    and m.message_embedding is not null
    and m.embedding_model <> :target
    and not exists (
        select
        from message_embeddings t
        where t.user_id = m.user_id and t.message_id = m.id and t.embedding_model = :target
    )
    and :serving <> :target
limit :limit::integer;

-- name: is_unfilled(user_id, serving, target)$
select exists (
    select
    from user_metadata_embeddings s
    where s.user_id = :user_id
        and s.embedding_model = :serving
        and not exists (
            select
            from user_metadata_embeddings t
            where t.user_id = s.user_id
                and t.embedding_model = :target
                and t.domain_tag = s.domain_tag
                and t.entity_id is not distinct from s.entity_id
                and t.chunk = s.chunk
        )
) or exists (
    select
    from ai_conversation_memory m
    where m.user_id = :user_id
        and m.message_embedding is not null
        and m.embedding_model <> :target
        and not exists (
            select
            from message_embeddings t
            where t.user_id = m.user_id and t.message_id = m.id and t.embedding_model = :target
        )
);

-- name: hold_serving(user_id)$
select serving_model
from embedding_models
where user_id = :user_id
for share;

-- name: lock_serving(user_id)$
select serving_model
from embedding_models
where user_id = :user_id
for update;

-- name: fill_fact(user_id, id, text, serving, target, embedding)!
-- The serving row is locked: an edit or a delete of it waits, and then sees its copy.
with origin as (
    select domain_tag, entity_id, chunk, title, text_snippet, content_hash, updated_at
    from user_metadata_embeddings
    where user_id = :user_id and id = :id and embedding_model = :serving and text_snippet = :text
    for share
)
insert into user_metadata_embeddings (
    user_id, domain_tag, entity_id, chunk, title, text_snippet, embedding, embedding_model, content_hash, updated_at
)
select :user_id, domain_tag, entity_id, chunk, title, text_snippet, :embedding, :target, content_hash, updated_at
from origin
on conflict (user_id, domain_tag, entity_id, chunk, embedding_model) do nothing;

-- name: fill_message(user_id, id, text, serving, target, embedding)!
with origin as (
    select id
    from ai_conversation_memory
    where user_id = :user_id
        and id = :id
        and message_content = :text
        and message_embedding is not null
        and not deleted
        and :serving <> :target
    for share
)
insert into message_embeddings (user_id, message_id, embedding_model, embedding)
select :user_id, id, :target, :embedding
from origin
on conflict do nothing;

-- name: forget_fact(user_id, id, serving)!
-- A text that the new model cannot take: an edit of its row is its next chance. Without it nobody would ever switch.
delete from user_metadata_embeddings
where user_id = :user_id and id = :id and embedding_model = :serving;

-- name: forget_message_vector(user_id, id, serving)!
update ai_conversation_memory
set message_embedding = null, embedding_model = null
where user_id = :user_id and id = :id and :serving is not null;

-- name: switch_messages(user_id, target)!
update ai_conversation_memory m
set message_embedding = second.embedding, embedding_model = second.embedding_model
from message_embeddings second
where m.user_id = :user_id
    and second.user_id = m.user_id
    and second.message_id = m.id
    and second.embedding_model = :target;

-- name: serve(user_id, target, now)!
update embedding_models
set serving_model = :target,
    target_model = null,
    fill_token = null,
    leased_until = '-infinity',
    switched_at = case when serving_model <> :target then :now else switched_at end
where user_id = :user_id;

-- name: status()
-- How far each change is: users, their vectors of the serving model, and of the one that is being filled in.
select
    m.serving_model,
    count(*),
    coalesce(sum(facts.serving + messages.serving), 0)::bigint,
    coalesce(sum(facts.filled + messages.filled), 0)::bigint
from embedding_models m
cross join lateral (
    select
        count(*) filter (where e.embedding_model = m.serving_model) as serving,
        count(*) filter (where e.embedding_model = m.target_model and m.target_model <> m.serving_model) as filled
    from user_metadata_embeddings e
    where e.user_id = m.user_id
) facts
cross join lateral (
    select
        (
            select count(*)
            from ai_conversation_memory c
            where c.user_id = m.user_id and c.embedding_model = m.serving_model
        ) as serving,
        (
            select count(*)
            from message_embeddings s
            where s.user_id = m.user_id and s.embedding_model = m.target_model
        ) as filled
) messages
group by m.serving_model
order by m.serving_model;
