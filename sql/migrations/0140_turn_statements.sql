-- What a turn writes and reads, each part as one function: one round trip in place of up to eight, and plans that the
-- session keeps, which prepared statements could not be behind a transaction pooler. docs/decisions/0012-turn-latency.md
-- has the figures. They run as whoever calls, so row level security holds, and lock in one order: quota month,
-- conversation, messages, interaction.

-- The rows of a turn that begins. The unit is reserved and the conversation locked already. Without p_text the question
-- is stored; without p_key the caller named none.
create function coach.begin_turn(
    p_user_id uuid,
    p_conversation_id uuid,
    p_question_id uuid,
    p_question_key text,
    p_parent_id uuid,
    p_revision_of uuid,
    p_text text,
    p_answer_id uuid,
    p_answer_key text,
    p_context jsonb,
    p_model text,
    p_owner text,
    p_interaction_id uuid,
    p_feature text,
    p_details jsonb,
    p_month date,
    p_key text,
    p_request_hash text,
    p_now timestamptz
)
returns void
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    if p_text is not null then
        insert into public.ai_conversation_memory (
            user_id, id, conversation_id, client_id, parent_id, revision_of, conversation_date, message_role,
            message_content, status, created_at, updated_at
        )
        values (
            p_user_id, p_question_id, p_conversation_id, p_question_key, p_parent_id, p_revision_of, p_now, 'user',
            p_text, 'complete', p_now, p_now
        );
    end if;
    -- Empty until the turn ends; its text so far stands in turn_checkpoints.
    insert into public.ai_conversation_memory (
        user_id, id, conversation_id, client_id, parent_id, conversation_date, message_role, message_content,
        model_used, context_window, status, created_at, updated_at
    )
    values (
        p_user_id, p_answer_id, p_conversation_id, p_answer_key, p_question_id, p_now, 'assistant', '',
        p_model, p_context, 'streaming', p_now + interval '1 microsecond', p_now
    );
    -- The leaf that the conversation shows.
    update public.conversations
    set current_message_id = p_answer_id
    where user_id = p_user_id and id = p_conversation_id;
    insert into public.turn_checkpoints (user_id, message_id, owner, heartbeat)
    values (p_user_id, p_answer_id, p_owner, p_now);
    insert into public.ai_interactions (
        user_id, id, feature_type, feature_details, conversation_id, user_message_id, message_id, quota_month,
        idempotency_key, model, status, success, created_at
    )
    values (
        p_user_id, p_interaction_id, p_feature, p_details, p_conversation_id, p_question_id, p_answer_id, p_month,
        p_key, p_model, 'reserved', false, p_now
    );
    if p_key is not null then
        insert into public.idempotency_keys (user_id, key, request_hash, conversation_id, message_id, created_at)
        values (p_user_id, p_key, p_request_hash, p_conversation_id, p_answer_id, p_now)
        on conflict (user_id, key) do update
        set request_hash = excluded.request_hash,
            conversation_id = excluded.conversation_id,
            message_id = excluded.message_id,
            created_at = excluded.created_at;
    end if;
end
$$;

-- The answer's final state, the settled unit and the logged interaction. False, and nothing settled, where the turn was
-- closed before: its heartbeat had stopped for too long. p_thresholds are percents of the limit, p_warnings what the
-- audit trail calls them; each is logged once a month, by the turn that passes it.
create function coach.end_turn(
    p_user_id uuid,
    p_month date,
    p_limit integer,
    p_conversation_id uuid,
    p_answer_id uuid,
    p_interaction_id uuid,
    p_status text,
    p_text text,
    p_finish_reason text,
    p_model text,
    p_context jsonb,
    p_units integer,
    p_interaction_status text,
    p_error text,
    p_details jsonb,
    p_input_tokens integer,
    p_output_tokens integer,
    p_first_token_ms integer,
    p_processing_ms integer,
    p_thresholds integer[],
    p_warnings text[],
    p_now timestamptz
)
returns boolean
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    taken integer;
    warned_before integer;
    has_month boolean;
