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
-- At a worker's start: registers users whose vectors another program wrote. One index-only pass.
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
-- A user with another serving model or another target. Both partial scans are empty unless a change is running.
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
returning m.user_id, m.serving_model as serving;

-- name: leave_user(user_id, token)!
update embedding_models
set leased_until = '-infinity'
where user_id = :user_id and fill_token = :token;

-- name: leave_waiting(user_id, until)!
-- The missing texts are in the queue, or were just added. Other users come first.
update embedding_models
set leased_until = :until
where user_id = :user_id;

-- name: drop_other_snippets(user_id, serving, target)!
-- What an earlier change left behind.
delete from user_metadata_embeddings
where user_id = :user_id and embedding_model not in (:serving, :target);

-- name: drop_other_messages(user_id, serving, target)!
delete from message_embeddings
where user_id = :user_id and embedding_model not in (:serving, :target);

-- name: drop_target_vectors(user_id, target)!
delete from message_embeddings
where user_id = :user_id and embedding_model = :target;

-- name: unfilled(user_id, serving, target, even_queued, limit)
-- Snippets of the serving model, and messages with whatever vector is not the target's, that the target has none of. What
-- is queued is the worker's, who embeds it with both models; before the switch it counts as well, but dead letters delay
-- none: the target model has refused them in all attempts. Index user_metadata_embeddings_code_idx, the unique one and
-- the queue's key.
select id, text, is_message, spoken
from (
    select s.id, s.text_snippet as text, false as is_message, null as spoken, q.not_before
    from user_metadata_embeddings s
    left join embedding_queue q
        on q.user_id = s.user_id
        and q.entity_table = coach.queue_name_of(s.domain_tag, s.chunk)
        and q.entity_id = s.entity_id
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
    union all
    select m.id, m.message_content, true, m.author_name, q.not_before
    from ai_conversation_memory m
    left join embedding_queue q
        on q.user_id = m.user_id and q.entity_table = 'ai_conversation_memory' and q.entity_id = m.id
    where m.user_id = :user_id
        and m.message_embedding is not null
        and m.embedding_model <> :target
        and not exists (
            select
            from message_embeddings t
            where t.user_id = m.user_id and t.message_id = m.id and t.embedding_model = :target
        )
) unfilled
where not_before is null or :even_queued and not_before < 'infinity'
limit :limit::integer;

-- name: lock_serving(user_id)$
select serving_model
from coach.lock_user(:user_id)
cross join embedding_models
where user_id = :user_id
for update of embedding_models;

-- name: fill_snippet(user_id, id, text, serving, target, embedding)!
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

-- name: reject_snippet(user_id, id, serving, now)!
-- A text that the target refuses: its row becomes the worker's, who tries as often as anything is tried. Its serving
-- vector stays until the switch.
insert into embedding_queue (user_id, entity_table, entity_id, not_before)
select user_id, coach.queue_name_of(domain_tag, chunk), entity_id, :now
from user_metadata_embeddings
where user_id = :user_id and id = :id and embedding_model = :serving and entity_id is not null
on conflict do nothing;

-- name: drop_ownerless_snippet(user_id, id, serving)!
-- A text without a row cannot be tried. If it stayed, it would delay the switch for ever.
delete from user_metadata_embeddings
where user_id = :user_id and id = :id and embedding_model = :serving and entity_id is null;

-- name: reject_message(user_id, id, now)!
insert into embedding_queue (user_id, entity_table, entity_id, not_before)
select user_id, 'ai_conversation_memory', id, :now
from ai_conversation_memory
where user_id = :user_id and id = :id and message_embedding is not null and not deleted
on conflict do nothing;

-- name: switch_messages(user_id, target)!
update ai_conversation_memory m
set message_embedding = second.embedding, embedding_model = second.embedding_model
from message_embeddings second
where m.user_id = :user_id
    and second.user_id = m.user_id
    and second.message_id = m.id
    and second.embedding_model = :target;

-- name: drop_refused(user_id, target)!
-- Vectors of messages that the target has refused to the last: compared with nothing from now on.
update ai_conversation_memory
set message_embedding = null, embedding_model = null
where user_id = :user_id and message_embedding is not null and embedding_model <> :target;

-- name: serve(user_id, target, now)!
update embedding_models
set serving_model = :target,
    target_model = null,
    fill_token = null,
    leased_until = '-infinity',
    switched_at = case when serving_model <> :target then :now else switched_at end
where user_id = :user_id;

-- name: target_since()^
select model, set_at from coach.embedding_target;

-- name: status(now)
-- By serving model: users, those being filled in at this moment, their vectors, those of the model that is to follow, and
-- what of theirs waits in the queue or was given up there.
select
    m.serving_model as model,
    count(*) as users,
    count(*) filter (where m.leased_until > :now) as filling,
    coalesce(sum(facts.serving + messages.serving), 0)::bigint as vectors,
    coalesce(sum(facts.filled + messages.filled), 0)::bigint as filled,
    coalesce(sum(queued.waiting), 0)::bigint as waiting,
    coalesce(sum(queued.given_up), 0)::bigint as given_up
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
cross join lateral (
    select
        count(*) filter (where q.not_before < 'infinity') as waiting,
        count(*) filter (where q.not_before = 'infinity') as given_up
    from embedding_queue q
    where q.user_id = m.user_id
) queued
group by m.serving_model
order by m.serving_model;
