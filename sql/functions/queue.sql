-- after: tables
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

-- What is put away is gone from the search as if it were deleted: the triggers above queue it again when it is taken up.
-- Twice over for the same reason as there: what a change of model was copying at that moment is seen by the second.
create trigger coach_embed_archived
    after update on public.pillars
    for each row
    when (new.archived and not old.archived)
    execute function coach.unqueue_row('pillars', 'pillar', 'pillar_metrics');
create trigger coach_embed_archived
    after update on public.areas
    for each row
    when (new.archived and not old.archived)
    execute function coach.unqueue_row('areas', 'area', 'area_metrics');
create trigger coach_embed_archived
    after update on public.projects
    for each row
    when (new.archived and not old.archived)
    execute function coach.unqueue_row('projects', 'project');
create trigger coach_embed_archived
    after update on public.tasks
    for each row
    when (new.archived and not old.archived)
    execute function coach.unqueue_row('tasks', 'task');
