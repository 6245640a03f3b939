-- The last door: whatever stores a snippet, of a forgotten row none gets in, and of a corrected one no other wording.
-- Whoever corrects holds the person's row of embedding_models meanwhile, which all who store vectors hold a share of.
create function coach.keep_corrected() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if exists (
        select
        from public.memory_corrections k
        where k.user_id = new.user_id
            and k.domain_tag = new.domain_tag
            and k.entity_id = coalesce(new.entity_id, new.id)
            and k.content is distinct from new.text_snippet
    ) then
        return null;
    end if;
    return new;
end
$$;
create trigger coach_keep_corrected
    before insert or update on public.user_metadata_embeddings
    for each row execute function coach.keep_corrected();

-- A forgotten row is not even read again, unless others carry its name.
create function coach.leave_forgotten() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if exists (
        select
        from public.memory_corrections k
        where k.user_id = new.user_id
            and k.domain_tag = coach.domain_of(new.entity_table)
            and k.entity_id = new.entity_id
            and k.content is null
    ) then
        return null;
    end if;
    return new;
end
$$;

create function coach.domain_of(p_table text) returns text
language sql immutable parallel safe
return case p_table
    when 'pillars' then 'pillar'
    when 'areas' then 'area'
    when 'projects' then 'project'
    when 'tasks' then 'task'
    when 'journal_entries' then 'journal_entry'
    when 'pillar_metrics' then 'behavior_summary'
    when 'area_metrics' then 'behavior_summary'
end;
create trigger coach_leave_forgotten
    before insert on public.embedding_queue
    for each row
    when (not new.expands and new.entity_table not in ('ai_conversation_memory', 'user_profiles'))
    execute function coach.leave_forgotten();

-- What was said about a row goes with it.
create function coach.drop_corrections() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    delete from public.memory_corrections
    where user_id = old.user_id and domain_tag = any (tg_argv[0]::text[]) and entity_id = old.id;
    return null;
end
$$;
create trigger coach_drop_corrections
    after delete on public.pillars
    for each row execute function coach.drop_corrections('{pillar, behavior_summary}');
create trigger coach_drop_corrections
    after delete on public.areas
    for each row execute function coach.drop_corrections('{area, behavior_summary}');
create trigger coach_drop_corrections
    after delete on public.projects
    for each row execute function coach.drop_corrections('{project}');
create trigger coach_drop_corrections
    after delete on public.tasks
    for each row execute function coach.drop_corrections('{task}');
create trigger coach_drop_corrections
    after delete on public.journal_entries
    for each row execute function coach.drop_corrections('{journal_entry}');

-- What a vector's entity is called in the queue: a text that the next model refuses waits there, and is given up there,
-- while its old vector serves. Summaries of areas are numbered downwards, those of pillars upwards.
create function coach.queued_as(p_domain_tag text, p_chunk integer) returns text
language sql immutable
as $$
    select case p_domain_tag
        when 'pillar' then 'pillars'
        when 'area' then 'areas'
        when 'project' then 'projects'
        when 'task' then 'tasks'
        when 'journal_entry' then 'journal_entries'
        when 'behavior_summary' then case when p_chunk < 0 then 'area_metrics' else 'pillar_metrics' end
    end
$$;
grant execute on function coach.queued_as(text, integer) to service_role;

grant execute on function coach.domain_of(text) to authenticated, service_role;
