-- An app's own database before the coach comes to it: the original design on Supabase, with its lax grants, single-column
-- keys, and rows that should not be. Ann is a1…, Ben is b2….

do $$
begin
    if to_regrole('anon') is null then create role anon nologin noinherit; end if;
    if to_regrole('authenticated') is null then create role authenticated nologin noinherit; end if;
    if to_regrole('service_role') is null then create role service_role nologin noinherit bypassrls; end if;
end
$$;
create schema extensions;
create extension vector with schema extensions;
grant usage on schema extensions to anon, authenticated, service_role;
set search_path = public, extensions;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;

create schema auth;
create table auth.users (id uuid primary key, email text, created_at timestamptz default now());
create function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;
grant usage on schema auth to anon, authenticated, service_role;

create table public.user_profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    username text unique,
    first_name text,
    last_name text,
    google_id text,
    profile_picture text,
    is_active boolean default true,
    level integer default 1,
    total_points integer default 0,
    current_streak integer default 0,
    daily_streak integer default 0,
    monthly_alignment_goal integer default null,
    last_username_change timestamptz,
    timezone text,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create table public.user_analytics_preferences (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null unique references auth.users (id) on delete cascade,
    analytics_consent boolean default true,
    record_rag_snippets boolean default true,
    created_at timestamptz default now()
);
create table public.pillars (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id),
    name varchar(100) not null,
    description text,
    behavior_metrics jsonb default '[]',
    time_allocation_percentage decimal(5, 2),
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create table public.areas (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    pillar_id uuid not null references public.pillars (id) on delete cascade,
    name text not null,
    importance integer default 3 check (importance >= 1 and importance <= 5),
    behavior_metrics jsonb default '[]',
    created_at timestamptz default now()
);
create table public.projects (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    area_id uuid references public.areas (id) on delete set null,
    name text not null,
    status text default 'Not Started',
    priority text default 'medium',
    deadline timestamptz
);
create table public.tasks (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    project_id uuid references public.projects (id) on delete set null,
    parent_task_id uuid references public.tasks (id) on delete set null,
    name text not null,
    status text default 'todo' check (status in ('todo', 'in_progress', 'completed')),
    priority text default 'medium',
    completed boolean default false,
    task_metadata jsonb default '{}',
    dependency_task_ids uuid[] default array[]::uuid[]
);
create table public.user_metadata_embeddings (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    domain_tag text not null check (domain_tag in ('pillar', 'area', 'project', 'task', 'journal_entry')),
    entity_id uuid,
    text_snippet text not null,
    embedding vector(1536) not null,
    created_at timestamptz default now()
);
create index idx_metadata_embeddings_hnsw on public.user_metadata_embeddings
    using hnsw (embedding vector_cosine_ops) with (m = 16, ef_construction = 64);
create table public.ai_conversation_memory (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    parent_id uuid references public.ai_conversation_memory (id) on delete set null,
    conversation_date timestamptz default now(),
    message_role text not null,
    message_content text not null,
    message_embedding vector(1536),
    context_window jsonb,
    created_at timestamptz default now()
);
create index idx_memory_hnsw on public.ai_conversation_memory using hnsw (message_embedding vector_cosine_ops);
create table public.ai_interactions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    feature_type text not null,
    feature_details jsonb default '{}',
    tokens_used integer default 0,
    processing_time_ms integer,
    success boolean default true,
    created_at timestamptz default now()
);
create table public.user_behavior_events (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references auth.users (id) on delete cascade,
    session_id text,
    action_type text not null,
    feature_name text,
    event_data jsonb default '{}',
    duration_ms integer,
    success boolean default true,
    flow_state_event boolean default false,
    timestamp timestamptz default now()
);
create table public.webhook_logs (
    id uuid primary key default gen_random_uuid(),
    webhook_type text not null,
    user_id uuid references auth.users (id) on delete cascade,
    table_name text,
    triggered_at timestamptz default now(),
    status text default 'pending',
    error_message text,
    processed_at timestamptz
);

do $$
declare
    t name;
begin
    foreach t in array array[
        'user_analytics_preferences', 'pillars', 'areas', 'projects', 'tasks', 'user_metadata_embeddings',
        'ai_conversation_memory', 'ai_interactions', 'user_behavior_events', 'webhook_logs'
    ]::name[] loop
        execute format('alter table public.%I enable row level security', t);
        execute format('create policy "Users can access their own" on public.%I for all using (auth.uid() = user_id)', t);
    end loop;
end
$$;
-- The lax one that every app has somewhere.
create policy "Anyone can read" on public.pillars for select using (true);

-- Views and functions that stand on what will change.
create view public.snippet_vectors as
    select id, user_id, text_snippet, embedding from public.user_metadata_embeddings;
create view public.snippet_sizes as
    select user_id, count(*) as snippets, max(vector_dims(embedding)) as width from public.snippet_vectors group by user_id;
comment on view public.snippet_sizes is 'asked by the dashboard';
create function public.nearest_snippet(p_user_id uuid) returns text
language sql stable
begin atomic
    select text_snippet from public.user_metadata_embeddings
    where user_id = p_user_id
    order by embedding <=> embedding
    limit 1;
end;
create function public.on_embedding() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger trg_embedding before update of embedding on public.user_metadata_embeddings
    for each row execute function public.on_embedding();
create materialized view public.weekly_pillar_alignment as
    select
        p.user_id,
        p.id as pillar_id,
        date_trunc('week', (point ->> 'timestamp')::timestamptz) as week_start,
        avg((point ->> 'alignment_score')::numeric) as avg_alignment,
        count(*) as data_points
    from public.pillars p, jsonb_array_elements(p.behavior_metrics) point
    group by 1, 2, 3
    with no data;
