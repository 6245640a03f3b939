-- after: tables, kinds
-- The trigger functions of the embedding pipeline. coach.watch puts them on a table (functions/watch.sql).

-- Rows of one kind, queued: all of one user's at once, since imports come by the thousand. Consents and corrections are
-- looked up once. What the user had forgotten is not even read again, unless others carry its name. The lease of a row
-- that is there stays as it is: a worker that holds one finds another version when it comes to finish.
create function coach.enqueue(
    p_user_id uuid, p_queue_name text, p_ids uuid[], p_due timestamptz, p_expands boolean default false
)
returns bigint
language plpgsql
as $$
declare
    queued bigint;
    forgotten uuid[] := array(
        select entity_id
        from public.memory_corrections
        where user_id = p_user_id
            and domain_tag = (select kind from coach.entity_kinds where queue_name = p_queue_name)
            and content is null
            and not p_expands
    );
begin
    if not (coach.has_account(p_user_id) and coach.may_embed(p_user_id, p_queue_name)) then
        return 0;
    end if;
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before, expands)
    select p_user_id, p_queue_name, id, p_due, p_expands
    from unnest(p_ids) id
    where id <> all (forgotten)
    order by id
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1,
        not_before = excluded.not_before,
        expands = q.expands or excluded.expands,
        attempts = 0,
        last_error = null;
    get diagnostics queued = row_count;
    return queued;
end
$$;

-- New rows, those of one statement. Arguments: their name in the queue and the column that hides them.
create function coach.queue_added() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    execute format(
        'select coach.enqueue(user_id, $1, array_agg(id), now()) from added where not %I group by user_id', tg_argv[1]
    )
    using tg_argv[0];
    return null;
end
$$;

-- A changed row. Arguments: what it is called in the queue, and whether others carry its name.
create function coach.queue_row() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    perform coach.enqueue(new.user_id, tg_argv[0], array[new.id], now(), tg_argv[1]::boolean);
    return null;
end
$$;

-- A row that was deleted or hidden leaves the queue and the search from that commit on, and what a user said about it goes
-- with it. Arguments: its names in the queue, and of each the kind and the sign of its chunks. Its vectors are deleted
-- twice: what a change of model was copying at that moment is seen by the second. Index: the unique one of
-- user_metadata_embeddings.
create function coach.unqueue_row() returns trigger
language plpgsql security definer
set search_path = ''
set enable_seqscan = off
as $$
declare
    kinds text[] := tg_argv[1];
    signs integer[] := tg_argv[2];
begin
    delete from public.embedding_queue
    where user_id = old.user_id and entity_table = any (tg_argv[0]::text[]) and entity_id = old.id;
    for attempt in 1 .. 2 loop
        delete from public.user_metadata_embeddings e
        where e.user_id = old.user_id
            and e.domain_tag = any (kinds)
            and e.entity_id = old.id
            and signs[array_position(kinds, e.domain_tag)] in (0, sign(e.chunk));
    end loop;
    if tg_op = 'DELETE' then
        delete from public.memory_corrections
        where user_id = old.user_id and domain_tag = any (kinds) and entity_id = old.id;
    end if;
    return null;
end
$$;
grant execute on function coach.enqueue to coach_session, service_role;
