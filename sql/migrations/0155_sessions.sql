-- Coaching sessions as they travel: each step they took, the message that remembers them, and what was proposed.

-- A step: {stage, cause, at, message}. The message is the one that brought the command along, so that a turn that runs
-- again takes no second step. judged_at: until when the conversation had been read for the last judgement of its stage.
alter table public.coaching_sessions
    add column if not exists steps jsonb not null default '[]',
    add column if not exists judged_at timestamptz,
    add column if not exists summary_message_id uuid;

-- One at a time in a conversation.
update public.coaching_sessions s
set ended_at = s.started_at
where s.ended_at is null
    and exists (
        select
        from public.coaching_sessions newer
        where newer.user_id = s.user_id
            and newer.conversation_id = s.conversation_id
            and newer.ended_at is null
            and (newer.started_at, newer.id) > (s.started_at, s.id)
    );
create unique index if not exists coaching_sessions_active_idx
    on public.coaching_sessions (user_id, conversation_id)
    where ended_at is null;
-- Those that wait for their summary, for all users.
create index if not exists coaching_sessions_unfinished_idx
    on public.coaching_sessions (ended_at)
    where summary is null;

-- The project is looked up when the commitment is accepted, and need not outlive it until then: no foreign key.
alter table public.commitments
    add column if not exists project_id uuid,
    add column if not exists position integer not null default 0;

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
revoke all on function coach.follow_summary() from public;
create trigger coach_follow_summary
    after update of message_content on public.ai_conversation_memory
    for each row
    when (old.context_window ? 'session' and new.message_content is distinct from old.message_content)
    execute function coach.follow_summary();

-- Local times between which nobody is nudged; equal: at no time.
alter table public.user_analytics_preferences
    add column if not exists quiet_from time not null default '21:00',
    add column if not exists quiet_until time not null default '08:00';
