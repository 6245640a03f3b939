-- The real app: the original design as years of Supabase have left it, with a column or a constraint of each kind that an
-- adoption meets. app_postgres runs it. Ann is a1…, Ben is b2….
set search_path = public, extensions;

create type project_status as enum ('Not Started', 'In Progress', 'Completed');
create type task_priority as enum ('low', 'medium', 'high');
create type message_author as enum ('user', 'assistant');
create type mood_level as enum ('great', 'okay', 'bad');
create type hook_status as enum ('queued', 'completed', 'error');
create domain short_name as varchar(80) check (value <> '');

create table public.user_profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    email text not null,
    username varchar(30) unique,
    first_name varchar(50),
    last_name varchar(50),
    google_id text,
    profile_picture text,
    is_active boolean default true,
    level smallint default 1,
    total_points numeric default 0,
    current_streak integer,
    daily_streak integer default 0,
    monthly_alignment_goal integer,
    last_username_change timestamp,
    onboarding jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create table public.user_analytics_preferences (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null unique references auth.users (id) on delete cascade,
    consent_version text not null,
    analytics_consent boolean default true,
    ai_behavior_tracking boolean default true,
    track_pillar_metrics boolean default true,
    record_rag_snippets boolean,
    store_task_context boolean default true,
    data_retention_days smallint check (data_retention_days in (90, 180)),
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create table public.pillars (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    name varchar(100) not null,
    description text,
    icon varchar(10),
    color varchar(7) check (color ~ '^#[0-9a-f]{6}$'),
    sort_order integer,
    archived boolean,
    vision_statement text not null,
    time_allocation_percentage decimal(5, 2),
    behavior_metrics json default '[]',
    created_at timestamp default now(),
    updated_at timestamp default now(),
    unique (user_id, name)
);
create index pillars_lower_name on public.pillars (lower(name));
create table public.areas (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    pillar_id uuid references public.pillars (id) on delete cascade,
    name short_name,
    description text,
    importance smallint check (importance in (1, 3, 5)),
    archived boolean default false,
    behavior_metrics jsonb default '[]',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create table public.projects (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    area_id uuid references public.areas (id) on delete set null,
    name text not null,
    status project_status default 'Not Started',
    priority task_priority default 'medium',
    importance text,
    deadline date,
    completion_percentage integer default 0,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index projects_active on public.projects (user_id) where status = 'In Progress';
create table public.tasks (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    project_id uuid references public.projects (id) on delete set null,
    parent_task_id uuid references public.tasks (id) on delete set null,
    name text,
    description text,
    status varchar(20) default 'todo' check (status in ('todo', 'in_progress', 'completed')),
    priority task_priority,
    kanban_column text not null,
    due_date timestamptz,
    due_time text,
    reminder_date timestamptz,
    completed boolean default false,
    completed_at timestamp,
    estimated_duration text,
    dependency_task_ids jsonb default '[]',
    recurrence_pattern text,
    next_due_date timestamptz,
    task_metadata jsonb default '{}',
    due_day date generated always as ((due_date at time zone 'UTC')::date) stored,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    constraint done_has_a_day check (not completed or completed_at is not null)
);
create index tasks_due_time on public.tasks (due_time text_pattern_ops);
create table public.journal_entries (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    template_id uuid not null,
    title varchar(200),
    content text,
    mood mood_level,
    energy_level integer,
    tags jsonb default '[]',
    word_count integer generated always as (length(content)) stored,
    search tsvector,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create table public.user_metadata_embeddings (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    domain_tag text not null check (domain_tag in ('pillars', 'areas', 'projects', 'tasks', 'journal_entries')),
    entity_id text,
    text_snippet text not null check (length(text_snippet) <= 2000),
    embedding vector(1536) not null,
    created_at timestamptz default now(),
    unique (user_id, domain_tag, entity_id)
);
create index idx_metadata_embeddings_hnsw on public.user_metadata_embeddings
    using hnsw (embedding vector_cosine_ops) with (m = 16, ef_construction = 64);
create table public.ai_conversation_memory (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    conversation_date date default current_date,
    message_role message_author not null,
    message_content varchar(8000) not null,
    message_embedding vector(1536),
    context_window text,
    search text,
    month date generated always as (conversation_date - (extract(day from conversation_date)::integer - 1)) stored,
    created_at timestamptz default now()
);
create index memory_by_day on public.ai_conversation_memory (user_id, conversation_date);
create unique index one_a_day on public.ai_conversation_memory (user_id, conversation_date, message_role);
create index ai_conversation_memory_said_idx on public.ai_conversation_memory (created_at);
create table public.ai_features (
    name text primary key
);
insert into public.ai_features values ('goal_coaching'), ('today_priorities');
create table public.ai_interactions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    feature_type text not null references public.ai_features (name),
    feature_details jsonb,
    tokens_used bigint check (tokens_used < 4000),
    region text constraint ai_interactions_status_check check (region <> 'x'),
    processing_time_ms double precision,
    success text default 'true',
    request_id text not null,
    created_at timestamptz default now()
);
create table public.user_behavior_events (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    session_id uuid,
    action_type text not null check (action_type in ('flow_entry', 'flow_exit', 'sun_tapped')),
    feature_name text,
    event_data json,
    duration_ms integer,
    success boolean,
    flow_state_event boolean default false,
    timestamp timestamptz default now(),
    device text not null
);
create table public.webhook_logs (
    id uuid primary key default gen_random_uuid(),
    webhook_type text not null,
    user_id uuid references auth.users (id) on delete cascade,
    table_name text,
    record_id uuid,
    payload jsonb,
    triggered_at timestamptz default now(),
    status hook_status default 'queued',
    error_message text
);
-- The app's own tables beside ours; both are empty.
create table public.task_comments (
    id bigint generated always as identity primary key,
    task_id uuid references public.tasks (id) on delete cascade,
    body text
);
create table public.pillar_goals (
    id uuid primary key default gen_random_uuid(),
    pillar_id uuid not null references public.pillars (id),
    goal text
);

do $$
declare
    t name;
begin
    foreach t in array array[
        'user_analytics_preferences', 'pillars', 'areas', 'projects', 'tasks', 'journal_entries',
        'user_metadata_embeddings', 'ai_conversation_memory', 'ai_interactions', 'user_behavior_events', 'webhook_logs'
    ]::name[] loop
        execute format('alter table public.%I enable row level security', t);
        execute format('create policy "Own rows" on public.%I for all using (auth.uid() = user_id)', t);
    end loop;
end
$$;
create policy "Active projects" on public.projects for select using (status <> 'Completed'::project_status);

create function public.touch_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end
$$;
create trigger touch_tasks before update on public.tasks for each row execute function public.touch_updated_at();
create trigger status_moved after update on public.projects for each row
    when (old.status is distinct from new.status)
    execute function public.touch_updated_at();
create function public.handle_new_user() returns trigger language plpgsql security definer as $$
begin
    insert into public.user_profiles (id, email) values (new.id, new.email);
    return new;
end
$$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();

create view public.task_board with (security_invoker = true) as
    select id, user_id, name, status, priority, due_date, due_time, due_day from public.tasks;
create view public.everybodys_moods as select user_id, mood, count(*) from public.journal_entries group by 1, 2;
create materialized view public.weekly_pillar_alignment as
    select user_id, id as pillar_id, behavior_metrics ->> 0 as first from public.pillars;

-- Definers, as an app has them: for its own edge functions, for the browser, and by mistake.
create function public.recent_entries(p_user_id uuid) returns setof text
language sql stable security definer as $$ select content from public.journal_entries where user_id = p_user_id $$;
create function public.log_event(p_kind text) returns void
language sql security definer as $$
    insert into public.user_behavior_events (user_id, action_type, device) values (auth.uid(), p_kind, 'web')
$$;
create function public.moods() returns bigint
language sql stable security definer as $$ select count(*) from public.everybodys_moods $$;
create function public.rows_of(p_table text) returns bigint language plpgsql security definer as $$
declare
    n bigint;
begin
    execute format('select count(*) from %I', p_table) into n;
    return n;
end
$$;
create function public.all_entries() returns setof text
language sql stable security definer as $$ select public.recent_entries(id) from auth.users $$;
create function public.count_tasks(p_user_id uuid) returns bigint
language sql stable security definer
begin atomic
    select count(*) from public.tasks where user_id = p_user_id;
end;
-- The service role calls it by way of public alone.
revoke all on function public.moods() from anon, authenticated, service_role;
create function public.is_busy(p_user_id uuid) returns boolean
language sql stable security definer as $$ select exists (select from public.tasks where user_id = p_user_id) $$;
create policy "Comments of the busy" on public.task_comments for select using (public.is_busy(auth.uid()));
create schema coaching;
grant usage on schema coaching to authenticated;
create function coaching.overdue() returns bigint
language sql stable security definer as $$ select count(*) from public.tasks where not completed $$;
create schema private;
create function private.purge() returns void
language sql security definer as $$ delete from public.tasks where completed $$;
create policy "Short messages" on public.ai_conversation_memory as restrictive for insert with check (length(message_content) < 9);
-- None of these is dangerous: it reads nothing of ours, binds its caller, or is nobody's to call.
create function public.feature_names() returns setof text
language sql stable security definer as $$ select name from public.ai_features $$;
create function public.my_tasks() returns bigint
language sql stable security invoker as $$ select count(*) from public.tasks $$;
create function public.nightly() returns void
language sql security definer as $$ delete from public.tasks where completed $$;
revoke execute on function public.nightly() from public, anon, authenticated;

insert into auth.users (id, email, created_at) values
    ('a1000000-0000-4000-8000-000000000000', 'ann@example.test', now()),
    ('b2000000-0000-4000-8000-000000000000', 'ben@example.test', now());
update public.user_profiles set username = split_part(email, '@', 1);
insert into public.user_analytics_preferences (user_id, consent_version, data_retention_days) values
    ('a1000000-0000-4000-8000-000000000000', '2025-01', 180);
insert into public.pillars (id, user_id, name, vision_statement, behavior_metrics) values
    ('a1000000-0000-4000-8000-000000000001', 'a1000000-0000-4000-8000-000000000000', 'Health', 'Strong', '[{"timestamp": "2025-09-15T06:00:00Z", "alignment_score": 0.7}]'),
    ('00000000-0000-4000-8000-000000000001', null, 'Nobody''s', '', '[]');
insert into public.areas (id, user_id, pillar_id, name, importance) values
    ('a1000000-0000-4000-8000-000000000011', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000001', 'Running', null);
insert into public.projects (id, user_id, area_id, name, status, importance, deadline) values
    ('a1000000-0000-4000-8000-000000000021', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000011', 'Half marathon', 'In Progress', '5', '2026-04-12'),
    ('a1000000-0000-4000-8000-000000000022', 'a1000000-0000-4000-8000-000000000000', null, 'Garden', null, 'very', null);
insert into public.tasks
    (id, user_id, project_id, name, status, priority, kanban_column, due_date, due_time, estimated_duration, dependency_task_ids, completed_at, recurrence_pattern) values
    ('a1000000-0000-4000-8000-000000000031', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000021', 'Buy shoes', 'todo', 'high', 'now', '2026-03-01 00:00+00', '09:30', '45', '["a1000000-0000-4000-8000-000000000032"]', null, '{"every": 2}'),
    ('a1000000-0000-4000-8000-000000000032', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000021', 'Try them', 'completed', null, 'later', '2026-03-02 17:15+00', 'noon', 'an hour', null, '2026-03-02 18:00', 'weekly'),
    ('a1000000-0000-4000-8000-000000000033', 'a1000000-0000-4000-8000-000000000000', null, null, null, null, '', 'infinity', 'after lunch', null, '[]', null, null);
insert into public.journal_entries (id, user_id, template_id, title, content, mood, energy_level, tags) values
    ('a1000000-0000-4000-8000-000000000041', 'a1000000-0000-4000-8000-000000000000', gen_random_uuid(), null, 'My knee hurts.', 'bad', 2, '["knee", "running"]'),
    ('b2000000-0000-4000-8000-000000000041', 'b2000000-0000-4000-8000-000000000000', gen_random_uuid(), 'Ben''s', null, null, null, '{"not": "a list"}');
insert into public.user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding) values
    ('a1000000-0000-4000-8000-000000000000', 'tasks', 'a1000000-0000-4000-8000-000000000031', 'Buy shoes', array_fill(0.5::real, array[1536])::vector(1536)),
    ('a1000000-0000-4000-8000-000000000000', 'journal_entries', 'a1000000-0000-4000-8000-000000000041', 'My knee hurts', array_fill(0.25::real, array[1536])::vector(1536)),
    ('a1000000-0000-4000-8000-000000000000', 'projects', 'not an id', 'Lost', array_fill(0.25::real, array[1536])::vector(1536));
insert into public.ai_conversation_memory (user_id, conversation_date, message_role, message_content, message_embedding, context_window) values
    ('a1000000-0000-4000-8000-000000000000', '2026-02-03', 'user', 'My knee hurts', array_fill(0.25::real, array[1536])::vector(1536), null),
    ('a1000000-0000-4000-8000-000000000000', '2026-02-03', 'assistant', 'Rest it', null, '{"sources": []}');
insert into public.ai_interactions (user_id, feature_type, tokens_used, processing_time_ms, success, request_id) values
    ('a1000000-0000-4000-8000-000000000000', 'goal_coaching', 100, 812.6, 'true', 'r1'),
    (null, 'goal_coaching', null, null, 'maybe', 'r2');
insert into public.user_behavior_events (user_id, session_id, action_type, event_data, device) values
    ('a1000000-0000-4000-8000-000000000000', gen_random_uuid(), 'sun_tapped', '{"a": 1}', 'web');
insert into public.webhook_logs (webhook_type, user_id, payload, status) values
    ('metadata_embedding_queued', 'a1000000-0000-4000-8000-000000000000', '{}', 'queued'),
    ('view_refresh', null, '{"view": "weekly"}', 'error');
refresh materialized view public.weekly_pillar_alignment;
