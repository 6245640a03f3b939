-- after: adoption, consents
-- What a person does, and what a year of it comes to.

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

-- An app that was here first goes on writing the kinds it writes.
do $$
declare
    adopted text[];
begin
    with kinds as (
        insert into coach.event_kinds (kind)
        select distinct action_type
        from public.user_behavior_events
        where action_type is not null
        on conflict do nothing
        returning kind
    )
    select array_agg(kind order by kind) into adopted from kinds;
    if adopted is not null then
        perform coach.report(format('public.user_behavior_events: kinds kept: %s', array_to_string(adopted, ', ')));
    end if;
end
$$;

-- Materialized views know no row level security: they lie in coach, where nobody but the owner selects from them, and
-- users read them through the barrier views of functions/behavior.sql. They hold data and take minutes to fill, so a
-- migration changes them, as it does a table.

select coach.replace_public_view('weekly_pillar_alignment');

select coach.replace_public_view('area_habit_metrics');

select coach.replace_public_view('daily_flow_metrics');

select coach.replace_public_view('task_completion_patterns');

create materialized view coach.weekly_pillar_alignment as
select
    p.user_id,
    p.id as pillar_id,
    date_trunc('week', coach.local_time(at.moment, profile.timezone))::date as week_start,
    avg(coach.measure(point -> 'alignment_score')) as avg_alignment,
    avg(coach.measure(point -> 'sentiment')) as avg_sentiment,
    sum(coach.measure(point -> 'focus_time_minutes')) as focus_minutes,
    count(*) as data_points
from public.pillars p
left join public.user_profiles profile on profile.id = p.user_id
cross join lateral jsonb_array_elements(
    case jsonb_typeof(p.behavior_metrics) when 'array' then p.behavior_metrics else '[]' end
) point
cross join lateral (select coach.moment(point ->> 'timestamp') as moment) at
where at.moment is not null
    and not exists (
        select
        from public.user_analytics_preferences c
        where c.user_id = p.user_id and not c.track_pillar_metrics
    )
group by p.user_id, p.id, week_start;
create unique index weekly_pillar_alignment_key
    on coach.weekly_pillar_alignment (user_id, pillar_id, week_start);

create materialized view coach.area_habit_metrics as
select
    a.user_id,
    a.id as area_id,
    date_trunc('week', coach.local_time(at.moment, profile.timezone))::date as week_start,
    avg(coach.measure(point -> 'habit_strength')) as avg_habit_strength,
    avg(coach.measure(point -> 'energy_level')) as avg_energy_level,
    avg(coach.measure(point -> 'alignment_score')) as avg_alignment,
    sum(coach.measure(point -> 'focus_time_minutes')) as focus_minutes,
    count(*) as data_points
from public.areas a
left join public.user_profiles profile on profile.id = a.user_id
cross join lateral jsonb_array_elements(
    case jsonb_typeof(a.behavior_metrics) when 'array' then a.behavior_metrics else '[]' end
) point
cross join lateral (select coach.moment(point ->> 'timestamp') as moment) at
where at.moment is not null
    and not exists (
        select
        from public.user_analytics_preferences c
        where c.user_id = a.user_id and not c.track_pillar_metrics
    )
group by a.user_id, a.id, week_start;
create unique index area_habit_metrics_key on coach.area_habit_metrics (user_id, area_id, week_start);

create materialized view coach.daily_flow_metrics as
select
    e.user_id,
    coach.local_time(e.timestamp, profile.timezone)::date as flow_date,
    count(*) filter (where action_type in ('flow_entry', 'flow_session')) as flow_sessions,
    coalesce(sum(duration_ms) filter (where action_type in ('flow_entry', 'flow_exit', 'flow_session')), 0) / 60000
        as total_flow_minutes,
    count(*) filter (where action_type = 'procrastination_trigger') as distractions,
    count(*) filter (where action_type = 'context_switch') as context_switches
from public.user_behavior_events e
left join public.user_profiles profile on profile.id = e.user_id
where e.flow_state_event
    and not exists (
        select
        from public.user_analytics_preferences c
        where c.user_id = e.user_id and not c.track_flow_states
    )
group by e.user_id, flow_date;
create unique index daily_flow_metrics_key on coach.daily_flow_metrics (user_id, flow_date);

create materialized view coach.task_completion_patterns as
select
    t.user_id,
    extract(isodow from done.local)::integer as day_of_week,
    extract(hour from done.local)::integer as hour_of_day,
    -- Cut, or one user's long text would not fit the key and stop the refresh for all.
    left(coalesce(t.task_metadata ->> 'energy_requirement', ''), 32) as energy_requirement,
    left(coalesce(t.task_metadata ->> 'cognitive_load', ''), 32) as cognitive_load,
    count(*) as completed_tasks,
    count(*) filter (where t.due_date is not null) as with_due_date,
    count(*) filter (where t.due_date >= done.local::date) as on_time,
    avg(t.estimated_duration) as avg_estimated_minutes
from (
    select
        task.user_id,
        completed_at,
        due_date,
        estimated_duration,
        case when c.store_task_context is distinct from false then task_metadata end as task_metadata
    from public.tasks task
    left join public.user_analytics_preferences c on c.user_id = task.user_id
    where completed and completed_at is not null
) t
left join public.user_profiles profile on profile.id = t.user_id
cross join lateral (select coach.local_time(t.completed_at, profile.timezone) as local) done
group by t.user_id, day_of_week, hour_of_day, energy_requirement, cognitive_load;
create unique index task_completion_patterns_key
    on coach.task_completion_patterns (user_id, day_of_week, hour_of_day, energy_requirement, cognitive_load);
