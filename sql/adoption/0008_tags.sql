-- An app tags its vectors in its own words: plurals, other cases, a word of the kind's name. The registry says which kind
-- is meant.
do $$
declare
    target regclass := to_regclass('public.user_metadata_embeddings');
    found text := (
        select format_type(atttypid, atttypmod)
        from pg_attribute
        where attrelid = target and attname = 'domain_tag' and not attisdropped
    );
    old record;
    renamed bigint;
begin
    if found is null or (select relkind from pg_class where oid = target) <> 'r' then
        return;
    end if;
    for old in
        select conname from pg_constraint
        join pg_attribute on attrelid = conrelid and attnum = any (conkey)
        where conrelid = target and contype in ('c', 'f') and attname = 'domain_tag'
    loop
        execute format('alter table %s drop constraint %I', target, old.conname);
    end loop;
end
$$;
