-- Every change of life data, and every message without a vector, leaves a row in embedding_queue: docs/pipeline.md.
-- The order everywhere is the person, preferences, embedding_models, messages, queue, vectors: whoever stores vectors holds
-- the queue row, so who purges deletes the queue row first, waits there, and then sees the vectors that were stored
-- meanwhile.

-- Set by a rename or a move: the worker queues what carries the old name in its snippet.
alter table public.embedding_queue add column if not exists expands boolean not null default false;

-- Which model's vectors a user is served from, and the one that is being filled in beside it. All vectors are written under
-- a share lock of this row and the switch under an exclusive one, so that none is stored for a model that has just gone.
create table coach.embedding_models (
    user_id uuid primary key references auth.users (id) on delete cascade,
    serving_model text not null,
    target_model text,
    fill_token uuid,
    leased_until timestamptz not null default '-infinity',
    switched_at timestamptz
);
select coach.settle('embedding_models');
create index if not exists embedding_models_serving_idx on public.embedding_models (serving_model);
create index if not exists embedding_models_target_idx
    on public.embedding_models (target_model)
    where target_model is not null;
grant select, insert, update on public.embedding_models to coach_session;

-- The model that all are to be served from: that of the worker which started last. One that was configured otherwise stands
-- aside, or two would switch the same people back and forth during a deployment.
create table coach.embedding_target (
    is_only boolean primary key default true check (is_only),
    model text not null,
    set_at timestamptz not null default now()
);
alter table coach.embedding_target enable row level security;
alter table coach.embedding_target force row level security;
grant select, insert, update on coach.embedding_target to service_role;

-- Whose vectors were there before: served from the model that most of them are of.
insert into public.embedding_models (user_id, serving_model)
select distinct on (user_id) user_id, embedding_model
from (
    select user_id, embedding_model, count(*) as vectors
    from public.user_metadata_embeddings
    group by user_id, embedding_model
    union all
    select user_id, embedding_model, count(*)
    from public.ai_conversation_memory
    where message_embedding is not null
    group by user_id, embedding_model
) counted
order by user_id, vectors desc, embedding_model
on conflict do nothing;

-- What of life may be embedded, by consent: not what was put away. Nobody's to read: functions of the owner's queue from it.
create view coach.embeddable_life as
select user_id, 'pillars' as entity_table, id as entity_id from public.pillars where not archived
union all
select user_id, 'areas', id from public.areas where not archived
union all
select user_id, 'projects', id from public.projects where not archived
union all
select user_id, 'tasks', id from public.tasks where not archived
union all
select user_id, 'journal_entries', id from public.journal_entries where not deleted
union all
select user_id, 'pillar_metrics', id from public.pillars where behavior_metrics <> '[]' and not archived
union all
select user_id, 'area_metrics', id from public.areas where behavior_metrics <> '[]' and not archived
union all
select m.user_id, 'ai_conversation_memory', m.id
from public.ai_conversation_memory m
left join public.conversations c on c.user_id = m.user_id and c.id = m.conversation_id
where m.message_embedding is null
    and not m.deleted
    and m.status in ('complete', 'interrupted')
    and m.message_role <> 'system'
    and m.message_content <> ''
    and not coalesce(c.incognito, false);

create view coach.embeddable as
select e.user_id, e.entity_table, e.entity_id
from coach.embeddable_life e
where exists (select from auth.users u where u.id = e.user_id)
    and not exists (
        select
        from public.user_analytics_preferences c
        where c.user_id = e.user_id
            and (
                not c.record_rag_snippets
                or not c.store_behavioral_embeddings
                    and e.entity_table in ('journal_entries', 'pillar_metrics', 'area_metrics')
                or not c.track_pillar_metrics and e.entity_table in ('pillar_metrics', 'area_metrics')
            )
    );
revoke all on coach.embeddable_life, coach.embeddable from public, anon, authenticated;