begin
    select used, warned
    into taken, warned_before
    from public.ai_quota_months
    where user_id = p_user_id and month = p_month
    for update;
    has_month := found;
    update public.conversations
    set updated_at = p_now
    where user_id = p_user_id and id = p_conversation_id;
    update public.ai_conversation_memory
    set message_content = p_text,
        status = p_status,
        finish_reason = p_finish_reason,
        tokens_used = coalesce(p_output_tokens, 0),
        model_used = p_model,
        context_window = context_window || p_context,
        updated_at = p_now
    where user_id = p_user_id and id = p_answer_id and status = 'streaming';
    delete from public.turn_checkpoints
    where user_id = p_user_id and message_id = p_answer_id;
    update public.ai_interactions
    set status = p_interaction_status,
        success = p_status = 'complete',
        error_message = p_error,
        feature_details = feature_details || p_details,
        model = p_model,
        tokens_used = coalesce(p_input_tokens, 0) + coalesce(p_output_tokens, 0),
        input_tokens = p_input_tokens,
        output_tokens = p_output_tokens,
        first_token_ms = p_first_token_ms,
        processing_time_ms = p_processing_ms
    where user_id = p_user_id and id = p_interaction_id and status = 'reserved';
    if not found then
        return false;
    end if;
    if not has_month then
        return true;
    end if;
    if p_units > 0 then
        insert into public.webhook_logs (user_id, webhook_type, table_name, triggered_at, status, processed_at)
        select p_user_id, passed.kind, 'ai_quota_months', p_now, 'completed', p_now
        from unnest(p_thresholds, p_warnings) passed (percent, kind)
        where passed.percent > warned_before and (taken + p_units) * 100 >= passed.percent * p_limit
        order by passed.percent;
    end if;
    update public.ai_quota_months
    set used = used + p_units,
        reserved = greatest(reserved - 1, 0),
        warned = greatest(
            warned,
            (
                select max(percent)
                from unnest(p_thresholds) percent
                where p_units > 0 and (taken + p_units) * 100 >= percent * p_limit
            )
        )
    where user_id = p_user_id and month = p_month;
    return true;
end
$$;

-- Vectors of messages that a turn has stored, and their places in the queue given up. Held until then: a consent, so
-- that none is written after its withdrawal, and the serving model, so that a switch waits and then finds them. Where
-- another model serves it returns true and stores nothing: the worker has both models. Ids, texts and vectors are
-- parallel; a message without a vector, or with another text by now, keeps its place in the queue.
create function coach.remember_messages(
    p_user_id uuid,
    p_model text,
    p_ids uuid[],
    p_texts text[],
    p_vectors halfvec[]
)
returns boolean
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    consents boolean;
    serving text;
begin
    select record_rag_snippets
    into consents
    from public.user_analytics_preferences
    where user_id = p_user_id
    for share;
    if not consents then
        return false;
    end if;
    select serving_model
    into serving
    from public.embedding_models
    where user_id = p_user_id
    for share;
    if not found then
        -- Whoever is remembered for the first time. Vectors that something else has written say which model serves.
        insert into public.embedding_models (user_id, serving_model)
        select
            p_user_id,
            coalesce(
                (select e.embedding_model from public.user_metadata_embeddings e where e.user_id = p_user_id limit 1),
                (
                    select m.embedding_model
                    from public.ai_conversation_memory m
                    where m.user_id = p_user_id and m.message_embedding is not null
                    limit 1
                ),
                p_model
            )
        on conflict do nothing;
        select serving_model
        into serving
        from public.embedding_models
        where user_id = p_user_id
        for share;
    end if;
    if serving is distinct from p_model then
        return true;
    end if;
    for place in 1 .. cardinality(p_ids) loop
        update public.ai_conversation_memory
        set message_embedding = p_vectors[place], embedding_model = p_model
        where user_id = p_user_id
            and id = p_ids[place]
            and p_vectors[place] is not null
            and message_content = p_texts[place]
            and not deleted;
    end loop;
    -- After the messages themselves: the order in which every writer locks them.
    delete from public.embedding_queue q
    using public.ai_conversation_memory m
    where q.user_id = p_user_id
        and q.entity_table = 'ai_conversation_memory'
        and q.entity_id = any (p_ids)
        and m.user_id = q.user_id
        and m.id = q.entity_id
        and m.message_embedding is not null;
    return false;
end
$$;

-- The live facts about a person, as JSON: parallel arrays of rows, in the order in which they are shown. Texts, times and
-- limits come from coach/retrieval/state.py. Each question is one index away: tasks_open_due_idx, projects_pkey,
-- pillars_pkey, user_behavior_events_flow_idx, embedding_queue_pkey, ai_conversation_memory_waiting_idx.
create function coach.live_facts(
    p_user_id uuid,
    p_now timestamptz,
    p_today date,
    p_midnight timestamptz,
    p_monday timestamptz,
    p_horizon timestamptz,
    p_since_day text,
    p_with_context boolean,
    p_with_metrics boolean,
    p_with_flow boolean,
    p_with_memory boolean,
    p_tasks integer,
    p_deadlines integer,
    p_changed integer,
    p_exclude uuid[]
)
returns jsonb
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    found_tasks jsonb;
    found_deadlines jsonb;
    found_alignment jsonb;
    found_flow jsonb;
    found_changed jsonb;
    stale bigint := 0;
    messages bigint;
