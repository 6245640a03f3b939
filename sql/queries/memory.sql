-- name: list_remembered_snippets(user_id, model, source, before, before_id, limit)
-- GET /api/memory: what was made of rows, one item an entity, newest first. Walks the index (user_id, updated_at, id); the
-- first chunk stands for its entity, by the unique index. During a change of model both have the same text.
select
    e.domain_tag as source,
    coalesce(e.entity_id, e.id) as id,
    e.title,
    (
        select string_agg(c.text_snippet, E'\n' order by c.chunk)
        from user_metadata_embeddings c
        where c.user_id = e.user_id
            and c.domain_tag = e.domain_tag
            and c.embedding_model = e.embedding_model
            and (c.entity_id = e.entity_id or c.id = e.id)
    ) as content,
    e.updated_at,
    exists (
        select
        from memory_corrections k
        where k.user_id = e.user_id and k.domain_tag = e.domain_tag and k.entity_id = coalesce(e.entity_id, e.id)
    ) as corrected,
    e.id as row_id
from user_metadata_embeddings e
where e.user_id = :user_id
    and (:source::text is null or e.domain_tag = :source)
    and (:model::text is null or e.embedding_model = :model)
    and not exists (
        select
        from user_metadata_embeddings first
        where first.user_id = e.user_id
            and first.domain_tag = e.domain_tag
            and first.entity_id = e.entity_id
            and first.chunk < e.chunk
            and first.embedding_model = e.embedding_model
    )
    and (e.updated_at, e.id) < (:before, :before_id)
order by e.updated_at desc, e.id desc
limit :limit::integer;

-- name: list_remembered_messages(user_id, before, before_id, limit)
-- GET /api/memory: messages that a search may bring, as search_combined_context chooses them. Index (user_id,
-- conversation_date, id).
select
    'conversation' as source, id, coalesce(title, '') as title,
    coalesce(author_name || ': ', '') || message_content as content, conversation_date as updated_at,
    is_corrected as corrected, id as row_id, message_role as role, conversation_key as conversation_id,
    client_id as message_id
from coach.said_messages
where user_id = :user_id
    and model_used is distinct from 'offline'
    and (conversation_date, id) < (:before, :before_id)
order by conversation_date desc, id desc
limit :limit::integer;

-- name: served_from(user_id)$
-- The model whose vectors are searched. Primary key.
select serving_model
from embedding_models
where user_id = :user_id;

-- name: lock_consents(user_id)$
-- First of all locks, so that nothing is stored after a withdrawal.
select record_rag_snippets
from coach.lock_consents(:user_id);

-- name: lock_models_exclusively(user_id)$
-- Every transaction that stores vectors has a share lock of this row. After this lock none is in progress.
select serving_model
from coach.lock_user(:user_id)
cross join embedding_models
where user_id = :user_id
for update of embedding_models;

-- name: fact(user_id, domain_tag, entity_id)^
-- The first chunk, or what was corrected and waits for its vector. Unique (user_id, domain_tag, entity_id, chunk, model).
select found.chunk, found.title
from (
    select e.chunk, e.title
    from user_metadata_embeddings e
    where e.user_id = :user_id and e.domain_tag = :domain_tag and (e.entity_id = :entity_id or e.id = :entity_id)
    union all
    select 0, ''
    from memory_corrections k
    where k.user_id = :user_id and k.domain_tag = :domain_tag and k.entity_id = :entity_id and k.content is not null
) found
order by found.title = '', found.chunk
limit 1;

-- name: correct(user_id, domain_tag, entity_id, content, now)!
-- Null content: forgotten.
insert into memory_corrections (user_id, domain_tag, entity_id, content, updated_at)
values (:user_id, :domain_tag, :entity_id, :content, :now)
on conflict (user_id, domain_tag, entity_id) do update
set content = excluded.content, updated_at = excluded.updated_at;

-- name: unqueue_entity(user_id, tables, entity_id)!
-- Its queue rows from before the deletion. A row that must queue its children stays.
delete from embedding_queue
where user_id = :user_id and entity_table = any (:tables::text[]) and entity_id = :entity_id and not expands;

-- name: queue_entity(user_id, entity_table, entity_id, now)!
-- The worker makes what is missing of it, for each model.
select coach.enqueue(:user_id, :entity_table, array[:entity_id]::uuid[], :now);

