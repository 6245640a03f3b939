-- after: messages, consents
-- Withdrawing purges in the same transaction; giving again queues everything that it kept out. No row means the defaults,
-- so old on insert and new on delete read as such. What a kind needs stands in coach.entity_kinds.
create function coach.apply_consent_change() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
    owner uuid := coalesce(new.user_id, old.user_id);
    given text[] := coach.given_consents(coach.filled(new));
    was_given text[] := coach.given_consents(coach.filled(old));
    k coach.entity_kinds;
    needed text[];
    to_queue text[] := '{}';
    queued bigint := 0;
begin
    if tg_op = 'INSERT' then
        -- Who stores a vector right now held no row of preferences, since there was none (coach.lock_consents).
        perform from public.user_profiles where id = owner for no key update;
    end if;
    -- What is covered by a consent for everything goes whole, also what no kind knows.
    if not coach.needed_consents('*') <@ given then
        delete from public.embedding_queue where user_id = owner;
        delete from public.user_metadata_embeddings where user_id = owner;
        perform coach.purge_messages(owner);
        return null;
    end if;
    for k in select * from coach.entity_kinds order by queue_name loop
        needed := coach.needed_consents(k.queue_name);
        if not needed <@ given then
            delete from public.embedding_queue where user_id = owner and entity_table = k.queue_name;
            delete from public.user_metadata_embeddings where user_id = owner and domain_tag = k.kind;
        elsif not needed <@ was_given then
            to_queue := to_queue || k.queue_name;
        elsif (k.detail_consent = any (given)) is distinct from (k.detail_consent = any (was_given)) then
            queued := queued + coach.queue_detailed(owner, k, k.detail_consent = any (given));
        end if;
    end loop;
    queued := queued + coach.queue_kinds(owner, to_queue);
    needed := coach.needed_consents('ai_conversation_memory');
    if not needed <@ given then
        perform coach.purge_messages(owner);
    elsif not needed <@ was_given then
        queued := queued + coach.queue_messages(owner);
    end if;
    if not coach.needed_consents('user_profiles') <@ given then
        delete from public.embedding_queue where user_id = owner and entity_table = 'user_profiles';
    end if;
    if queued > 0 then
        insert into public.webhook_logs (user_id, webhook_type, table_name, status)
        values (owner, 'metadata_embedding_queued', 'user_analytics_preferences', 'queued');
    end if;
    return null;
end
$$;

-- The rows of a kind that have a detail which a consent lets the coach read; without it their vectors go at once.
create function coach.queue_detailed(p_user_id uuid, k coach.entity_kinds, p_is_given boolean) returns bigint
language plpgsql
as $$
begin
    if not p_is_given then
        execute format(
            'delete from public.user_metadata_embeddings e
            using public.%I t
            where e.user_id = $1
                and e.domain_tag = $2
                and t.user_id = e.user_id
                and t.id = e.entity_id
                and t.%I <> ''{}''',
            k.table_name, k.detail_column
        )
        using p_user_id, k.kind;
    end if;
    return coach.queue_matching(p_user_id, k, format('t.%I <> ''{}''', k.detail_column), now());
end
$$;

-- What is remembered of conversations. The queue first: whoever stores a vector holds the queue row.
create function coach.purge_messages(p_user_id uuid) returns void
language sql
set search_path = ''
as $$
    delete from public.embedding_queue where user_id = p_user_id and entity_table = 'ai_conversation_memory';
    delete from public.message_embeddings where user_id = p_user_id;
    update public.ai_conversation_memory
    set message_embedding = null, embedding_model = null
    where user_id = p_user_id and message_embedding is not null;
$$;

-- The consents of a row that may not be there: then the defaults.
create function coach.filled(p_row public.user_analytics_preferences) returns coach.consent_set
language sql stable
set search_path = ''
as $$
    select jsonb_populate_record(
        null::coach.consent_set,
        (select jsonb_object_agg(name, by_default) from coach.consents)
            || coalesce(jsonb_strip_nulls(to_jsonb(p_row)), '{}')
    )
$$;

create trigger coach_apply_consent_change
    after insert or update or delete on public.user_analytics_preferences
    for each row execute function coach.apply_consent_change();
