-- The summary is a memory: to correct or delete that memory changes the summary.
create function coach.copy_changed_summary() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    update public.coaching_sessions
    set summary = new.message_content
    where user_id = new.user_id and summary_message_id = new.id;
    return null;
end
$$;
create trigger coach_copy_changed_summary
    after update of message_content on public.ai_conversation_memory
    for each row
    when (old.context_window ? 'session' and new.message_content is distinct from old.message_content)
    execute function coach.copy_changed_summary();