-- A changed row. Arguments: what it is called in the queue, and whether others carry its name. The lease stays as it is: a
-- worker that holds one finds another version when it comes to finish. The consents are looked up here and not asked of
-- user_has_consented: that answers only whoever acts for the user, and takes three times as long.
create function coach.queue_row() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before, expands)
    select new.user_id, tg_argv[0], new.id, now(), tg_argv[1]::boolean
    where exists (select from auth.users u where u.id = new.user_id)
        and not exists (
            select
            from public.user_analytics_preferences c
            where c.user_id = new.user_id
                and (
                    not c.record_rag_snippets
                    or not c.store_behavioral_embeddings
                        and tg_argv[0] in ('journal_entries', 'pillar_metrics', 'area_metrics')
                    or not c.track_pillar_metrics and tg_argv[0] in ('pillar_metrics', 'area_metrics')
                )
        )
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1,
        not_before = excluded.not_before,
        expands = q.expands or excluded.expands,
        attempts = 0,
        last_error = null;
    return null;
end
$$;

-- A deleted row, or one that was put away. Arguments: its table, its domain, and its metrics' name in the queue. Sorts before coach_forget, which
-- deletes the same vectors once more: what a change of model was copying at that moment is seen by the second.
create function coach.unqueue_row() returns trigger
language plpgsql security definer
set search_path = ''
set enable_seqscan = off
as $$
begin
    delete from public.embedding_queue
    where user_id = old.user_id and entity_table in (tg_argv[0], tg_argv[2]) and entity_id = old.id;
    delete from public.user_metadata_embeddings
    where user_id = old.user_id and domain_tag = tg_argv[1] and entity_id = old.id;
    if tg_argv[2] is not null then
        -- Summaries of areas are numbered downwards, those of pillars upwards: both may have the same id.
        delete from public.user_metadata_embeddings
        where user_id = old.user_id
            and domain_tag = 'behavior_summary'
            and entity_id = old.id
            and sign(chunk) = case tg_argv[0] when 'areas' then -1 else 1 end;
    end if;
    return null;
end
$$;

create trigger coach_embed_deleted
    after delete on public.pillars
    for each row execute function coach.unqueue_row('pillars', 'pillar', 'pillar_metrics');
create trigger coach_embed_deleted
    after delete on public.areas
    for each row execute function coach.unqueue_row('areas', 'area', 'area_metrics');
create trigger coach_embed_deleted
    after delete on public.projects
    for each row execute function coach.unqueue_row('projects', 'project');
create trigger coach_embed_deleted
    after delete on public.tasks
    for each row execute function coach.unqueue_row('tasks', 'task');
create trigger coach_embed_deleted
    after delete on public.journal_entries
    for each row execute function coach.unqueue_row('journal_entries', 'journal_entry');
create trigger coach_embed_dropped
    after update on public.journal_entries
    for each row
    when (new.deleted and not old.deleted)
    execute function coach.unqueue_row('journal_entries', 'journal_entry');

-- The columns that a snippet is made of. One that others name it by, or that hangs it elsewhere, expands, and is queued of
-- what was put away as well: the worker finds no snippet of it, but of what is in it.
create trigger coach_embed_changed
    after update on public.pillars
    for each row
    when (
        not new.archived
        and (new.description, new.time_allocation_percentage, new.archived)
        is distinct from (old.description, old.time_allocation_percentage, old.archived)
    )
    execute function coach.queue_row('pillars', 'false');
create trigger coach_embed_renamed
    after update on public.pillars
    for each row
    when (new.name is distinct from old.name)
    execute function coach.queue_row('pillars', 'true');
create trigger coach_embed_changed
    after update on public.areas
    for each row
    when (
        not new.archived
        and (new.description, new.importance, new.archived)
        is distinct from (old.description, old.importance, old.archived)
    )
    execute function coach.queue_row('areas', 'false');
create trigger coach_embed_renamed
    after update on public.areas
    for each row
    when ((new.name, new.pillar_id) is distinct from (old.name, old.pillar_id))
    execute function coach.queue_row('areas', 'true');
create trigger coach_embed_changed
    after update on public.projects
    for each row
    when (
        not new.archived
        and (new.description, new.status, new.priority, new.deadline, new.completion_percentage, new.archived)
        is distinct from
        (old.description, old.status, old.priority, old.deadline, old.completion_percentage, old.archived)
    )
    execute function coach.queue_row('projects', 'false');
create trigger coach_embed_renamed
    after update on public.projects
    for each row
    when ((new.name, new.area_id) is distinct from (old.name, old.area_id))
    execute function coach.queue_row('projects', 'true');
