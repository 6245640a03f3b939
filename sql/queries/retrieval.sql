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
