-- after: watch
create table coach.habits (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    area_id uuid,
    name text not null,
    cue text,
    archived boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('habits');
select coach.link('public.habits', 'area_id', 'public.areas');
grant select, insert, update, delete on public.habits to authenticated;

insert into coach.entity_kinds (
    queue_name, table_name, kind, hidden_by, consents, parent_column, parent_table, naming, content
) values (
    'habits', 'habits', 'habit', 'archived', '{track_pillar_metrics}', 'area_id', 'areas', '{name, area_id}', '{cue}'
);
select coach.watch('habits');
