create table coach.user_behavior_events (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    session_id text,
    action_type text not null,
    feature_name text,
    ai_feature_type text,
    event_data jsonb not null default '{}' check (octet_length(event_data::text) <= 16384),
    duration_ms bigint check (duration_ms >= 0),
    success boolean not null default true,
    flow_state_event boolean not null default false,
    timestamp timestamptz not null default now(),
    client_timestamp timestamptz,
    is_anonymized boolean not null default false,
    created_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('user_behavior_events');
create index if not exists user_behavior_events_timestamp_idx
    on public.user_behavior_events (user_id, timestamp);
create index if not exists user_behavior_events_flow_idx
    on public.user_behavior_events (user_id, action_type, timestamp)
    where flow_state_event;

grant select, insert on public.user_behavior_events to authenticated;
grant select, insert, update, delete on public.user_behavior_events to coach_session;
