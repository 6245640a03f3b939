-- What coach bench vector runs against each other, over the same rows.

-- name: nearest(user_id, embedding, model, limit)
-- Our search by meaning alone, as search_combined_context begins.
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
