-- after: adoption, kinds, messages, tags
-- What an app's backend and its triggers write into our tables without knowing our columns. It goes on, and is made ours.

-- A vector that came without its model is the app's: a new one, or another in the place of one of ours. Its tag may be a
-- table's name.
create function coach.label_snippet() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    new.embedding_model := coach.app_model();
    new.content_hash := null;
    new.domain_tag := coalesce(coach.meant_kind(new.domain_tag), new.domain_tag);
    return new;
end
$$;
create trigger coach_label_added
    before insert on public.user_metadata_embeddings
    for each row
    when (new.embedding_model is null)
    execute function coach.label_snippet();
-- Our own statements say of which text a vector is. Compared by their bytes, as in functions/messages.sql.
create trigger coach_label_changed
    before update on public.user_metadata_embeddings
    for each row
    when (
        new.embedding_model is not distinct from old.embedding_model
        and new.content_hash is not distinct from old.content_hash
        and halfvec_send(new.embedding) is distinct from halfvec_send(old.embedding)
    )
    execute function coach.label_snippet();

create function coach.label_message() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    new.embedding_model := case when new.message_embedding is not null then coach.app_model() end;
    return new;
end
$$;
create trigger coach_label_added
    before insert on public.ai_conversation_memory
    for each row
    when ((new.embedding_model is null) <> (new.message_embedding is null))
    execute function coach.label_message();
create trigger coach_label_changed
    before update on public.ai_conversation_memory
    for each row
    when (
        (new.embedding_model is null) <> (new.message_embedding is null)
        or new.embedding_model = old.embedding_model
        and halfvec_send(new.message_embedding) is distinct from halfvec_send(old.message_embedding)
    )
    execute function coach.label_message();

-- Another model's vector is compared with nothing of ours, so the message is embedded once more.
create function coach.queue_labelled() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if new.embedding_model is distinct from (
        select serving_model from public.embedding_models where user_id = new.user_id
    ) then
        perform coach.enqueue(new.user_id, 'ai_conversation_memory', array[new.id], now());
    end if;
    return null;
end
$$;
create trigger coach_embed_labelled
    after insert or update of message_embedding on public.ai_conversation_memory
    for each row
    when (new.embedding_model = coach.app_model() and coach.is_said(new))
    execute function coach.queue_labelled();

-- What an app's backend asks of a model counts like a turn. Ours names the month in which it was reserved.
create function coach.count_interaction() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    new.quota_month := date_trunc('month', new.created_at at time zone 'UTC')::date;
    insert into public.ai_quota_months as m (user_id, month, used)
    values (new.user_id, new.quota_month, 1)
    on conflict (user_id, month) do update
    set used = m.used + 1;
    return new;
end
$$;
create trigger coach_count_interaction
    before insert on public.ai_interactions
    for each row
    when (new.quota_month is null and new.user_id is not null and new.status <> 'refunded')
    execute function coach.count_interaction();

-- An event without a user is the caller's, or else the system's; a status of an app's own words becomes one of ours.
create function coach.take_event() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if new.status is null or new.status not in ('pending', 'queued', 'processing', 'completed', 'error') then
        new.status := case when new.error_message is null then 'completed' else 'error' end;
    end if;
    new.user_id := coalesce(new.user_id, auth.uid());
    if new.user_id is not null then
        return new;
    end if;
    insert into coach.system_log (webhook_type, table_name, row_id, old_value, status, error_message, processed_at)
    values (
        new.webhook_type, new.table_name, new.id::text, to_jsonb(new), new.status, new.error_message, new.processed_at
    );
    return null;
end
$$;
create trigger coach_take_event
    before insert on public.webhook_logs
    for each row
    when (
        new.user_id is null
        or new.status is null
        or new.status not in ('pending', 'queued', 'processing', 'completed', 'error')
    )
    execute function coach.take_event();

