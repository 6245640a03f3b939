-- after: embeddable
-- Withdrawing purges in the same transaction; giving again queues everything that it kept out. No row means the defaults,
-- which are all given, so old on insert and new on delete read as such.
create function coach.follow_consent() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
    person uuid := coalesce(new.user_id, old.user_id);
    remembers boolean := coalesce(new.record_rag_snippets, true);
    remembered boolean := coalesce(old.record_rag_snippets, true);
    reflects boolean := coalesce(new.store_behavioral_embeddings, true);
    reflected boolean := coalesce(old.store_behavioral_embeddings, true);
    measures boolean := coalesce(new.track_pillar_metrics, true);
    measured boolean := coalesce(old.track_pillar_metrics, true);
    context_changed boolean := coalesce(new.store_task_context, true) <> coalesce(old.store_task_context, true);
    queued bigint;
begin
    if tg_op = 'INSERT' then
        -- Who stores a vector right now held no row of preferences, since there was none (coach.hold_preferences).
        perform from public.user_profiles where id = person for no key update;
    end if;
    if not remembers then
        delete from public.embedding_queue where user_id = person;
        delete from public.user_metadata_embeddings where user_id = person;
        delete from public.message_embeddings where user_id = person;
        update public.ai_conversation_memory
        set message_embedding = null, embedding_model = null
        where user_id = person and message_embedding is not null;
        return null;
    end if;
    if not reflects then
        delete from public.embedding_queue
        where user_id = person and entity_table in ('journal_entries', 'pillar_metrics', 'area_metrics');
        delete from public.user_metadata_embeddings
        where user_id = person and domain_tag in ('journal_entry', 'behavior_summary');
    elsif not measures then
        delete from public.embedding_queue
        where user_id = person and entity_table in ('pillar_metrics', 'area_metrics');
        delete from public.user_metadata_embeddings where user_id = person and domain_tag = 'behavior_summary';
    end if;
    if context_changed and not coalesce(new.store_task_context, true) then
        delete from public.user_metadata_embeddings e
        using public.tasks t
        where e.user_id = person
            and e.domain_tag = 'task'
            and t.user_id = e.user_id
            and t.id = e.entity_id
            and t.task_metadata <> '{}';
    end if;
    if (remembers, reflects, measures) = (remembered, reflected, measured) and not context_changed then
        return null;
    end if;
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
    select e.user_id, e.entity_table, e.entity_id, now()
    from coach.embeddable e
    where e.user_id = person
        and (
            not remembered
            or not reflected and e.entity_table in ('journal_entries', 'pillar_metrics', 'area_metrics')
            or not measured and e.entity_table in ('pillar_metrics', 'area_metrics')
            or context_changed and e.entity_table = 'tasks' and exists (
                select from public.tasks t where t.user_id = e.user_id and t.id = e.entity_id and t.task_metadata <> '{}'
            )
        )
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;
    get diagnostics queued = row_count;
    if queued > 0 then
        insert into public.webhook_logs (user_id, webhook_type, table_name, status)
        values (person, 'metadata_embedding_queued', 'user_analytics_preferences', 'queued');
    end if;
    return null;
end
$$;
create trigger coach_follow_consent
    after insert or update or delete on public.user_analytics_preferences
    for each row execute function coach.follow_consent();
