-- The kind that an app's tag means: a kind or its queue, in other letters, plural, or a word of it ('journals'); null if
-- it is none.
create function coach.meant_kind(p_tag text) returns text
language plpgsql stable
set search_path = ''
as $$
declare
    word text := regexp_replace(lower(trim(p_tag)), '[^a-z]+', '_', 'g');
begin
    return (
        select min(kind)
        from coach.entity_kinds
        where word in (kind, queue_name)
            or rtrim(word, 's') in (kind, split_part(kind, '_', 1))
        having count(distinct kind) = 1
    );
end
$$;
grant execute on function coach.meant_kind(text) to authenticated, service_role;
