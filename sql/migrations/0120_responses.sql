-- Answers that were given as responses of /v1/responses are found by their id alone, without their conversation.
create index if not exists ai_conversation_memory_response_idx
    on public.ai_conversation_memory (user_id, client_id)
    where (context_window -> 'response') is not null;
