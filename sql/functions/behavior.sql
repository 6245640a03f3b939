-- after: consents, dependents
select coach.drop_functions('refresh_behavior_views');

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
revoke all on function public.refresh_behavior_views from public, anon, authenticated;
grant execute on function coach.refresh_behavior_views, public.refresh_behavior_views to service_role;
