-- after: tables, kinds
-- The trigger functions of the embedding pipeline. coach.watch puts them on a table (functions/watch.sql).

-- New rows: those of one statement at once, since imports come by the thousand. Arguments: their name in the queue and
-- the column that hides them. Consents are looked up once a user and not once a row.
create function coach.queue_added() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
    users uuid[] := array(
        select a.user_id
        from (select distinct user_id from added) a
        where exists (select from auth.users u where u.id = a.user_id)
            and coach.may_embed(a.user_id, tg_argv[0])
    );
begin
    execute format(
        'insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before)
        select user_id, $2, id, now()
        from added
        where not %I and user_id = any ($1)
        on conflict (user_id, entity_table, entity_id) do update
        set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null',
        tg_argv[1]
    )
    using users, tg_argv[0];
    return null;
end
$$;

-- A changed row. Arguments: what it is called in the queue, and whether others carry its name. The lease stays as it is: a worker that holds one finds another version when it comes to finish.
create function coach.queue_row() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before, expands)
    select new.user_id, tg_argv[0], new.id, now(), tg_argv[1]::boolean
    where exists (select from auth.users u where u.id = new.user_id)
        and coach.may_embed(new.user_id, tg_argv[0])
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1,
        not_before = excluded.not_before,
        expands = q.expands or excluded.expands,
        attempts = 0,
        last_error = null;
    return null;
end
$$;

-- A row that was deleted or hidden leaves the queue and the search. Arguments: its names in the queue, and of each the kind
-- and the sign of its chunks. Sorts before coach_forget, which deletes the same vectors once more: what a change of model
-- was copying at that moment is seen by the second.
create function coach.unqueue_row() returns trigger
language plpgsql security definer
set search_path = ''
set enable_seqscan = off
as $$
begin
    delete from public.embedding_queue
    where user_id = old.user_id and entity_table = any (tg_argv[0]::text[]) and entity_id = old.id;
    perform coach.forget_entity(old.user_id, old.id, tg_argv[1]::text[], tg_argv[2]::integer[]);
    return null;
end
$$;

-- What is deleted is never retrieved again, from that commit on.
create function coach.forget() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    perform coach.forget_entity(old.user_id, old.id, tg_argv[0]::text[], tg_argv[1]::integer[]);
    return null;
end
$$;

-- Index: the unique one of user_metadata_embeddings.
create function coach.forget_entity(p_user_id uuid, p_id uuid, p_kinds text[], p_signs integer[]) returns void
language sql
set search_path = ''
set enable_seqscan = off
as $$
    delete from public.user_metadata_embeddings e
    where e.user_id = p_user_id
        and e.domain_tag = any (p_kinds)
        and e.entity_id = p_id
        and p_signs[array_position(p_kinds, e.domain_tag)] in (0, sign(e.chunk))
$$;

-- What a user said about a row goes with it. Argument: its kinds.
create function coach.drop_corrections() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    delete from public.memory_corrections
    where user_id = old.user_id and domain_tag = any (tg_argv[0]::text[]) and entity_id = old.id;
    return null;
end
$$;
