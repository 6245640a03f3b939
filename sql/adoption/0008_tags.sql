-- An app tags its vectors in its own words: plurals, capitals, a part of a kind's name. The registry says what is meant.
do $$
declare
    target regclass := to_regclass('public.user_metadata_embeddings');
    old record;
    tagged record;
begin
    if not exists (
        select
        from pg_attribute
        join pg_class c on c.oid = attrelid
        where attrelid = target and relkind = 'r' and attname = 'domain_tag' and not attisdropped
    ) then
        return;
    end if;
    perform coach.pause_triggers(target);
    for old in
        select conname
        from pg_constraint
        join pg_attribute on attrelid = conrelid and attnum = any (conkey)
        where conrelid = target and attname = 'domain_tag' and contype in ('c', 'f')
    loop
        perform coach.drop_constraint(target, old.conname);
    end loop;
    perform coach.drop_narrow_keys(target, target, '{chunk,domain_tag,embedding_model,entity_id,user_id}');
    if (select atttypid <> 'text'::regtype from pg_attribute where attrelid = target and attname = 'domain_tag') then
        perform coach.convert_column(target, 'domain_tag', 'text', 'user_id');
    end if;
    for tagged in
        select domain_tag as old, coach.meant_kind(domain_tag) as new, count(*) as rows
        from public.user_metadata_embeddings
        where domain_tag not in (select kind from coach.entity_kinds)
        group by domain_tag
        order by domain_tag
    loop
        if tagged.new is null then
            perform coach.report(format(
                'public.user_metadata_embeddings: %s rows are tagged %L, which is no kind; the coach does not find them',
                tagged.rows, tagged.old
            ), 'warning');
        else
            update public.user_metadata_embeddings set domain_tag = tagged.new where domain_tag = tagged.old;
            perform coach.report(format(
                'public.user_metadata_embeddings: %s rows tagged %L are tagged %L now', tagged.rows, tagged.old, tagged.new
            ), 'converted');
        end if;
    end loop;
end
$$;
