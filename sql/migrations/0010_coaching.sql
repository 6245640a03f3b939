-- after: adoption
create table coach.coaching_sessions (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    conversation_id uuid,
    kind text not null check (kind in ('grow', 'daily_checkin', 'weekly_review', 'free')),
    stage text,
    summary text,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    -- A step: {stage, cause, at, message}. The message is the one that brought the command along, so that a turn that
    -- runs again takes no second step.
    steps jsonb not null default '[]',
    -- Until when the conversation had been read for the last judgement of its stage.
    judged_at timestamptz,
    summary_message_id uuid,
    primary key (user_id, id)
);
select coach.settle('coaching_sessions');
select coach.link('public.coaching_sessions', 'conversation_id', 'public.conversations');
create index if not exists coaching_sessions_started_at_idx on public.coaching_sessions (user_id, started_at);

create table coach.commitments (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    session_id uuid,
    title text not null,
    due_date date,
    details jsonb not null default '{}',
    status text not null default 'proposed' check (status in ('proposed', 'accepted', 'rejected', 'done')),
    -- The task that accepting made. Without a foreign key: the commitment outlives its task.
    task_id uuid,
    -- The project is looked up when the commitment is accepted, and need not outlive it until then: no foreign key.
    project_id uuid,
    position integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('commitments');
select coach.link('public.commitments', 'session_id', 'public.coaching_sessions');

create table coach.nudges (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    kind text not null,
    subject text not null default '',
    body text not null,
    details jsonb not null default '{}',
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    delivered_at timestamptz,
    dismissed_at timestamptz,
    primary key (user_id, id),
    unique (user_id, kind, subject)
);
comment on column coach.nudges.subject is 'what it is about (entity and day): the same nudge is made once';
select coach.settle('nudges');
create index if not exists nudges_created_at_idx on public.nudges (user_id, created_at);

create table coach.recommendations (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    kind text not null,
    entity_table text,
    entity_id uuid,
    title text not null default '',
    reasoning jsonb not null default '{}',
    score double precision,
    status text not null default 'open'
        check (status in ('open', 'accepted', 'dismissed', 'corrected', 'expired')),
    feedback jsonb,
    outcome jsonb,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('recommendations');
create index if not exists recommendations_status_idx on public.recommendations (user_id, status, created_at);
grant select
    on public.coaching_sessions, public.commitments, public.nudges, public.recommendations
    to authenticated;
grant select, insert, update, delete
    on public.coaching_sessions, public.commitments, public.nudges, public.recommendations
    to coach_session;

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

