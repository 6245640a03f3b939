-- after: consents, kinds, said
-- What a turn reads besides its sources, as one function for the same reasons as in functions/turns.sql.

-- Who asks, and the live facts about them, as JSON: parallel arrays of rows, in the order in which they are shown. What
-- is read obeys the consents; no row of preferences means the defaults. Limits come from coach/retrieval/state.py.
-- Each question is one index away: tasks_open_due_idx, projects_pkey, pillars_pkey, user_behavior_events_flow_idx,
-- embedding_queue_pkey, ai_conversation_memory_waiting_idx.
create function coach.live_facts(
    p_user_id uuid,
    p_now timestamptz,
    p_horizon timestamptz,
    p_tasks integer,
    p_deadlines integer,
    p_changed integer
)
returns jsonb
language plpgsql stable
set plan_cache_mode = force_generic_plan
as $$
declare
    person record;
    today date;
    midnight timestamptz;
    monday timestamptz;
    since_day text;
    found_tasks jsonb;
    found_deadlines jsonb;
    found_alignment jsonb;
    found_flow jsonb;
    found_changed jsonb;
    stale bigint := 0;
    messages bigint;
    waiting jsonb;
begin
    select
        coalesce(p.timezone, 'UTC') as timezone,
        c.record_rag_snippets,
        c.track_pillar_metrics,
        c.track_flow_states,
        c.store_task_context,
        m.serving_model
    into person
    from coach.consents_of(p_user_id) c
    left join public.user_profiles p on p.id = p_user_id
    left join public.embedding_models m on m.user_id = p_user_id;
    today := (p_now at time zone person.timezone)::date;
    midnight := today::timestamp at time zone person.timezone;
    monday := date_trunc('week', today::timestamp) at time zone person.timezone;
    since_day := to_char(monday at time zone 'UTC' - interval '1 day', 'YYYY-MM-DD');

    -- Open tasks up to today, the most pressing first, and how many there are of each group.
    select jsonb_agg(
        jsonb_build_array(name, due_date, due_time, priority, project, energy, load, minutes, is_overdue, total)
        order by is_overdue desc, place
    )
    into found_tasks
    from (
        select
            t.name, t.due_date, t.due_time, t.priority, p.name as project,
            case when person.store_task_context then t.task_metadata ->> 'energy_requirement' end as energy,
            case when person.store_task_context then t.task_metadata ->> 'cognitive_load' end as load,
            t.estimated_duration as minutes,
            t.due_date < today as is_overdue,
            count(*) over (partition by t.due_date < today) as total,
            row_number() over (
                partition by t.due_date < today
                order by array_position(array['high', 'medium', 'low'], t.priority), t.due_date, t.due_time, t.id
            ) as place
        from public.tasks t
        left join public.projects p on p.user_id = t.user_id and p.id = t.project_id
        where t.user_id = p_user_id and not t.completed and not t.archived and t.due_date <= today
    ) due
    where place <= p_tasks;

    -- Projects that end soon and are not done.
    select jsonb_agg(jsonb_build_array(name, deadline, status, completion_percentage) order by deadline, id)
    into found_deadlines
    from (
        select id, name, deadline, status, completion_percentage
        from public.projects
        where user_id = p_user_id
            and not archived
            and status <> 'Completed'
            and deadline >= midnight and deadline < p_horizon
        order by deadline, id
        limit p_deadlines
    ) soon;

    -- The week of each pillar against its allocation. The text comparison is the cheap half of the filter: points of a
    -- year are in one array, and reading each time stamp costs 5 us.
    if person.track_pillar_metrics then
        select jsonb_agg(
            jsonb_build_array(name, time_allocation_percentage, alignment, focus) order by sort_order, name
        )
        into found_alignment
        from (
            select
                p.name, p.time_allocation_percentage, p.sort_order,
                avg(week.alignment) as alignment, coalesce(sum(week.focus), 0) as focus
            from public.pillars p
            left join lateral (
                select
                    coach.measure(point -> 'alignment_score') as alignment,
                    coach.measure(point -> 'focus_time_minutes') as focus
                from jsonb_array_elements(
                    case jsonb_typeof(p.behavior_metrics) when 'array' then p.behavior_metrics else '[]' end
                ) point
                where point ->> 'timestamp' >= since_day
                    and coach.moment(point ->> 'timestamp') >= monday
                    and coach.moment(point ->> 'timestamp') < p_now
            ) week on true
            where p.user_id = p_user_id and not p.archived
            group by p.id, p.name, p.time_allocation_percentage, p.sort_order
        ) pillar;
    end if;

    if person.track_flow_states then
        select jsonb_build_array(
            count(*) filter (where action_type in ('flow_entry', 'flow_session')),
            (
                coalesce(sum(duration_ms) filter (where action_type in ('flow_entry', 'flow_exit', 'flow_session')), 0)
                / 60000
            )::bigint,
            count(*) filter (where action_type = 'procrastination_trigger'),
            count(*) filter (where action_type = 'context_switch')
        )
        into found_flow
        from public.user_behavior_events
        where user_id = p_user_id and flow_state_event and timestamp >= monday and timestamp < p_now;
    end if;

    -- What waits to be embedded: life data as they stand now, and messages.
    if person.record_rag_snippets then
        select count(*)
        into stale
        from public.embedding_queue
        where user_id = p_user_id and entity_table <> 'ai_conversation_memory';
        if stale > 0 then
            found_changed := coach.waiting_rows(p_user_id, p_changed);
        end if;
        -- The newest by name: a turn does not count those that it shows.
        select count(*), jsonb_agg(id) filter (where place <= 100)
        into messages, waiting
        from (
            select id, row_number() over (order by created_at desc) as place
            from coach.said_messages
            where user_id = p_user_id and message_embedding is null
        ) message;
    end if;
    return jsonb_build_object(
        'person', to_jsonb(person),
        'tasks', coalesce(found_tasks, '[]'),
        'deadlines', coalesce(found_deadlines, '[]'),
        'alignment', coalesce(found_alignment, '[]'),
        'flow', found_flow,
        'changed', coalesce(found_changed, '[]'),
        'stale', stale + coalesce(messages, 0),
        'waiting', coalesce(waiting, '[]')
    );
end
$$;

-- What changed but waits to be embedded, as it stands now, newest first: its name in the queue, its id, when it changed and
-- its columns, of which coach/kinds makes a line. Nothing of what was deleted or hidden.
create function coach.waiting_rows(p_user_id uuid, p_limit integer) returns jsonb
language sql stable
as $$
    select jsonb_agg(jsonb_build_array(q.entity_table, e.id, e.updated_at, e.columns) order by q.created_at desc)
    from (
        select q.entity_table, q.entity_id, q.created_at
        from public.embedding_queue q
        join coach.entity_kinds k on k.queue_name = q.entity_table
        where q.user_id = p_user_id and k.filled_by is null
        order by q.created_at desc
        limit p_limit
    ) q
    cross join lateral coach.read_entities(q.entity_table, array[p_user_id], array[q.entity_id]) e
$$;
grant execute on function coach.live_facts, coach.waiting_rows to coach_session;
