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
