set search_path = public, extensions;
create type weekday as enum ('mon', 'tue');
create type tag_kind as enum ('home', 'work');
create domain filled as text not null;
create function public.me_only() returns trigger language plpgsql as $$
begin
    if auth.uid() is null then raise exception 'sign in first'; end if;
    return new;
end $$;
create table public.user_profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    "displayName" text not null,
    username text, timezone integer, is_active integer default 1, level text default '1',
    created_at bigint default 0
);
create table public.pillars (
    id text primary key default gen_random_uuid()::text,
    user_id text not null,
    name text not null unique,
    description varchar(50) not null default '',
    time_allocation_percentage text,
    archived timestamptz,
    sort_order bigint generated always as identity,
    behavior_metrics text,
    "createdAt" timestamptz not null,
    motto filled,
    rank integer default 0 check (rank > 0),
    created_at bigint not null default 0
);
create table public.areas (
    id text primary key, user_id text, pillar_id text references public.pillars (id), name text,
    importance numeric, behavior_metrics jsonb[]
);
create table public.projects (
    user_id uuid not null, id uuid not null default gen_random_uuid(), area_id text references public.areas (id), name char(40),
    status integer default 0, priority smallint, deadline text, completion_percentage real, primary key (user_id, id)
);
create table public.tasks (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    project_id uuid,
    name text not null,
    status text,
    completed boolean generated always as (status = 'done') stored,
    due_date text, due_time timestamptz, completed_at date, reminder_date integer,
    estimated_duration interval,
    dependency_task_ids text[], recurrence weekday, recurrence_interval text,
    task_metadata json, due_hour integer generated always as (length(due_date)) stored
);
create statistics public.task_stats on due_date, status from public.tasks;
create trigger guard before insert or update on public.tasks for each row execute function public.me_only();
create trigger guard_off before update of due_date on public.tasks for each row execute function public.me_only();
alter table public.tasks disable trigger guard_off;
create function public.open_tasks() returns setof public.tasks language sql stable as $$ select * from public.tasks $$;
create function public.due(t public.tasks) returns text language sql stable begin atomic select (t).due_date; end;
create view public.due_tasks as select t.*, p.name as project from public.tasks t left join public.projects p on p.id = t.project_id;
create view public."own (open" as select id from public.tasks;
create function public."mine?"() returns bigint language sql security definer as 'select count(*) from "own (open"';
create function public.all_mine() returns bigint language sql security definer as 'select "mine?"()';
create function public.insert_due() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger due_ins instead of insert on public.due_tasks for each row execute function public.insert_due();
create materialized view public.due_counts as select due_date, count(*) from public.due_tasks group by 1;
create unique index due_counts_key on public.due_counts (due_date);
create table public.due_log (d text);
create rule tasks_log as on update to public.tasks do also insert into public.due_log values (new.due_date);
create publication some_tasks for table public.tasks (id, user_id, due_date);
create table public.journal_entries (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id),
    content jsonb, mood integer[], tags tag_kind[], deleted text, energy_level boolean, title bytea
);
create table public.user_metadata_embeddings (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    domain_tag varchar(20) not null, entity_id uuid, text_snippet varchar(500) not null,
    embedding vector(768) not null, embedding_model text not null default 'mine', created_at date,
    unique (entity_id)
);
create table public.ai_conversation_memory (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    conversation_id text not null,
    conversation_date date not null default current_date,
    message_role text check (message_role in ('human', 'ai')),
    message_content text not null, message_embedding real[], tokens_used text, status text default 'ok', feedback text, client_id uuid
);
create unique index one_a_day on public.ai_conversation_memory (user_id, conversation_date, message_role);
create table public.ai_interactions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    feature_type text not null, cost_usd money, created_at time, success integer, model weekday, quota_month text
);
create table public.user_behavior_events (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    action_type weekday not null, event_data text, duration_ms interval, timestamp bigint, is_anonymized text
);
create table public.webhook_logs (id uuid primary key default gen_random_uuid(), user_id text, webhook_type weekday, triggered_at text, status integer, processed_at date, error_message jsonb);
create table public.recommendations (id uuid primary key default gen_random_uuid(), user_id uuid not null, kind text, score text);
insert into auth.users (id, email) values ('a1000000-0000-4000-8000-000000000000', 'a@b.c');
insert into public.user_profiles (id, "displayName", timezone, created_at) values ('a1000000-0000-4000-8000-000000000000', 'Ann', 2, 1764000000000);
insert into public.pillars (id, user_id, name, time_allocation_percentage, archived, behavior_metrics, "createdAt", motto, rank, created_at) values
 ('a1000000-0000-4000-8000-000000000001', 'a1000000-0000-4000-8000-000000000000', 'Health', '25.5', null, '[]', now(), 'm', 3, 1764000000000),
 ('a1000000-0000-4000-8000-000000000002', 'a1000000-0000-4000-8000-000000000000', 'Work', 'most', now(), 'x', now(), 'm', 3, 1764000000);
insert into public.areas values ('a1000000-0000-4000-8000-000000000011', 'a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000001', 'Running', 4.4, array['{"timestamp":"2025-09-15T06:00:00Z","sentiment":0.5}'::jsonb]);
insert into public.projects (user_id, id, area_id, name, deadline, completion_percentage) values ('a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000021', 'a1000000-0000-4000-8000-000000000011', 'Half', '2026-04-12', 33.333);
alter table public.tasks disable trigger guard;
insert into public.tasks (user_id, project_id, name, status, due_date, due_time, completed_at, reminder_date, estimated_duration, dependency_task_ids, recurrence, recurrence_interval, task_metadata) values
 ('a1000000-0000-4000-8000-000000000000', 'a1000000-0000-4000-8000-000000000021', 'Shoes', 'done', '2026-03-01T10:00:00Z', '2026-03-01 09:30+00', '2026-03-02', 1764000000, '45 min', array['a1000000-0000-4000-8000-000000000032'], 'mon', 'x', '{"energy_requirement": "high"}');
alter table public.tasks enable trigger guard;
insert into public.journal_entries (user_id, content, mood, tags, deleted, energy_level, title) values ('a1000000-0000-4000-8000-000000000000', '{"text": "Tired"}', array[1,2], array['home']::tag_kind[], 'no', true, 'abc');
insert into public.user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding) values ('a1000000-0000-4000-8000-000000000000', 'Journals', gen_random_uuid(), 's', array_fill(0.5::real, array[768])::vector(768));
insert into public.ai_conversation_memory (user_id, conversation_id, message_role, message_content, message_embedding) values ('a1000000-0000-4000-8000-000000000000', 'chat-1', 'human', 'hi', array_fill(0.5::real, array[1536]));
insert into public.ai_interactions (user_id, feature_type, cost_usd, success) values ('a1000000-0000-4000-8000-000000000000', 'goal_coaching', 1.5, 1);
insert into public.user_behavior_events (user_id, action_type, event_data, duration_ms, timestamp) values ('a1000000-0000-4000-8000-000000000000', 'mon', '{"a":1}', '3 s', 1764000000000);
insert into public.webhook_logs (user_id, webhook_type, triggered_at, status) values (null, 'mon', 'yesterday', 1), ('a1000000-0000-4000-8000-000000000000', 'tue', '2026-01-01', 2);
insert into public.recommendations (user_id, kind) values ('a1000000-0000-4000-8000-000000000000', null);
