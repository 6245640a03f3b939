-- after: kinds
-- The last check for every statement that stores a snippet: a deleted memory gets none, a corrected one keeps its
-- wording. A correction locks the user's row of embedding_models, of which every transaction that stores vectors has a
-- share.
create function coach.apply_correction() returns trigger
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
create trigger coach_apply_correction
    before insert or update on public.user_metadata_embeddings
    for each row execute function coach.apply_correction();

-- A forgotten row is not even read again, unless others carry its name.
create function coach.skip_deleted_memory() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    -- Most users have corrected nothing, and an import comes by the thousand rows.
    if not exists (select from public.memory_corrections k where k.user_id = new.user_id) then
        return new;
    end if;
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

create trigger coach_skip_deleted_memory
    before insert on public.embedding_queue
    for each row
    when (not new.expands and new.entity_table not in ('ai_conversation_memory', 'user_profiles'))
    execute function coach.skip_deleted_memory();
