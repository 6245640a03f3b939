-- after: kinds
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

create trigger coach_leave_forgotten
    before insert on public.embedding_queue
    for each row
    when (not new.expands and new.entity_table not in ('ai_conversation_memory', 'user_profiles'))
    execute function coach.leave_forgotten();
