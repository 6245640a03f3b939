-- What coach bench vector runs against each other, over the same rows; and the past that coach eval searches.

-- name: nearest(user_id, embedding, model, limit)
-- Our search by meaning alone: how search_metadata_embeddings and the turns of people with many rows begin.
select content, similarity
from coach.nearest(:user_id, :embedding, :model, '{task, conversation}', :limit::integer)
order by similarity desc
limit :limit::integer;

-- name: plain_nearest(user_id, embedding)
-- The query that one would write first, over vector(1536) columns with a btree on user_id.
with c as (
    select embedding, text_snippet
    from plain_metadata_embeddings
    where user_id = :user_id
    union all
    select message_embedding, message_content
    from plain_conversation_memory
    where user_id = :user_id
)
select text_snippet, 1 - (embedding <=> :embedding) as similarity
from c
order by similarity desc
limit 10;

-- name: make_plain#
-- The tables of the query that one would write first.
create table plain_metadata_embeddings (user_id uuid, embedding vector(1536), text_snippet text);
create table plain_conversation_memory (user_id uuid, message_embedding vector(1536), message_content text);
create index on plain_metadata_embeddings (user_id);
create index on plain_conversation_memory (user_id);

-- name: add_tasks(user_id, count)!
-- Work for the pipeline, as an app writes it.
insert into tasks (user_id, name, description)
select :user_id, 'Task ' || n, 'Something to be done before the end of the week, and not alone.'
from generate_series(1, :count::integer) n;

-- name: next_task()^
-- The queue as one would write it first.
select q.user_id, q.entity_id, t.name || '. ' || t.description as text
from embedding_queue q
join tasks t on t.user_id = q.user_id and t.id = q.entity_id
where q.entity_table = 'tasks'
limit 1
for update of q skip locked;

-- name: store_task(user_id, task_id, text, embedding, model)!
with done as (
    delete from embedding_queue
    where user_id = :user_id and entity_table = 'tasks' and entity_id = :task_id
)
insert into user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding, embedding_model)
values (:user_id, 'task', :task_id, :text, (:embedding::real[])::vector(1536)::halfvec(1536), :model);

-- name: is_queued()$
select exists (select from embedding_queue);

-- name: edit_some_task(user_id, name, number)$
-- One of a user's tasks, another each time; its id.
update tasks
set name = :name
where user_id = :user_id
    and id = (
        select id
        from tasks
        where user_id = :user_id
        order by id
        offset :number::integer %% (select greatest(count(*), 1) from tasks where user_id = :user_id)
        limit 1
    )
returning id;

-- name: is_embedded(user_id, task_id, word)$
-- Whether a task has a vector of a text with this word. Unique (user_id, domain_tag, entity_id, chunk, embedding_model).
select exists (
    select
    from user_metadata_embeddings
    where user_id = :user_id
        and domain_tag = 'task'
        and entity_id = :task_id
        and position(:word in text_snippet) > 0
);

-- name: add_project(user_id, project_id)!
insert into projects (user_id, id, name)
values (:user_id, :project_id, 'All');

-- name: import_tasks(user_id, project_id, count)!
-- An import, as one statement.
insert into tasks (user_id, project_id, name, description)
select :user_id, :project_id, 'Task ' || n, repeat('words of it ', 10)
from generate_series(1, :count::integer) n;

-- name: queued_tasks(user_id)^
-- Queue rows of a user's tasks, and the edits that they count.
select count(*), coalesce(sum(version), 0)::bigint
from embedding_queue
where user_id = :user_id and entity_table = 'tasks';

-- name: without_trigger#
alter table tasks disable trigger coach_embed_added;

-- name: with_trigger#
alter table tasks enable trigger coach_embed_added;

-- name: waiting()$
-- Due rows of all users.
select count(*)
from embedding_queue
where not_before <= now();

-- name: remember_conversation(user_id, client_id, title, created_at)$
-- For evals: the same conversation keeps its row. Unique (user_id, client_id).
insert into conversations as c (user_id, client_id, title, title_origin, created_at, updated_at)
values (:user_id, :client_id, :title, 'given', :created_at, :created_at)
on conflict (user_id, client_id) do update
set updated_at = greatest(c.updated_at, excluded.updated_at)
returning id;

-- name: remembered_messages(user_id, conversation_id)
-- Which messages of a conversation are there already. Unique (user_id, conversation_id, client_id).
select client_id, id
from ai_conversation_memory
where user_id = :user_id and conversation_id = :conversation_id and client_id is not null;

-- name: remember_message(user_id, id, conversation_id, client_id, parent_id, role, author, content, said_at, embedding, model)*!
-- For evals, in batches.
insert into ai_conversation_memory (
    user_id, id, conversation_id, client_id, parent_id, message_role, author_name, message_content,
    conversation_date, created_at, message_embedding, embedding_model
)
values (
    :user_id, :id, :conversation_id, :client_id, :parent_id, :role, :author, :content,
    :said_at, :said_at, :embedding, :model
);

-- name: continue_conversation(user_id, conversation_id, leaf, said_at)!
-- The newest message of an import is where the conversation goes on.
update conversations
set current_message_id = :leaf, updated_at = greatest(updated_at, :said_at)
where user_id = :user_id and id = :conversation_id;

-- name: consent_to_remember(user_id)$
-- Held until the vectors are stored, so that none is written after a withdrawal.
select record_rag_snippets
from coach.lock_consents(:user_id);

-- name: write_entries(user_id, entries, bytes)!
-- Journal entries of so many bytes, in sentences, as an app writes them.
insert into journal_entries (user_id, title, content)
select
    :user_id,
    'Entry ' || n,
    left(repeat('I walked home along river number ' || n || ' and thought about the week. ', 2000), :bytes::integer)
from generate_series(1, :entries::integer) n;

-- name: count_pieces(user_id)$
select count(*) from user_metadata_embeddings where user_id = :user_id;
