-- after: adoption, values
-- The kinds of rows that the coach reads, and how. queue_name is what a kind's rows are called in the queue: their table's
-- name, but of a second kind of the same table. Of each row the columns naming and content make the snippet; naming are
-- those that others carry (the first is its name), or that hang it elsewhere. Whose name it carries in turn: parent_table,
-- reached by parent_column, and that one's parents. hidden_by takes it out of the search. dated_by is what has a day in the
-- user's zone. consents are needed beside record_rag_snippets; one that only adds a detail to a snippet is detail_consent,
-- and the rows that have it are those whose detail_column is not empty. filled_by is a list of points; two kinds of points
-- that share ids number their chunks upwards and downwards (chunk_sign).
create table coach.entity_kinds (
    queue_name text primary key,
    table_name name not null,
    kind text not null,
    hidden_by name not null,
    consents text[] not null default '{}',
    parent_column name,
    parent_table name,
    naming name[] not null default '{}',
    content name[] not null,
    dated_by name,
    detail_consent text,
    detail_column name,
    filled_by name,
    chunk_sign integer not null default 0 check (chunk_sign in (-1, 0, 1)),
    unique (kind, chunk_sign)
);
grant select on coach.entity_kinds to authenticated, service_role;

-- Pillars, areas, projects, tasks; and the journal. A browser may write all of it.
create table coach.pillars (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    name text not null,
    description text,
    icon text,
    color text,
    sort_order integer not null default 0,
    archived boolean not null default false,
    time_allocation_percentage numeric(5, 2) check (time_allocation_percentage between 0 and 100),
    behavior_metrics jsonb not null default '[]',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('pillars');
create index if not exists pillars_behavior_metrics_idx on public.pillars using gin (behavior_metrics);

create table coach.areas (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    pillar_id uuid,
    name text not null,
    description text,
    icon text,
    color text,
    sort_order integer not null default 0,
    archived boolean not null default false,
    importance integer not null default 3 check (importance between 1 and 5),
    behavior_metrics jsonb not null default '[]',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('areas');
create index if not exists areas_behavior_metrics_idx on public.areas using gin (behavior_metrics);

create table coach.projects (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    area_id uuid,
    name text not null,
    description text,
    icon text,
    color text,
    sort_order integer not null default 0,
    archived boolean not null default false,
    deadline timestamptz,
    status text not null default 'Not Started'
        check (status in ('Not Started', 'In Progress', 'Completed', 'On Hold')),
    priority text not null default 'medium' check (priority in ('low', 'medium', 'high')),
    importance integer not null default 3 check (importance between 1 and 5),
    completion_percentage numeric(5, 2) not null default 0 check (completion_percentage between 0 and 100),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('projects');

create table coach.tasks (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    project_id uuid,
    parent_task_id uuid,
    name text not null,
    description text,
    sort_order integer not null default 0,
    archived boolean not null default false,
    status text not null default 'todo' check (status in ('todo', 'in_progress', 'review', 'completed')),
    priority text not null default 'medium' check (priority in ('low', 'medium', 'high')),
    due_date date,
    due_time time,
    reminder_date timestamptz,
    category text,
    completed boolean not null default false,
    completed_at timestamptz,
    dependency_task_ids uuid[] not null default '{}',
    recurrence text not null default 'none' check (recurrence in ('none', 'daily', 'weekly', 'monthly', 'custom')),
    recurrence_interval integer check (recurrence_interval > 0),
    recurrence_pattern jsonb,
    next_due_date date,
    estimated_duration integer check (estimated_duration >= 0),
    task_metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
comment on column coach.tasks.estimated_duration is 'minutes';
select coach.settle('tasks');
create index if not exists tasks_open_due_idx on public.tasks (user_id, due_date) where not completed and not archived;

create table coach.journal_entries (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    title text not null default '',
    content text not null default '',
    mood text,
    energy_level text,
    tags text[] not null default '{}',
    deleted boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('journal_entries');
create index if not exists journal_entries_created_at_idx on public.journal_entries (user_id, created_at);

-- Pillar to areas: the areas stay (a trigger lets go of them), so the key itself does nothing on delete.
select coach.link('public.areas', 'pillar_id', 'public.pillars', 'no action');
select coach.link('public.projects', 'area_id', 'public.areas');
select coach.link('public.tasks', 'project_id', 'public.projects');
select coach.link('public.tasks', 'parent_task_id', 'public.tasks');
grant select, insert, update, delete
    on public.pillars, public.areas, public.projects, public.tasks, public.journal_entries
    to authenticated;

insert into coach.entity_kinds (queue_name, table_name, kind, hidden_by, naming, content) values
    ('pillars', 'pillars', 'pillar', 'archived', '{name}', '{description, time_allocation_percentage}');
insert into coach.entity_kinds
    (queue_name, table_name, kind, hidden_by, parent_column, parent_table, naming, content, dated_by) values
    (
        'areas', 'areas', 'area', 'archived', 'pillar_id', 'pillars', '{name, pillar_id}',
        '{description, importance}', null
    ),
    (
        'projects', 'projects', 'project', 'archived', 'area_id', 'areas', '{name, area_id}',
        '{description, status, priority, deadline, completion_percentage}', 'deadline'
    );
insert into coach.entity_kinds (
    queue_name, table_name, kind, hidden_by, parent_column, parent_table, content, dated_by, detail_consent, detail_column
) values (
    'tasks', 'tasks', 'task', 'archived', 'project_id', 'projects',
    '{name, description, project_id, status, completed, completed_at, priority, due_date, due_time, recurrence,
        estimated_duration, task_metadata}',
    'completed_at', 'store_task_context', 'task_metadata'
);
insert into coach.entity_kinds (queue_name, table_name, kind, hidden_by, consents, content, dated_by) values (
    'journal_entries', 'journal_entries', 'journal_entry', 'deleted', '{store_behavioral_embeddings}',
    '{title, content, mood, energy_level, tags, created_at}', 'created_at'
);
insert into coach.entity_kinds
    (queue_name, table_name, kind, hidden_by, consents, content, dated_by, filled_by, chunk_sign) values
    (
        'pillar_metrics', 'pillars', 'behavior_summary', 'archived',
        '{store_behavioral_embeddings, track_pillar_metrics}', '{name, behavior_metrics}', 'created_at',
        'behavior_metrics', 1
    ),
    (
        'area_metrics', 'areas', 'behavior_summary', 'archived',
        '{store_behavioral_embeddings, track_pillar_metrics}', '{name, behavior_metrics}', 'created_at',
        'behavior_metrics', -1
    );

-- An adopted table's bad points, each kept in the log.
do $$
declare
    measured name;
    cleaned bigint;
begin
    foreach measured in array array['pillars', 'areas']::name[] loop
        execute format(
            'insert into coach.system_log (webhook_type, table_name, row_id, old_value)
            select ''adoption_bad_metrics'', %1$L, id::text, jsonb_build_object(''behavior_metrics'', behavior_metrics)
            from public.%1$I
            where case jsonb_typeof(behavior_metrics)
                when ''array'' then exists (
                    select from jsonb_array_elements(behavior_metrics) point
                    where coach.metric_point_problem(point) is not null
                )
                else true
            end',
            measured
        );
        get diagnostics cleaned = row_count;
        if cleaned > 0 then
            execute format(
                'update public.%1$I t
                set behavior_metrics = coalesce(
                    (
                        select jsonb_agg(point order by coach.moment(point ->> ''timestamp''))
                        from jsonb_array_elements(
                            case jsonb_typeof(t.behavior_metrics) when ''array'' then t.behavior_metrics else ''[]'' end
                        ) point
                        where coach.metric_point_problem(point) is null
                    ),
                    ''[]''
                )
                from coach.system_log log
                where log.webhook_type = ''adoption_bad_metrics''
                    and log.table_name = %1$L
                    and log.row_id = t.id::text',
                measured
            );
            perform coach.report(format('public.%s: bad metric points removed from %s rows', measured, cleaned));
        end if;
    end loop;
end
$$;