create view public.best_week as
    select user_id, max(avg_alignment) as alignment from public.weekly_pillar_alignment group by user_id;
create function public.search_metadata_embeddings(
    query_embedding vector(1536), p_user_id uuid, domain_tags text[] default null, match_count integer default 10
) returns table (id uuid, domain_tag text, entity_id uuid, text_snippet text, similarity double precision)
language sql stable as $$
    select id, domain_tag, entity_id, text_snippet, 1 - (embedding <=> query_embedding)
    from public.user_metadata_embeddings
    where user_id = p_user_id
    order by embedding <=> query_embedding
    limit match_count
$$;
create function public.similar_tasks(p_user_id uuid, p_vector vector) returns setof text
language sql stable
begin atomic
    select text_snippet from public.search_metadata_embeddings(p_vector, p_user_id, array['task'], 3);
end;
create function public.check_ai_quota_available(p_user_id uuid, p_monthly_limit integer default 250) returns boolean
language sql stable as $$ select true $$;
create function public.user_has_consented(uid uuid, consent text) returns boolean
language sql stable as $$ select true $$;
create function public.refresh_behavior_views() returns integer
language sql as $$ select 1 $$;

insert into auth.users (id, email) values
    ('a1000000-0000-4000-8000-000000000000', 'ann@example.test'),
    ('b2000000-0000-4000-8000-000000000000', 'ben@example.test');
insert into public.user_profiles (id, username, timezone, created_at) values
    ('a1000000-0000-4000-8000-000000000000', 'Ann', 'Europe/Berlin', '2025-01-01'),
    ('b2000000-0000-4000-8000-000000000000', 'ann', 'Mars/Olympus', '2025-02-01');
insert into public.user_analytics_preferences (user_id, record_rag_snippets) values
    ('a1000000-0000-4000-8000-000000000000', true);
insert into public.pillars (id, user_id, name, behavior_metrics) values
    ('a1000000-0000-4000-8000-000000000001', 'a1000000-0000-4000-8000-000000000000', 'Health', '[
        {"timestamp": "2025-09-16T06:00:00Z", "alignment_score": 0.5, "sentiment": 0.1},
        {"timestamp": "2025-09-15T06:00:00Z", "alignment_score": 0.7, "sentiment": 0.65},
        {"timestamp": "yesterday-ish", "alignment_score": 0.9},
        {"timestamp": "2025-09-17T06:00:00Z", "alignment_score": "high"}
    ]'),
    ('a1000000-0000-4000-8000-000000000002', 'a1000000-0000-4000-8000-000000000000', 'Work', '{"not": "a list"}'),
    ('b2000000-0000-4000-8000-000000000001', 'b2000000-0000-4000-8000-000000000000', 'Family', null),
    ('00000000-0000-4000-8000-000000000001', null, 'Nobody''s', '[]');
insert into public.areas (id, user_id, pillar_id, name) values
    ('a1000000-0000-4000-8000-000000000011', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000001', 'Running'),
    ('a1000000-0000-4000-8000-000000000012', 'a1000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001', 'Adrift'),
    ('b2000000-0000-4000-8000-000000000011', 'b2000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000001', 'Spying');
insert into public.projects (id, user_id, area_id, name) values
    ('a1000000-0000-4000-8000-000000000021', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000011', 'Half marathon'),
    ('b2000000-0000-4000-8000-000000000021', 'b2000000-0000-4000-8000-000000000000', 'b2000000-0000-4000-8000-000000000011', 'Garden');
insert into public.tasks (id, user_id, project_id, parent_task_id, name) values
    ('a1000000-0000-4000-8000-000000000031', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000021', null, 'Buy shoes'),
    ('a1000000-0000-4000-8000-000000000032', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000021', 'a1000000-0000-4000-8000-000000000031', 'Try three pairs'),
    ('b2000000-0000-4000-8000-000000000031', 'b2000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000021', 'a1000000-0000-4000-8000-000000000031', 'Peek');
insert into public.user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding, created_at)
    select
        'a1000000-0000-4000-8000-000000000000', 'task', 'a1000000-0000-4000-8000-000000000031', 'snippet ' || n,
        array_prepend(n::real, array_fill(0.5::real, array[1535]))::vector(1536), '2025-09-01'::timestamptz + n * interval '1 h'
    from generate_series(1, 30) n;
insert into public.ai_conversation_memory (user_id, message_role, message_content, message_embedding) values
    ('a1000000-0000-4000-8000-000000000000', 'user', 'My knee hurts', array_fill(0.25::real, array[1536])::vector(1536)),
    ('a1000000-0000-4000-8000-000000000000', 'assistant', 'Rest it', null);
insert into public.ai_interactions (user_id, feature_type, created_at) values
    ('a1000000-0000-4000-8000-000000000000', 'goal_coaching', now()),
    ('a1000000-0000-4000-8000-000000000000', 'goal_coaching', now()),
    ('a1000000-0000-4000-8000-000000000000', 'goal_coaching', now() - interval '40 days');
insert into public.user_behavior_events (user_id, action_type, flow_state_event, duration_ms) values
    ('a1000000-0000-4000-8000-000000000000', 'flow_session', true, 1800000),
    ('a1000000-0000-4000-8000-000000000000', 'tapped_sun', false, null),
    (null, 'page_view', false, null);
insert into public.webhook_logs (webhook_type, user_id) values
    ('metadata_embedding_queued', 'a1000000-0000-4000-8000-000000000000'),
    ('view_refresh', null);
