-- name: active_session(user_id, conversation_id)^
-- The session that a conversation is in. Partial unique index; locked, the conversation before it.
select id as session_id, kind, stage
from coach.lock_user(:user_id)
cross join coaching_sessions
where user_id = :user_id and conversation_id = :conversation_id and ended_at is null
for update of coaching_sessions;

-- name: read_step_of_message(user_id, conversation_id, step)^
-- The session in which a message has brought a command along already. Index (user_id, conversation_id).
select id as session_id, kind, stage, ended_at is not null as is_over
from coaching_sessions
where user_id = :user_id and conversation_id = :conversation_id and steps @> :step
order by started_at desc, id desc
limit 1;

-- name: start_session(user_id, id, conversation_id, kind, stage, step, now)!
insert into coaching_sessions (user_id, id, conversation_id, kind, stage, steps, started_at)
values (:user_id, :id, :conversation_id, :kind, :stage, :step, :now);

-- name: advance_session(user_id, id, stage_before, stage, step)$
-- Only from the stage that was judged, so that a second step changes nothing.
update coaching_sessions
set stage = :stage, steps = steps || :step
where user_id = :user_id and id = :id and stage = :stage_before and ended_at is null
returning id;

-- name: end_session(user_id, id, stage_before, step, now)$
update coaching_sessions
set ended_at = :now, steps = steps || :step
where user_id = :user_id and id = :id and stage = :stage_before and ended_at is null
returning id;

-- name: judged(user_id, id, stage, read_at)!
-- A judgement of this stage has come to its end, whatever it was. Primary key.
update coaching_sessions
set judged_at = :read_at
where user_id = :user_id and id = :id and stage = :stage and ended_at is null;

-- name: unjudged_sessions(kinds, before, limit)
-- Of all users: a turn was finished in this stage, and nobody has judged it since. Partial index of running sessions;
-- 20,000 of them take 34 ms.
select s.user_id, s.id as session_id, s.kind, s.stage
from coaching_sessions s
join conversations c on c.user_id = s.user_id and c.id = s.conversation_id
join ai_conversation_memory m on m.user_id = c.user_id and m.id = c.current_message_id
where s.ended_at is null
    and s.kind = any (:kinds)
    and m.message_role = 'assistant'
    and m.status = 'complete'
    and not m.deleted
    and m.updated_at < :before
    and m.updated_at > coalesce(s.judged_at, s.started_at)
    and m.created_at > coalesce((s.steps -> -1 ->> 'at')::timestamptz, s.started_at)
order by s.started_at desc
limit :limit::integer;

-- name: read_session_messages(user_id, id, since, depth)
-- The branch that a conversation shows, newest first, as far back as the given time. Primary key at each step.
with recursive branch as (
    select m.id, m.parent_id, m.message_role, m.message_content, m.deleted, m.status, m.created_at, 1 as step
    from coaching_sessions s
    join conversations c on c.user_id = s.user_id and c.id = s.conversation_id
    join ai_conversation_memory m on m.user_id = c.user_id and m.id = c.current_message_id
    where s.user_id = :user_id and s.id = :id
    union all
    select m.id, m.parent_id, m.message_role, m.message_content, m.deleted, m.status, m.created_at, b.step + 1
    from branch b
    join ai_conversation_memory m on m.user_id = :user_id and m.id = b.parent_id
    where b.step < :depth::integer and b.created_at >= :since
)
select message_role as role, message_content as text
from branch
where created_at >= :since
    and not deleted
    and message_content <> ''
    and message_role in ('user', 'assistant')
    and status in ('complete', 'interrupted')
order by step;

-- name: read_session_state(user_id, id)^
-- Primary key.
select
    s.conversation_id, s.kind, s.stage, s.steps, s.started_at, s.ended_at, s.summary,
    coalesce(p.timezone, 'UTC') as timezone
from coaching_sessions s
left join user_profiles p on p.id = s.user_id
where s.user_id = :user_id and s.id = :id;

-- name: open_projects(user_id, limit)
-- Those that a commitment may belong to.
select id, name
from projects
where user_id = :user_id and not archived and status <> 'Completed'
order by updated_at desc, id
limit :limit::integer;