-- name: drop_snippets(user_id, domain_tag, entity_id)!
delete from user_metadata_embeddings
where user_id = :user_id and domain_tag = :domain_tag and (entity_id = :entity_id or id = :entity_id);

-- name: store_corrected_snippet(user_id, domain_tag, entity_id, chunk, title, text, embedding, model, content_hash, now)!
insert into user_metadata_embeddings (
    user_id, domain_tag, entity_id, chunk, title, text_snippet, embedding, embedding_model, content_hash, updated_at
)
values (:user_id, :domain_tag, :entity_id, :chunk, :title, :text, :embedding, :model, :content_hash, :now);

-- name: lock_message(user_id, id)^
-- Locks a message. Returns its text, role and whether its conversation is incognito. Primary key.
select
    m.message_content as content,
    m.author_name as author,
    exists (
        select
        from conversations c
        where c.user_id = m.user_id and c.id = m.conversation_id and c.incognito
    ) as is_incognito
from coach.lock_user(:user_id)
cross join ai_conversation_memory m
where m.user_id = :user_id
    and m.id = :id
    and not m.deleted
    and m.message_role <> 'system'
    and m.status <> 'streaming'
for update of m;

-- name: lock_conversation_of_message(user_id, id)$
-- Before its messages, as everywhere. Primary keys.
select c.id
from coach.lock_user(:user_id)
cross join ai_conversation_memory m
join conversations c on c.user_id = m.user_id and c.id = m.conversation_id
where m.user_id = :user_id and m.id = :id
for update of c;

-- name: rename_after(user_id, id, title, old_title)!
-- A title that was made from the first message is replaced. A title that a user gave stays.
update conversations c
set title = :title, title_origin = 'question', title_tried_at = null
from ai_conversation_memory m
where m.user_id = :user_id
    and m.id = :id
    and m.message_role = 'user'
    and m.parent_id is null
    and c.user_id = m.user_id
    and c.id = m.conversation_id
    and (c.title_origin <> 'given' or c.title = :old_title);

-- name: make_tombstone(user_id, id, now)!
-- The tombstone keeps its place in the conversation; triggers take its vectors and its queue row.
update ai_conversation_memory
set message_content = '', author_name = null, deleted = true, context_window = '{}', feedback = null, updated_at = :now
where user_id = :user_id and id = :id;

-- name: correct_message(user_id, id, content, now)!
update ai_conversation_memory
set message_content = :content,
    context_window = context_window || '{"corrected": true}'::jsonb,
    updated_at = :now
where user_id = :user_id and id = :id;

-- name: store_message_vector(user_id, id, content, embedding, model)!
update ai_conversation_memory
set message_embedding = :embedding, embedding_model = :model
where user_id = :user_id and id = :id and message_content = :content and not deleted;

-- name: make_messages_due(user_id, ids, now)!
-- Messages that no turn embeds any more, so that the worker need not leave them half a minute.
update embedding_queue
set not_before = :now
where user_id = :user_id
    and entity_table = 'ai_conversation_memory'
    and entity_id = any (:ids::uuid[])
    and not_before > :now
    and attempts = 0;

-- name: read_remembered_message(user_id, id)^
-- As list_remembered_messages has it. Primary keys.
select
    'conversation' as source, m.id, coalesce(c.title, '') as title,
    coalesce(m.author_name || ': ', '') || m.message_content as content, m.conversation_date as updated_at,
    m.context_window ? 'corrected' as corrected, m.id as row_id, m.message_role as role,
    c.client_id as conversation_id, m.client_id as message_id
from ai_conversation_memory m
left join conversations c on c.user_id = m.user_id and c.id = m.conversation_id
where m.user_id = :user_id and m.id = :id;

-- name: corrections(users, domains, ids)
-- Corrections of the rows that the worker embeds again. Primary key.
select k.user_id, k.domain_tag as domain, k.entity_id as id, k.content
from unnest(:users::uuid[], :domains::text[], :ids::uuid[]) r (user_id, domain_tag, entity_id)
join memory_corrections k
    on k.user_id = r.user_id and k.domain_tag = r.domain_tag and k.entity_id = r.entity_id;
