-- Messages that are remembered: what somebody said to the end, as text, and did not take back.
create function coach.is_said(m public.ai_conversation_memory) returns boolean
language sql immutable
as $$
    select not m.deleted
        and m.message_role <> 'system'
        and m.status in ('complete', 'interrupted')
        and m.message_content <> ''
$$;

-- They and their conversations, less those of incognito ones. With the caller's rights.
create view coach.said_messages with (security_invoker = true) as
select
    m.user_id, m.id, m.client_id, m.message_role, m.author_name, m.message_content, m.model_used, m.conversation_date,
    m.created_at, m.message_embedding, m.embedding_model, m.context_window ? 'corrected' as is_corrected,
    c.client_id as conversation_key, c.title
from public.ai_conversation_memory m
left join public.conversations c on c.user_id = m.user_id and c.id = m.conversation_id
where coach.is_said(m) and not coalesce(c.incognito, false);

revoke all on coach.said_messages from public, anon, authenticated;
grant select on coach.said_messages to coach_session, service_role;
grant execute on function coach.is_said to authenticated, service_role;
