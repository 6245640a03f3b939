-- What is put away is gone from the search as if it were deleted: the triggers of 0100 queue it again when it is taken up.
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
create trigger coach_forget_archived
    after update on public.pillars
    for each row
    when (new.archived and not old.archived)
    execute function coach.forget('pillar');
create trigger coach_forget_archived
    after update on public.areas
    for each row
    when (new.archived and not old.archived)
    execute function coach.forget('area');
create trigger coach_forget_archived
    after update on public.projects
    for each row
    when (new.archived and not old.archived)
    execute function coach.forget('project');
create trigger coach_forget_archived
    after update on public.tasks
    for each row
    when (new.archived and not old.archived)
    execute function coach.forget('task');
