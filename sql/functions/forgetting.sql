-- What is deleted is never retrieved again, from that commit on. Index: the unique one of user_metadata_embeddings.
create function coach.forget() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    delete from public.user_metadata_embeddings
    where user_id = old.user_id and domain_tag = tg_argv[0] and entity_id = old.id;
    return null;
end
$$;
create trigger coach_forget
    after delete on public.pillars for each row execute function coach.forget('pillar');
create trigger coach_forget
    after delete on public.areas for each row execute function coach.forget('area');
create trigger coach_forget
    after delete on public.projects for each row execute function coach.forget('project');
create trigger coach_forget
    after delete on public.tasks for each row execute function coach.forget('task');
create trigger coach_forget
    after delete on public.journal_entries for each row execute function coach.forget('journal_entry');
create trigger coach_forget_deleted
    after update of deleted on public.journal_entries
    for each row
    when (new.deleted and not old.deleted)
    execute function coach.forget('journal_entry');
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
