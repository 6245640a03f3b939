-- Live facts about one person, read on every turn. Each question is one index away.

-- name: person(user_id)^
-- Time zone, the four consents that decide what is read, whether anything waits to be embedded, and the model
-- whose vectors serve. No row of preferences means the defaults.
select
    coalesce(p.timezone, 'UTC'),
    coalesce(c.record_rag_snippets, true),
    coalesce(c.track_pillar_metrics, true),
    coalesce(c.track_flow_states, true),
    coalesce(c.store_task_context, true),
    exists (select from embedding_queue q where q.user_id = u.user_id),
    m.serving_model
from (select :user_id::uuid as user_id) u
left join user_profiles p on p.id = u.user_id
left join user_analytics_preferences c on c.user_id = u.user_id
left join embedding_models m on m.user_id = u.user_id;

-- name: due_tasks(user_id, today, with_context, per_group)
-- Open tasks up to today, the oldest first, and how many there are of each group. Index tasks_open_due_idx.
select name, due_date, due_time, priority, project, energy, load, minutes, is_overdue, total
from (
    select
        t.name, t.due_date, t.due_time, t.priority, p.name as project,
        case when :with_context then t.task_metadata ->> 'energy_requirement' end as energy,
        case when :with_context then t.task_metadata ->> 'cognitive_load' end as load,
        t.estimated_duration as minutes,
        t.due_date < :today::date as is_overdue,
        count(*) over (partition by t.due_date < :today::date) as total,
        row_number() over (
            partition by t.due_date < :today::date
            order by array_position(array['high', 'medium', 'low'], t.priority), t.due_date, t.due_time, t.id
        ) as place
    from tasks t
    left join projects p on p.user_id = t.user_id and p.id = t.project_id
    where t.user_id = :user_id and not t.completed and not t.archived and t.due_date <= :today::date
) due
where place <= :per_group::integer
order by is_overdue desc, place;

-- name: deadlines(user_id, since, until, limit)
-- Projects that end soon and are not done. Index projects_pkey, on the user.
select name, deadline, status, completion_percentage
from projects
where user_id = :user_id
    and not archived
    and status <> 'Completed'
    and deadline >= :since and deadline < :until
order by deadline, id
limit :limit::integer;

-- name: alignment(user_id, since, until, since_day)
-- The week of each pillar against its allocation. The text comparison is the cheap half of the filter: points of a year
-- are in one array, and reading each time stamp costs 5 us.
select p.name, p.time_allocation_percentage, avg(week.alignment), coalesce(sum(week.focus), 0)
from pillars p
left join lateral (
    select
        coach.measure(point -> 'alignment_score') as alignment,
        coach.measure(point -> 'focus_time_minutes') as focus
    from jsonb_array_elements(
        case jsonb_typeof(p.behavior_metrics) when 'array' then p.behavior_metrics else '[]' end
    ) point
    where point ->> 'timestamp' >= :since_day
        and coach.moment(point ->> 'timestamp') >= :since
        and coach.moment(point ->> 'timestamp') < :until
) week on true
where p.user_id = :user_id and not p.archived
group by p.id, p.name, p.time_allocation_percentage, p.sort_order
order by p.sort_order, p.name;

-- name: flow(user_id, since, until)^
-- Flow of the week. Index user_behavior_events_flow_idx.
select
    count(*) filter (where action_type in ('flow_entry', 'flow_session')),
    (coalesce(sum(duration_ms) filter (where action_type in ('flow_entry', 'flow_exit', 'flow_session')), 0) / 60000)::bigint,
    count(*) filter (where action_type = 'procrastination_trigger'),
    count(*) filter (where action_type = 'context_switch')
from user_behavior_events
where user_id = :user_id and flow_state_event and timestamp >= :since and timestamp < :until;

-- name: waiting(user_id, exclude)$
-- How many changed rows and messages are not embedded yet. Indexes embedding_queue_pkey, ai_conversation_memory_waiting_idx.
select
    (select count(*) from embedding_queue where user_id = :user_id and entity_table <> 'ai_conversation_memory')
    + (
        select count(*)
        from ai_conversation_memory m
        left join conversations c on c.user_id = m.user_id and c.id = m.conversation_id
        where m.user_id = :user_id
            and m.message_embedding is null
            and not m.deleted
            and m.status in ('complete', 'interrupted')
            and m.message_role <> 'system'
            and m.message_content <> ''
            and not coalesce(c.incognito, false)
            and m.id <> all (:exclude::uuid[])
    );

-- name: changed_lately(user_id, limit)
-- What changed but waits to be embedded, as it stands now; deleted rows have no name any more.
select kind, name, detail
from (
    select
        q.created_at,
        case q.entity_table
            when 'tasks' then 'task' when 'projects' then 'project' when 'areas' then 'area'
            when 'pillars' then 'pillar' when 'journal_entries' then 'journal entry'
        end as kind,
        coalesce(t.name, p.name, a.name, l.name, nullif(j.title, ''), left(j.content, 80)) as name,
        coalesce(
            case
                when t.id is not null
                then concat_ws(', ', t.status, 'due ' || t.due_date, t.priority || ' priority', left(t.description, 200))
            end,
            case
                when p.id is not null
                then concat_ws(', ', p.status, p.completion_percentage::real || '%% complete', left(p.description, 200))
            end,
            left(coalesce(a.description, l.description, j.content), 200),
            ''
        ) as detail
    from embedding_queue q
    left join tasks t on q.entity_table = 'tasks' and t.user_id = q.user_id and t.id = q.entity_id
    left join projects p on q.entity_table = 'projects' and p.user_id = q.user_id and p.id = q.entity_id
    left join areas a on q.entity_table = 'areas' and a.user_id = q.user_id and a.id = q.entity_id
    left join pillars l on q.entity_table = 'pillars' and l.user_id = q.user_id and l.id = q.entity_id
    left join journal_entries j
        on q.entity_table = 'journal_entries' and j.user_id = q.user_id and j.id = q.entity_id and not j.deleted
    where q.user_id = :user_id
    order by q.created_at desc
    limit :limit::integer
) changed
where name is not null and kind is not null
order by created_at desc;