-- name: lock_conversation_of_session(user_id, id)$
-- Before the session and its messages, as everywhere.
select c.id
from coach.lock_user(:user_id)
cross join coaching_sessions s
join conversations c on c.user_id = s.user_id and c.id = s.conversation_id
where s.user_id = :user_id and s.id = :id
for no key update of c;

-- name: store_summary(user_id, id, summary, message_id)^
-- Takes effect once. The message becomes a child of the last one that the conversation shows.
update coaching_sessions s
set summary = :summary, summary_message_id = :message_id
from conversations c
where s.user_id = :user_id
    and s.id = :id
    and s.ended_at is not null
    and s.summary is null
    and c.user_id = s.user_id
    and c.id = s.conversation_id
returning s.conversation_id, c.current_message_id as parent_id;

-- name: remember_summary(user_id, id, conversation_id, client_id, parent_id, summary, context, now)!
-- As a message: consent, incognito, correcting and forgetting hold for it as for all that was said.
insert into ai_conversation_memory (
    user_id, id, conversation_id, client_id, parent_id, conversation_date, message_role, message_content,
    context_window, status, created_at, updated_at
)
values (
    :user_id, :id, :conversation_id, :client_id, :parent_id, :now, 'assistant', :summary,
    :context, 'complete', :now, :now
);

-- name: propose(user_id, session_id, title, due_date, project_id, position, now)*!
insert into commitments (user_id, session_id, title, due_date, project_id, position, created_at, updated_at)
values (:user_id, :session_id, :title, :due_date, :project_id, :position, :now, :now);

-- name: unfinished_sessions(before, limit)
-- Of all users: ended sessions without a summary. Partial index on ended_at.
select user_id, id
from coaching_sessions
where summary is null and ended_at < :before and conversation_id is not null
order by ended_at
limit :limit::integer;

-- name: sessions(user_id, conversation, is_active, before, before_id, limit)
-- GET /api/sessions, newest first. Index (user_id, started_at).
select id, conversation_id, kind, stage, summary, started_at, ended_at, proposed, steps
from coach.shown_sessions
where user_id = :user_id
    and (:conversation::text is null or conversation_id = :conversation)
    and (:is_active::boolean is null or (ended_at is null) = :is_active)
    and (started_at, id) < (:before, :before_id)
order by started_at desc, id desc
limit :limit::integer;

-- name: one_session(user_id, id)^
-- Primary key.
select id, conversation_id, kind, stage, summary, started_at, ended_at, proposed, steps
from coach.shown_sessions
where user_id = :user_id and id = :id;

-- name: commitments_of(user_id, session_id)
-- In the order in which they were proposed.
select id, session_id, title, due_date, project_id, project, status, task_id, created_at, updated_at
from coach.shown_commitments
where user_id = :user_id and session_id = :session_id
order by created_at, position, id
limit 200;

-- name: one_commitment(user_id, id)^
-- Primary key.
select id, session_id, title, due_date, project_id, project, status, task_id, created_at, updated_at
from coach.shown_commitments
where user_id = :user_id and id = :id;

-- name: commitment_to_change(user_id, id)^
-- Locked: of two who accept it at once, the second finds the task of the first.
select status, title, due_date, project_id
from coach.lock_user(:user_id)
cross join commitments
where user_id = :user_id and id = :id
for update of commitments;

-- name: own_project(user_id, id)$
-- Primary key; held, so that it is not deleted before its task is there.
select id
from coach.lock_user(:user_id)
cross join projects
where user_id = :user_id and id = :id
for key share of projects;

-- name: change_commitment(user_id, id, title, due_date, project_id, status, task_id, now)!
update commitments
set title = :title, due_date = :due_date, project_id = :project_id, status = :status, task_id = :task_id, updated_at = :now
where user_id = :user_id and id = :id;

-- name: make_task(user_id, id, title, due_date, project_id, now)!
insert into tasks (user_id, id, name, due_date, project_id, created_at, updated_at)
values (:user_id, :id, :title, :due_date, :project_id, :now, :now);

-- name: hold(user_id)$
-- Locks the user before their rows.
select coach.lock_user(:user_id);
