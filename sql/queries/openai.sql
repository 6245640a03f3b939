-- name: timezone_of(user_id)$
-- The user's time zone, for the name of the conversation of the day. Primary key.
select timezone
from user_profiles
where id = :user_id;

-- name: find_answer_by_text(user_id, client_id, content)$
-- Where in a conversation the caller's history ends: the newest answer with this text. Index on (user_id,
-- conversation_id, created_at), then the rows of one conversation.
select a.client_id
from conversations v
join ai_conversation_memory a on a.user_id = v.user_id and a.conversation_id = v.id
where v.user_id = :user_id
    and v.client_id = :client_id
    and a.message_role = 'assistant'
    and a.message_content = :content
    and not a.deleted
order by a.created_at desc, a.id desc
limit 1;

-- name: answers(user_id, ids)
-- The answers to which a call refers. Index on (user_id, client_id).
select client_id, message_content as content
from ai_conversation_memory
where user_id = :user_id
    and client_id = any(:ids)
    and message_role = 'assistant'
    and not deleted;

-- name: response(user_id, client_id)^
-- An answer that was given as a response and is to be found again. Partial index on (user_id, client_id).
select a.id as answer_id, v.client_id as conversation_id, a.context_window -> 'response' as facts
from ai_conversation_memory a
join conversations v on v.user_id = a.user_id and v.id = a.conversation_id
where a.user_id = :user_id
    and a.client_id = :client_id
    and (a.context_window -> 'response') is not null
    and not a.deleted;
