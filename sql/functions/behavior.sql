-- after: consents, dependents
select coach.drop_functions('refresh_behavior_views');

-- A view of the user's own rows, and of everybody's for a role that bypasses row level security, such as an app's backend.
-- A consent withdrawn since the last refresh counts at once. Columns that an app's view of that name had beside ours are
-- read from it still (coach.replace_public_view): of the same key.
create function coach.show_behavior(p_name name, p_condition text) returns void
language plpgsql
as $$
declare
    app record;
    shown text;
begin
    -- The app's may have been set aside when the migration took its place, and be back.
    perform coach.replace_public_view(p_name);
    select * into app from coach.join_app_view(p_name);
    shown := format(
        'select %s%s from coach.%I v cross join lateral coach.consents_of(v.user_id) c %s where (%s)',
        (
            select string_agg(format('v.%I', attname), ', ' order by attnum)
            from pg_attribute
            where attrelid = format('coach.%I', p_name)::regclass and attnum > 0 and not attisdropped
        ),
        app.chosen,
        p_name,
        app.joined,
        p_condition
    );
    execute format(
        'create view public.%I with (security_barrier) as
        %s and v.user_id = (select auth.uid())
        union all
        %2$s and (select coach.may_act_for(null)) and v.user_id is distinct from (select auth.uid())',
        p_name, shown
    );
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', p_name);
    execute format('grant select on public.%I to authenticated, service_role', p_name);
end
$$;

select coach.show_behavior('weekly_pillar_alignment', 'c.track_pillar_metrics');
select coach.show_behavior('area_habit_metrics', 'c.track_pillar_metrics');
select coach.show_behavior('daily_flow_metrics', 'c.track_flow_states');
select coach.show_behavior(
    'task_completion_patterns',
    'c.store_task_context or v.energy_requirement = '''' and v.cognitive_load = '''''
);

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
        select
            relname,
            relispopulated and exists (
                select from pg_catalog.pg_index i where indrelid = c.oid and indisunique and indpred is null
            ) as is_keyed
        from pg_catalog.pg_class c
        where relnamespace = 'coach'::regnamespace and relkind = 'm'
        order by relname
    loop
        problem := null;
        begin
            execute format(
                'refresh materialized view %s coach.%I',
                case when view.is_keyed then 'concurrently' end, view.relname
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
select coach.keep_results('refresh_behavior_views');
revoke all on function public.refresh_behavior_views from authenticated;
grant execute on function coach.refresh_behavior_views to service_role;
