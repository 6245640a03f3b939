-- What a year of behaviour comes to. Materialized views know no row level security: they lie in coach, where nobody but
-- the owner selects from them, and users read them through the barrier views at the end.
select coach.replace_public_view('weekly_pillar_alignment');
select coach.replace_public_view('area_habit_metrics');
select coach.replace_public_view('daily_flow_metrics');
select coach.replace_public_view('task_completion_patterns');
select coach.drop_functions('refresh_behavior_views');

-- The user's own clock. A zone this server does not know (its data changed), or a time at the end of all time that has
-- no hour there, counts as UTC instead of failing for all.
create function coach.local_time(p_moment timestamptz, p_timezone text) returns timestamp
language plpgsql stable
set search_path = ''
as $$
begin
    return p_moment at time zone coalesce(p_timezone, 'UTC');
exception
    when data_exception then
        return p_moment at time zone 'UTC';
end
$$;

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

-- A consent withdrawn since the last refresh counts at once.
create view public.weekly_pillar_alignment with (security_barrier) as
select user_id, pillar_id, week_start, avg_alignment, avg_sentiment, focus_minutes, data_points
from coach.weekly_pillar_alignment
where user_id = (select auth.uid())
    and (select public.user_has_consented(auth.uid(), 'track_pillar_metrics'));

create view public.area_habit_metrics with (security_barrier) as
select user_id, area_id, week_start, avg_habit_strength, avg_energy_level, avg_alignment, focus_minutes, data_points
from coach.area_habit_metrics
where user_id = (select auth.uid())
    and (select public.user_has_consented(auth.uid(), 'track_pillar_metrics'));

create view public.daily_flow_metrics with (security_barrier) as
select user_id, flow_date, flow_sessions, total_flow_minutes, distractions, context_switches
from coach.daily_flow_metrics
where user_id = (select auth.uid())
    and (select public.user_has_consented(auth.uid(), 'track_flow_states'));

create view public.task_completion_patterns with (security_barrier) as
select
    user_id, day_of_week, hour_of_day, energy_requirement, cognitive_load,
    completed_tasks, with_due_date, on_time, avg_estimated_minutes
from coach.task_completion_patterns
where user_id = (select auth.uid())
    and (
        energy_requirement = '' and cognitive_load = ''
        or (select public.user_has_consented(auth.uid(), 'store_task_context'))
    );

revoke all
    on public.weekly_pillar_alignment, public.area_habit_metrics, public.daily_flow_metrics,
        public.task_completion_patterns
    from public, anon, authenticated, service_role;
grant select
    on public.weekly_pillar_alignment, public.area_habit_metrics, public.daily_flow_metrics,
        public.task_completion_patterns
    to authenticated, service_role;

-- A definer: on PostgreSQL 15 only an owner may refresh. One view that fails does not keep the others old.
create function coach.refresh_behavior_views() returns void
language plpgsql security definer
set search_path = ''
as $$
declare
    view record;
    problem text;
begin
    for view in
        select relname, relispopulated
        from pg_catalog.pg_class
        where relnamespace = 'coach'::regnamespace and relkind = 'm'
        order by relname
    loop
        problem := null;
        begin
            execute format(
                'refresh materialized view %s coach.%I',
                case when view.relispopulated then 'concurrently' end, view.relname
            );
        exception
            when others then
                problem := sqlerrm;
        end;
        insert into coach.system_log (webhook_type, table_name, status, error_message, processed_at)
        values (
            'view_refresh', view.relname, case when problem is null then 'completed' else 'error' end, problem,
            clock_timestamp()
        );
    end loop;
end
$$;

create function public.refresh_behavior_views() returns void
language sql
set search_path = ''
as $$ select coach.refresh_behavior_views() $$;

revoke all on all functions in schema coach from public;
revoke all on function public.refresh_behavior_views() from public, anon, authenticated;
grant execute
    on function coach.refresh_behavior_views(), public.refresh_behavior_views(), coach.local_time(timestamptz, text)
    to service_role;

select coach.restore_dependents();
