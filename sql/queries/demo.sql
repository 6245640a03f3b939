-- What the demo loader writes: one statement a table, the rows as a JSON array whose fields are named as the columns.

-- name: await_turn(user_id)!
-- Two starts at once: the second waits here and then finds the life loaded.
select pg_advisory_xact_lock(hashtextextended('coach.demo:' || :user_id::text, 0));

-- name: has_life(user_id)$
-- Whether anything of life data is there, whoever wrote it: the demo never mixes into it. Primary keys.
select exists (select from pillars where user_id = :user_id)
    or exists (select from tasks where user_id = :user_id)
    or exists (select from journal_entries where user_id = :user_id);

-- name: settle_in(user_id, first_name, last_name, goal, timezone, streak)!
-- The profile: a username stays as it is. Levels and streaks are the server's columns.
insert into user_profiles as p (id, first_name, last_name, monthly_alignment_goal, timezone, level, daily_streak)
values (:user_id, :first_name, :last_name, :goal, :timezone, 2, :streak)
on conflict (id) do update
set first_name = excluded.first_name,
    last_name = excluded.last_name,
    monthly_alignment_goal = excluded.monthly_alignment_goal,
    timezone = excluded.timezone,
    level = greatest(p.level, excluded.level),
    daily_streak = excluded.daily_streak;

-- name: default_preferences(user_id)!
insert into user_analytics_preferences (user_id)
values (:user_id)
on conflict (user_id) do nothing;

-- name: consents(user_id)^
-- Held until the commit, so that nothing is written after a withdrawal.
select
    track_pillar_metrics as metrics, analytics_consent and track_flow_states as flow, record_rag_snippets as memory,
    store_task_context as task_context, store_behavioral_embeddings as journal_memory
from coach.lock_consents(:user_id);

-- name: write_pillars(user_id, rows)!
insert into pillars (
    user_id, id, name, description, icon, color, sort_order, time_allocation_percentage, behavior_metrics,
    created_at, updated_at
)
select
    :user_id, id, name, description, icon, color, sort_order, time_allocation_percentage, behavior_metrics,
    created_at, updated_at
from jsonb_to_recordset(:rows::jsonb) as r (
    id uuid, name text, description text, icon text, color text, sort_order integer,
    time_allocation_percentage numeric, behavior_metrics jsonb, created_at timestamptz, updated_at timestamptz
);

-- name: write_areas(user_id, rows)!
insert into areas (
    user_id, id, pillar_id, name, description, importance, sort_order, behavior_metrics, created_at, updated_at
)
select :user_id, id, pillar_id, name, description, importance, sort_order, behavior_metrics, created_at, updated_at
from jsonb_to_recordset(:rows::jsonb) as r (
    id uuid, pillar_id uuid, name text, description text, importance integer, sort_order integer,
    behavior_metrics jsonb, created_at timestamptz, updated_at timestamptz
);

-- name: write_projects(user_id, rows)!
insert into projects (
    user_id, id, area_id, name, description, status, priority, importance, deadline, completion_percentage,
    sort_order, created_at, updated_at
)
select
    :user_id, id, area_id, name, description, status, priority, importance, deadline, completion_percentage,
    sort_order, created_at, updated_at
from jsonb_to_recordset(:rows::jsonb) as r (
    id uuid, area_id uuid, name text, description text, status text, priority text, importance integer,
    deadline timestamptz, completion_percentage numeric, sort_order integer,
    created_at timestamptz, updated_at timestamptz
);

-- name: write_tasks(user_id, rows)!
insert into tasks (
    user_id, id, project_id, parent_task_id, name, description, status, priority, category, due_date, due_time,
    reminder_date, completed, completed_at, dependency_task_ids, recurrence, recurrence_interval, next_due_date,
    estimated_duration, task_metadata, sort_order, created_at, updated_at
)
select
    :user_id, id, project_id, parent_task_id, name, description, status, priority, category, due_date, due_time,
    reminder_date, completed, completed_at, dependency_task_ids, recurrence, recurrence_interval, next_due_date,
    estimated_duration, task_metadata, sort_order, created_at, updated_at
from jsonb_to_recordset(:rows::jsonb) as r (
    id uuid, project_id uuid, parent_task_id uuid, name text, description text, status text, priority text,
    category text, due_date date, due_time time, reminder_date timestamptz, completed boolean,
    completed_at timestamptz, dependency_task_ids uuid[], recurrence text, recurrence_interval integer,
    next_due_date date, estimated_duration integer, task_metadata jsonb, sort_order integer,
    created_at timestamptz, updated_at timestamptz
);

-- name: write_journal_entries(user_id, rows)!
insert into journal_entries (user_id, id, title, content, mood, energy_level, tags, created_at, updated_at)
select :user_id, id, title, content, mood, energy_level, tags, created_at, updated_at
from jsonb_to_recordset(:rows::jsonb) as r (
    id uuid, title text, content text, mood text, energy_level text, tags text[],
    created_at timestamptz, updated_at timestamptz
);

-- name: write_flow_events(user_id, rows)!
insert into user_behavior_events (
    user_id, id, session_id, action_type, feature_name, event_data, duration_ms, timestamp, client_timestamp, created_at
)
select
    :user_id, id, session_id, action_type, feature_name, event_data, duration_ms, "timestamp", "timestamp", "timestamp"
from jsonb_to_recordset(:rows::jsonb) as r (
    id uuid, session_id text, action_type text, feature_name text, event_data jsonb, duration_ms bigint,
    "timestamp" timestamptz
);

-- name: write_conversations(user_id, rows)!
insert into conversations (user_id, id, client_id, title, feature_type, current_message_id, created_at, updated_at)
select :user_id, id, client_id, title, feature_type, current_message_id, created_at, updated_at
from jsonb_to_recordset(:rows::jsonb) as r (
    id uuid, client_id text, title text, feature_type text, current_message_id uuid,
    created_at timestamptz, updated_at timestamptz
);

-- name: write_message(user_id, id, conversation_id, client_id, parent_id, role, content, said_at, embedding, model)*!
insert into ai_conversation_memory (
    user_id, id, conversation_id, client_id, parent_id, message_role, message_content,
    conversation_date, created_at, updated_at, message_embedding, embedding_model
)
values (
    :user_id, :id, :conversation_id, :client_id, :parent_id, :role, :content,
    :said_at, :said_at, :said_at, :embedding, :model
);

-- name: write_snippet(user_id, id, domain_tag, entity_id, chunk, title, text, embedding, model, content_hash, updated_at)*!
insert into user_metadata_embeddings (
    user_id, id, domain_tag, entity_id, chunk, title, text_snippet, embedding, embedding_model, content_hash,
    created_at, updated_at
)
values (
    :user_id, :id, :domain_tag, :entity_id, :chunk, :title, :text, :embedding, :model, :content_hash,
    :updated_at, :updated_at
);

-- name: leave_embedded(user_id)!
-- The triggers have queued every row of the life; those that were written with their vectors need no worker.
delete from embedding_queue
where user_id = :user_id and entity_table in ('pillars', 'areas', 'projects', 'tasks', 'journal_entries');
