-- The summary is a memory, and whoever corrects or forgets that has corrected or forgotten this.
create function coach.follow_summary() returns trigger
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
create trigger coach_follow_summary
    after update of message_content on public.ai_conversation_memory
    for each row
    when (old.context_window ? 'session' and new.message_content is distinct from old.message_content)
    execute function coach.follow_summary();