-- Whether a role may do it, be it to some columns only.
create function coach.is_let(p_role name, p_table regclass, p_command text) returns boolean
language sql stable
as $$
    select case p_command
        when 'delete' then has_table_privilege(p_role, p_table, p_command)
        else has_any_column_privilege(p_role, p_table, p_command)
    end
$$;

-- A trigger of an app's that runs as the browser's role writes what a browser may not. It may; a browser itself still may
-- not.
create function coach.require_trigger() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if pg_trigger_depth() < 2 and current_setting('role') in ('anon', 'authenticated') then
        raise exception 'permission denied for table %', tg_table_name using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;

do $$
declare
    written record;
begin
    -- What the file granted when it was applied last; its triggers are gone by now.
    for written in
        select parts[1] as command, parts[2] as name
        from coach.functions
        cross join unnest(made) object
        cross join regexp_match(object, '^trigger "A_require_trigger_(\w+)" on (.*)$') parts
        where parts is not null
    loop
        execute format('revoke %s on %s from authenticated', written.command, written.name);
    end loop;
    for written in
        -- materialized: each pattern is compiled for an app's own functions only, and not for PostgreSQL's 3,400
        with theirs as materialized (
            select p.*
            from pg_proc p
            join pg_language l on l.oid = p.prolang and l.lanname in ('sql', 'plpgsql')
            where not p.prosecdef
                and p.pronamespace::regnamespace::text not in ('coach', 'pg_catalog', 'information_schema')
        )
        select owned.polrelid::regclass as name, p.oid::regprocedure as writer, command.name as command
        from pg_policy owned
        join pg_class c on c.oid = owned.polrelid and c.relnamespace = 'public'::regnamespace
        cross join (values ('insert', 'insert\s+into'), ('update', 'update'), ('delete', 'delete\s+from'))
            command (name, words)
        join theirs p
            on p.prosrc ~* format('\m%s\s+(only\s+)?("?public"?\.)?"?%s"?\M', command.words, c.relname)
        where owned.polname = 'coach_only_own'
            and exists (
                select
                from pg_trigger
                join pg_proc f on f.oid = tgfoid
                where not tgisinternal
                    and not f.prosecdef
                    and (f.oid = p.oid or f.prosrc ~ (coach.name_pattern(p.proname) || '"?\s*\('))
            )
            and not coach.is_let('authenticated', c.oid, command.name)
        order by 1, 2, 3
    loop
        execute format('grant %s on %s to authenticated', written.command, written.name);
        execute format(
            'create or replace trigger "A_require_trigger_%1$s"
            before %1$s on %2$s
            for each statement
            execute function coach.require_trigger()',
            written.command, written.name
        );
        perform coach.report(format(
            'public.%s: %s by %s, in a trigger, as the browser''s role; it may, a browser itself may not',
            written.name, case written.command when 'insert' then 'written' else written.command || 'd' end, written.writer
        ));
    end loop;
end
$$;

-- What the app's policies let a browser do and our grants do not is the app's to change.
do $$
declare
    lost record;
begin
    for lost in
        select owned.polrelid::regclass as name, string_agg(distinct command.name, ', ') as commands
        from pg_policy owned
        join pg_policy theirs on theirs.polrelid = owned.polrelid and theirs.polpermissive and theirs.polname !~ '^coach_'
        join (values ('insert', 'a'), ('update', 'w'), ('delete', 'd')) command (name, code)
            on theirs.polcmd in ('*', command.code::"char")
        where owned.polname = 'coach_only_own'
            and theirs.polroles && array[0::oid, 'authenticated'::regrole]
            and not coach.is_let('authenticated', owned.polrelid, command.name)
        group by owned.polrelid
        order by 1
    loop
        perform coach.report(format(
            'public.%s: the app''s policies let a browser %s, which it may not any more; consider: do it in the app''s '
                'backend, with the service key, or through the coach''s API',
            lost.name, lost.commands
        ), 'warning');
    end loop;
end
$$;
