-- name: combined_context(user_id, question, embedding, model, domains, limit, exclude, echo)
-- Every search: of a turn, and of GET /api/search. Reads the covering indexes *_code_idx and the GIN indexes.
select
    domain, id, title, content as text, score, similarity, words, has_all_words, updated_at,
    conversation as conversation_id, message as message_id
from search_combined_context(
    :user_id, :question, :embedding, :model, :domains::text[], :limit::integer, :exclude::uuid[], :echo::text
);

-- name: has_consented(user_id)$
-- Before a search's question may reach the embedder. Primary key.
select record_rag_snippets
from coach.consents_of(:user_id);

-- name: remember_conversation(user_id, client_id, title, created_at)$
-- Import: the same conversation keeps its row. Unique (user_id, client_id).
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
-- Import, in batches.
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
