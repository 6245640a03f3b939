-- after: queue
-- New rows: those of one statement at once, since imports come by the thousand. On Citus, which has no transition tables,
-- one by one.
create function coach.queue_added() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
    -- Whose rows are embedded: the consents are asked once a person and not once a row.
    people uuid[] := array(
        select p.user_id
        from (select distinct user_id from added) p
        where exists (select from auth.users u where u.id = p.user_id)
            and not exists (
                select
                from public.user_analytics_preferences c
                where c.user_id = p.user_id
                    and (
                        not c.record_rag_snippets
                        or not c.store_behavioral_embeddings and tg_table_name = 'journal_entries'
                    )
            )
    );
begin
    if tg_table_name = 'journal_entries' then
        insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
        select user_id, tg_table_name, id, now()
        from added
        where not deleted and user_id = any (people)
        on conflict (user_id, entity_table, entity_id) do update
        set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;
    else
        insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
        select user_id, tg_table_name, id, now()
        from added
        where not archived and user_id = any (people)
        on conflict (user_id, entity_table, entity_id) do update
        set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;
    end if;
    return null;
end
$$;

do $$
declare
    life text;
begin
    foreach life in array array['pillars', 'areas', 'projects', 'tasks', 'journal_entries'] loop
        if coach.on_citus() then
            execute format(
                'create trigger coach_embed_added
                after insert on public.%1$I
                for each row
                when (not new.%2$I)
                execute function coach.queue_row(%1$L, false)',
                life,
                case life when 'journal_entries' then 'deleted' else 'archived' end
            );
        else
            execute format(
                'create trigger coach_embed_added
                after insert on public.%I
                referencing new table as added
                for each statement
                execute function coach.queue_added()',
                life
            );
        end if;
    end loop;
end
$$;