create trigger coach_embed_changed
    after update on public.tasks
    for each row
    when (
        not new.archived
        and (
            new.name, new.description, new.project_id, new.status, new.completed, new.completed_at, new.priority,
            new.due_date, new.due_time, new.recurrence, new.estimated_duration, new.task_metadata, new.archived
        )
        is distinct from
        (
            old.name, old.description, old.project_id, old.status, old.completed, old.completed_at, old.priority,
            old.due_date, old.due_time, old.recurrence, old.estimated_duration, old.task_metadata, old.archived
        )
    )
    execute function coach.queue_row('tasks', 'false');
create trigger coach_embed_changed
    after update on public.journal_entries
    for each row
    when (
        not new.deleted
        and (new.title, new.content, new.mood, new.energy_level, new.tags, new.created_at, new.deleted)
            is distinct from (old.title, old.content, old.mood, old.energy_level, old.tags, old.created_at, old.deleted)
    )
    execute function coach.queue_row('journal_entries', 'false');

create trigger coach_embed_measured
    after insert on public.pillars
    for each row
    when (new.behavior_metrics <> '[]' and not new.archived)
    execute function coach.queue_row('pillar_metrics', 'false');
create trigger coach_embed_remeasured
    after update on public.pillars
    for each row
    when (
        not new.archived
        and (new.behavior_metrics is distinct from old.behavior_metrics or old.archived and new.behavior_metrics <> '[]')
    )
    execute function coach.queue_row('pillar_metrics', 'false');
create trigger coach_embed_measured
    after insert on public.areas
    for each row
    when (new.behavior_metrics <> '[]' and not new.archived)
    execute function coach.queue_row('area_metrics', 'false');
create trigger coach_embed_remeasured
    after update on public.areas
    for each row
    when (
        not new.archived
        and (new.behavior_metrics is distinct from old.behavior_metrics or old.archived and new.behavior_metrics <> '[]')
    )
    execute function coach.queue_row('area_metrics', 'false');

-- Days in snippets are the user's own: another zone, and the worker looks at what names one.
create function coach.queue_zone() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before, expands)
    select new.id, 'user_profiles', new.id, now(), true
    where exists (select from auth.users u where u.id = new.id)
        and not exists (
            select from public.user_analytics_preferences c where c.user_id = new.id and not c.record_rag_snippets
        )
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;
    return null;
end
$$;
create trigger coach_embed_moved
    after update on public.user_profiles
    for each row
    when (new.timezone is distinct from old.timezone)
    execute function coach.queue_zone();

-- Messages. The turn itself embeds both of its own within seconds and takes them out of the queue again; half a minute
-- later they are the worker's, whatever became of the server.
create function coach.queue_message() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
    select new.user_id, 'ai_conversation_memory', new.id, now() + interval '30 seconds'
    where exists (select from auth.users u where u.id = new.user_id)
        and not exists (
            select
            from public.user_analytics_preferences c
            where c.user_id = new.user_id and not c.record_rag_snippets
        )
        and not exists (
            select
            from public.conversations c
            where c.user_id = new.user_id and c.id = new.conversation_id and c.incognito
        )
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;
    return null;
end
$$;
create trigger coach_embed_added
    after insert on public.ai_conversation_memory
    for each row
    when (
        new.message_embedding is null
        and not new.deleted
        and new.status in ('complete', 'interrupted')
        and new.message_role <> 'system'
        and new.message_content <> ''
    )
    execute function coach.queue_message();
create trigger coach_embed_changed
    after update on public.ai_conversation_memory
    for each row
    when (
        new.message_embedding is null
        and not new.deleted
        and new.status in ('complete', 'interrupted')
        and new.message_role <> 'system'
        and new.message_content <> ''
        and (new.message_content, new.status, new.deleted) is distinct from (old.message_content, old.status, old.deleted)
    )
    execute function coach.queue_message();

-- A vector is always of the text beside it: another text has none until it is embedded, a tombstone never.
create function coach.outdate_vector() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    new.message_embedding := null;
    new.embedding_model := null;
    return new;
end
$$;
create trigger coach_outdate_vector
    before update on public.ai_conversation_memory
    for each row
    when (
        (new.message_content is distinct from old.message_content or new.deleted)
        and new.message_embedding is not null
        and new.message_embedding is not distinct from old.message_embedding
    )
    execute function coach.outdate_vector();

