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

-- Sessions and commitments as the API shows them. With the caller's rights.
create view coach.shown_sessions with (security_invoker = true) as
select
    s.user_id, s.id, c.client_id as conversation_id, s.kind, s.stage, s.summary, s.started_at, s.ended_at,
    (
        select count(*)
        from public.commitments k
        where k.user_id = s.user_id and k.session_id = s.id and k.status = 'proposed'
    ) as proposed,
    s.steps
from public.coaching_sessions s
left join public.conversations c on c.user_id = s.user_id and c.id = s.conversation_id;

-- Done with the task that came of it.
create view coach.shown_commitments with (security_invoker = true) as
select
    k.user_id, k.id, k.session_id, k.title, k.due_date, k.project_id, p.name as project,
    case when k.status = 'accepted' and t.completed then 'done' else k.status end as status,
    k.task_id, k.created_at, k.updated_at, k.position
from public.commitments k
left join public.projects p on p.user_id = k.user_id and p.id = k.project_id
left join public.tasks t on t.user_id = k.user_id and t.id = k.task_id;

revoke all on coach.shown_sessions, coach.shown_commitments from public, anon, authenticated;
grant select on coach.shown_sessions, coach.shown_commitments to coach_session, service_role;
