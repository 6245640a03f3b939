-- after: access, queue, said
-- Messages that wait for their first vector.
create function coach.queue_messages(p_user_id uuid) returns bigint
language sql
as $$
    select coach.enqueue(
        p_user_id,
        'ai_conversation_memory',
        array(select id from coach.said_messages where user_id = p_user_id and message_embedding is null),
        now()
    )
$$;

-- All that a user's consents let us embed: for rows that came past the triggers, by a back-up or before there was a queue.
-- The worker skips what has its vector and the same text.
create function coach.queue_everything(p_user_id uuid) returns bigint
language sql
as $$
    select coach.queue_kinds(p_user_id, array(select queue_name from coach.entity_kinds)) + coach.queue_messages(p_user_id)
$$;

-- Messages. The turn itself embeds both of its own within seconds and takes them out of the queue again; half a minute
-- later they are the worker's, whatever became of the server.
create function coach.queue_message() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if not exists (
        select
        from public.conversations c
        where c.user_id = new.user_id and c.id = new.conversation_id and c.incognito
    ) then
        perform coach.enqueue(
            new.user_id, 'ai_conversation_memory', array[new.id], now() + interval '30 seconds'
        );
    end if;
    return null;
end
$$;
create trigger coach_embed_added
    after insert on public.ai_conversation_memory
    for each row
    when (new.message_embedding is null and coach.is_said(new))
    execute function coach.queue_message();
create trigger coach_embed_changed
    after update on public.ai_conversation_memory
    for each row
    when (
        new.message_embedding is null
        and coach.is_said(new)
        and (new.message_content, new.status, new.deleted) is distinct from (old.message_content, old.status, old.deleted)
    )
    execute function coach.queue_message();

-- A vector is always of the text beside it: another text has none until it is embedded, a tombstone never.
create function coach.outdate_vector() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    new.message_embedding := null;
    new.embedding_model := null;
    return new;
end
$$;
-- Compared by their bytes: a dump is restored without the extension's operators on the path.
create trigger coach_outdate_vector
    before update on public.ai_conversation_memory
    for each row
    when (
        (new.message_content is distinct from old.message_content or new.deleted)
        and new.message_embedding is not null
        and halfvec_send(new.message_embedding) is not distinct from halfvec_send(old.message_embedding)
    )
    execute function coach.outdate_vector();

create function coach.unqueue_message() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if tg_op = 'DELETE' or new.deleted then
        delete from public.embedding_queue
        where user_id = old.user_id and entity_table = 'ai_conversation_memory' and entity_id = old.id;
    end if;
    delete from public.message_embeddings where user_id = old.user_id and message_id = old.id;
    return null;
end
$$;
create trigger coach_embed_deleted
    after delete on public.ai_conversation_memory
    for each row execute function coach.unqueue_message();
create trigger coach_embed_dropped
    after update on public.ai_conversation_memory
    for each row
    when (new.message_content is distinct from old.message_content or new.deleted and not old.deleted)
    execute function coach.unqueue_message();

-- The model that serves a user, under a share lock: a switch to another waits until what is being stored is there.
-- Registers a user at their first vector. If another program wrote vectors before, their model serves.
create function coach.lock_serving_model(p_user_id uuid, p_model text) returns text
language plpgsql
as $$
declare
    serving text;
begin
    select serving_model into serving from public.embedding_models where user_id = p_user_id for share;
    if not found then
        insert into public.embedding_models (user_id, serving_model)
        select
            p_user_id,
            coalesce(
                (select e.embedding_model from public.user_metadata_embeddings e where e.user_id = p_user_id limit 1),
                (
                    select m.embedding_model
                    from public.ai_conversation_memory m
                    where m.user_id = p_user_id and m.message_embedding is not null
                    limit 1
                ),
                p_model
            )
        where coach.has_account(p_user_id)
        on conflict do nothing;
        select serving_model into serving from public.embedding_models where user_id = p_user_id for share;
    end if;
    return serving;
end
$$;

-- Vectors of messages that a turn has stored, and their places in the queue given up. Held until then: a consent, so
-- that none is written after its withdrawal, and the serving model, so that a switch waits and then finds them. Where
-- another model serves it returns true and stores nothing: the worker has both models. Ids, texts and vectors are
-- parallel; a message without a vector, or with another text by now, keeps its place in the queue.
create function coach.remember_messages(
    p_user_id uuid,
    p_model text,
    p_ids uuid[],
    p_texts text[],
    p_vectors halfvec[]
)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
declare
    serving text;
begin
    perform coach.lock_user(p_user_id);
    perform from public.user_analytics_preferences where user_id = p_user_id for share;
    if not found then
        perform coach.lock_consents(p_user_id);
    end if;
    if not coach.may_embed(p_user_id, 'ai_conversation_memory') then
        return false;
    end if;
    serving := coach.lock_serving_model(p_user_id, p_model);
    if serving is distinct from p_model then
        return true;
    end if;
    for place in 1 .. cardinality(p_ids) loop
        update public.ai_conversation_memory
        set message_embedding = p_vectors[place], embedding_model = p_model
        where user_id = p_user_id
            and id = p_ids[place]
            and p_vectors[place] is not null
            and message_content = p_texts[place]
            and embedding_model is distinct from p_model
            and not deleted;
    end loop;
    -- After the messages themselves: the order in which every writer locks them.
    delete from public.embedding_queue q
    using public.ai_conversation_memory m
    where q.user_id = p_user_id
        and q.entity_table = 'ai_conversation_memory'
        and q.entity_id = any (p_ids)
        and m.user_id = q.user_id
        and m.id = q.entity_id
        and m.message_embedding is not null;
    return false;
end
$$;

grant execute on function coach.remember_messages to coach_session;
grant execute on function coach.lock_serving_model to coach_session, service_role;