create function coach.unqueue_message() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if tg_op = 'DELETE' or new.deleted then
        delete from public.embedding_queue
        where user_id = old.user_id and entity_table = 'ai_conversation_memory' and entity_id = old.id;
    end if;
    delete from public.message_embeddings where user_id = old.user_id and message_id = old.id;
    return null;
end
$$;
create trigger coach_embed_deleted
    after delete on public.ai_conversation_memory
    for each row execute function coach.unqueue_message();
create trigger coach_embed_dropped
    after update on public.ai_conversation_memory
    for each row
    when (new.message_content is distinct from old.message_content or new.deleted and not old.deleted)
    execute function coach.unqueue_message();

-- Withdrawing purges in the same transaction; giving again queues everything that it kept out. No row means the defaults,
-- which are all given, so old on insert and new on delete read as such.
create function coach.follow_consent() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
    person uuid := coalesce(new.user_id, old.user_id);
    remembers boolean := coalesce(new.record_rag_snippets, true);
    remembered boolean := coalesce(old.record_rag_snippets, true);
    reflects boolean := coalesce(new.store_behavioral_embeddings, true);
    reflected boolean := coalesce(old.store_behavioral_embeddings, true);
    measures boolean := coalesce(new.track_pillar_metrics, true);
    measured boolean := coalesce(old.track_pillar_metrics, true);
    context_changed boolean := coalesce(new.store_task_context, true) <> coalesce(old.store_task_context, true);
    queued bigint;
begin
    if tg_op = 'INSERT' then
        -- Who stores a vector right now held no row of preferences, since there was none (coach.hold_preferences).
        perform from public.user_profiles where id = person for no key update;
    end if;
    if not remembers then
        delete from public.embedding_queue where user_id = person;
        delete from public.user_metadata_embeddings where user_id = person;
        delete from public.message_embeddings where user_id = person;
        update public.ai_conversation_memory
        set message_embedding = null, embedding_model = null
        where user_id = person and message_embedding is not null;
        return null;
    end if;
    if not reflects then
        delete from public.embedding_queue
        where user_id = person and entity_table in ('journal_entries', 'pillar_metrics', 'area_metrics');
        delete from public.user_metadata_embeddings
        where user_id = person and domain_tag in ('journal_entry', 'behavior_summary');
    elsif not measures then
        delete from public.embedding_queue
        where user_id = person and entity_table in ('pillar_metrics', 'area_metrics');
        delete from public.user_metadata_embeddings where user_id = person and domain_tag = 'behavior_summary';
    end if;
    if context_changed and not coalesce(new.store_task_context, true) then
        delete from public.user_metadata_embeddings e
        using public.tasks t
        where e.user_id = person
            and e.domain_tag = 'task'
            and t.user_id = e.user_id
            and t.id = e.entity_id
            and t.task_metadata <> '{}';
    end if;
    if (remembers, reflects, measures) = (remembered, reflected, measured) and not context_changed then
        return null;
    end if;
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
    select e.user_id, e.entity_table, e.entity_id, now()
    from coach.embeddable e
    where e.user_id = person
        and (
            not remembered
            or not reflected and e.entity_table in ('journal_entries', 'pillar_metrics', 'area_metrics')
            or not measured and e.entity_table in ('pillar_metrics', 'area_metrics')
            or context_changed and e.entity_table = 'tasks' and exists (
                select from public.tasks t where t.user_id = e.user_id and t.id = e.entity_id and t.task_metadata <> '{}'
            )
        )
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;
    get diagnostics queued = row_count;
    if queued > 0 then
        insert into public.webhook_logs (user_id, webhook_type, table_name, status)
        values (person, 'metadata_embedding_queued', 'user_analytics_preferences', 'queued');
    end if;
    return null;
end
$$;
drop trigger coach_purge_withdrawn on public.user_analytics_preferences;
drop function coach.purge_withdrawn();
create trigger coach_follow_consent
    after insert or update or delete on public.user_analytics_preferences
    for each row execute function coach.follow_consent();

revoke all on all functions in schema coach from public;

-- What was there before this file. The worker skips what has its vector and the same text.
insert into public.embedding_queue (user_id, entity_table, entity_id)
select user_id, entity_table, entity_id
from coach.embeddable
on conflict do nothing;