begin
    -- Open tasks up to today, the most pressing first, and how many there are of each group.
    select jsonb_agg(
        jsonb_build_array(name, due_date, due_time, priority, project, energy, load, minutes, is_overdue, total)
        order by is_overdue desc, place
    )
    into found_tasks
    from (
        select
            t.name, t.due_date, t.due_time, t.priority, p.name as project,
            case when p_with_context then t.task_metadata ->> 'energy_requirement' end as energy,
            case when p_with_context then t.task_metadata ->> 'cognitive_load' end as load,
            t.estimated_duration as minutes,
            t.due_date < p_today as is_overdue,
            count(*) over (partition by t.due_date < p_today) as total,
            row_number() over (
                partition by t.due_date < p_today
                order by array_position(array['high', 'medium', 'low'], t.priority), t.due_date, t.due_time, t.id
            ) as place
        from public.tasks t
        left join public.projects p on p.user_id = t.user_id and p.id = t.project_id
        where t.user_id = p_user_id and not t.completed and not t.archived and t.due_date <= p_today
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
            and deadline >= p_midnight and deadline < p_horizon
        order by deadline, id
        limit p_deadlines
    ) soon;

    -- The week of each pillar against its allocation. The text comparison is the cheap half of the filter: points of a
    -- year are in one array, and reading each time stamp costs 5 us.
    if p_with_metrics then
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
                where point ->> 'timestamp' >= p_since_day
                    and coach.moment(point ->> 'timestamp') >= p_monday
                    and coach.moment(point ->> 'timestamp') < p_now
            ) week on true
            where p.user_id = p_user_id and not p.archived
            group by p.id, p.name, p.time_allocation_percentage, p.sort_order
        ) pillar;
    end if;

    if p_with_flow then
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
        where user_id = p_user_id and flow_state_event and timestamp >= p_monday and timestamp < p_now;
    end if;

    -- What waits to be embedded: life data as they stand now, and messages.
    if p_with_memory then
        select count(*)
        into stale
        from public.embedding_queue
        where user_id = p_user_id and entity_table <> 'ai_conversation_memory';
        if stale > 0 then
            found_changed := coach.changed_lately(p_user_id, p_changed);
        end if;
        select count(*)
        into messages
        from public.ai_conversation_memory m
        left join public.conversations c on c.user_id = m.user_id and c.id = m.conversation_id
        where m.user_id = p_user_id
            and m.message_embedding is null
            and not m.deleted
            and m.status in ('complete', 'interrupted')
            and m.message_role <> 'system'
            and m.message_content <> ''
            and not coalesce(c.incognito, false)
            and m.id <> all (p_exclude);
    end if;
    return jsonb_build_object(
        'tasks', coalesce(found_tasks, '[]'),
        'deadlines', coalesce(found_deadlines, '[]'),
        'alignment', coalesce(found_alignment, '[]'),
        'flow', found_flow,
        'changed', coalesce(found_changed, '[]'),
        'stale', stale + coalesce(messages, 0)
    );
end
$$;

-- What changed but waits to be embedded, as it stands now, newest first; deleted rows have no name any more.
create function coach.changed_lately(p_user_id uuid, p_limit integer) returns jsonb
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    return (
        select jsonb_agg(jsonb_build_array(kind, name, detail) order by created_at desc)
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
                        then concat_ws(
                            ', ', t.status, 'due ' || t.due_date, t.priority || ' priority', left(t.description, 200)
                        )
                    end,
                    case
                        when p.id is not null
                        then concat_ws(
                            ', ', p.status, p.completion_percentage::real || '% complete', left(p.description, 200)
                        )
                    end,
                    left(coalesce(a.description, l.description, j.content), 200),
                    ''
                ) as detail
            from public.embedding_queue q
            left join public.tasks t
                on q.entity_table = 'tasks' and t.user_id = q.user_id and t.id = q.entity_id
            left join public.projects p
                on q.entity_table = 'projects' and p.user_id = q.user_id and p.id = q.entity_id
            left join public.areas a
                on q.entity_table = 'areas' and a.user_id = q.user_id and a.id = q.entity_id
            left join public.pillars l
                on q.entity_table = 'pillars' and l.user_id = q.user_id and l.id = q.entity_id
            left join public.journal_entries j
                on q.entity_table = 'journal_entries' and j.user_id = q.user_id and j.id = q.entity_id and not j.deleted
            where q.user_id = p_user_id and q.entity_table <> 'ai_conversation_memory'
            order by q.created_at desc
            limit p_limit
        ) waiting
        where name is not null and kind is not null
    );
end
$$;

revoke all on all functions in schema coach from public;
grant execute
    on function
        coach.begin_turn(
            uuid, uuid, uuid, text, uuid, uuid, text, uuid, text, jsonb, text, text, uuid, text, jsonb, date, text, text,
            timestamptz
        ),
        coach.remember_messages(uuid, text, uuid[], text[], halfvec[]),
        coach.live_facts(
            uuid, timestamptz, date, timestamptz, timestamptz, timestamptz, text, boolean, boolean, boolean, boolean,
            integer, integer, integer, uuid[]
        ),
        coach.changed_lately(uuid, integer)
    to coach_session;
grant execute
    on function coach.end_turn(
        uuid, date, integer, uuid, uuid, uuid, text, text, text, text, jsonb, integer, text, text, jsonb, integer, integer,
        integer, integer, integer[], text[], timestamptz
    )
    to coach_session, service_role;
