-- after: access
-- What a turn writes, each part as one function: one round trip in place of up to eight, and plans that the
-- session keeps, which prepared statements could not be behind a transaction pooler. docs/decisions/0012-turn-latency.md
-- has the figures. They run as whoever calls, so row level security holds, and lock in one order: quota month,
-- conversation, messages, interaction.

-- The rows of a turn that begins. The unit is reserved and the conversation locked already. Without p_text the question
-- is stored; without p_key the caller named none.
create function coach.begin_turn(
    p_user_id uuid,
    p_conversation_id uuid,
    p_question_id uuid,
    p_question_key text,
    p_parent_id uuid,
    p_revision_of uuid,
    p_text text,
    p_answer_id uuid,
    p_answer_key text,
    p_context jsonb,
    p_model text,
    p_owner text,
    p_interaction_id uuid,
    p_feature text,
    p_details jsonb,
    p_month date,
    p_key text,
    p_request_hash text,
    p_now timestamptz
)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
begin
    if p_text is not null then
        insert into public.ai_conversation_memory (
            user_id, id, conversation_id, client_id, parent_id, revision_of, conversation_date, message_role,
            message_content, status, created_at, updated_at
        )
        values (
            p_user_id, p_question_id, p_conversation_id, p_question_key, p_parent_id, p_revision_of, p_now, 'user',
            p_text, 'complete', p_now, p_now
        );
    end if;
    -- Empty until the turn ends; its text so far stands in turn_checkpoints.
    insert into public.ai_conversation_memory (
        user_id, id, conversation_id, client_id, parent_id, conversation_date, message_role, message_content,
        model_used, context_window, status, created_at, updated_at
    )
    values (
        p_user_id, p_answer_id, p_conversation_id, p_answer_key, p_question_id, p_now, 'assistant', '',
        p_model, p_context, 'streaming', p_now + interval '1 microsecond', p_now
    );
    -- The leaf that the conversation shows.
    update public.conversations
    set current_message_id = p_answer_id
    where user_id = p_user_id and id = p_conversation_id;
    insert into public.turn_checkpoints (user_id, message_id, owner, heartbeat)
    values (p_user_id, p_answer_id, p_owner, p_now);
    insert into public.ai_interactions (
        user_id, id, feature_type, feature_details, conversation_id, user_message_id, message_id, quota_month,
        idempotency_key, model, status, success, created_at
    )
    values (
        p_user_id, p_interaction_id, p_feature, p_details, p_conversation_id, p_question_id, p_answer_id, p_month,
        p_key, p_model, 'reserved', false, p_now
    );
    if p_key is not null then
        insert into public.idempotency_keys (user_id, key, request_hash, conversation_id, message_id, created_at)
        values (p_user_id, p_key, p_request_hash, p_conversation_id, p_answer_id, p_now)
        on conflict (user_id, key) do update
        set request_hash = excluded.request_hash,
            conversation_id = excluded.conversation_id,
            message_id = excluded.message_id,
            created_at = excluded.created_at;
    end if;
end
$$;

-- The answer's final state, the settled unit and the logged interaction. False, and nothing settled, where the turn was
-- closed before: its heartbeat had stopped for too long. p_thresholds are percents of the limit, p_warnings what the
-- audit trail calls them; each is logged once a month, by the turn that passes it.
create function coach.end_turn(
    p_user_id uuid,
    p_month date,
    p_limit integer,
    p_conversation_id uuid,
    p_answer_id uuid,
    p_interaction_id uuid,
    p_status text,
    p_text text,
    p_finish_reason text,
    p_model text,
    p_context jsonb,
    p_units integer,
    p_interaction_status text,
    p_error text,
    p_details jsonb,
    p_input_tokens integer,
    p_output_tokens integer,
    p_first_token_ms integer,
    p_processing_ms integer,
    p_thresholds integer[],
    p_warnings text[],
    p_now timestamptz
)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
declare
    taken integer;
    warned_before integer;
    has_month boolean;
begin
    perform coach.lock_user(p_user_id);
    select used, warned
    into taken, warned_before
    from public.ai_quota_months
    where user_id = p_user_id and month = p_month
    for update;
    has_month := found;
    update public.conversations
    set updated_at = p_now
    where user_id = p_user_id and id = p_conversation_id;
    update public.ai_conversation_memory
    set message_content = p_text,
        status = p_status,
        finish_reason = p_finish_reason,
        tokens_used = coalesce(p_output_tokens, 0),
        model_used = p_model,
        context_window = context_window || p_context,
        updated_at = p_now
    where user_id = p_user_id and id = p_answer_id and status = 'streaming';
    delete from public.turn_checkpoints
    where user_id = p_user_id and message_id = p_answer_id;
    update public.ai_interactions
    set status = p_interaction_status,
        success = p_status = 'complete',
        error_message = p_error,
        feature_details = feature_details || p_details,
        model = p_model,
        tokens_used = coalesce(p_input_tokens, 0) + coalesce(p_output_tokens, 0),
        input_tokens = p_input_tokens,
        output_tokens = p_output_tokens,
        first_token_ms = p_first_token_ms,
        processing_time_ms = p_processing_ms
    where user_id = p_user_id and id = p_interaction_id and status = 'reserved';
    if not found then
        return false;
    end if;
    if not has_month then
        return true;
    end if;
    if p_units > 0 then
        insert into public.webhook_logs (user_id, webhook_type, table_name, triggered_at, status, processed_at)
        select p_user_id, passed.kind, 'ai_quota_months', p_now, 'completed', p_now
        from unnest(p_thresholds, p_warnings) passed (percent, kind)
        where passed.percent > warned_before and (taken + p_units) * 100 >= passed.percent * p_limit
        order by passed.percent;
    end if;
    update public.ai_quota_months
    set used = used + p_units,
        reserved = greatest(reserved - 1, 0),
        warned = greatest(
            warned,
            (
                select max(percent)
                from unnest(p_thresholds) percent
                where p_units > 0 and (taken + p_units) * 100 >= percent * p_limit
            )
        )
    where user_id = p_user_id and month = p_month;
    return true;
end
$$;

-- Text so far and heartbeat of running turns of several users, each written as that user: row level security sees one
-- after the other. A locked row is left for the next time, so that this statement waits for no lock. Returns the turns
-- that must stop: a stop was requested, or their row was deleted.
create function coach.checkpoint(
    p_user_ids uuid[],
    p_message_ids uuid[],
    p_contents text[],
    p_contexts jsonb[],
    p_now timestamptz
)
returns uuid[]
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
declare
    stopping uuid[] := '{}';
    is_asked boolean;
begin
    for place in 1 .. cardinality(p_user_ids) loop
        perform set_config(
            'request.jwt.claims',
            json_build_object('sub', p_user_ids[place], 'role', 'authenticated')::text,
            true
        );
        select stop_requested
        into is_asked
        from public.turn_checkpoints
        where user_id = p_user_ids[place] and message_id = p_message_ids[place];
        if is_asked or not found then
            stopping := stopping || p_message_ids[place];
        end if;
        perform
        from public.turn_checkpoints
        where user_id = p_user_ids[place] and message_id = p_message_ids[place]
        for update skip locked;
        if found then
            update public.turn_checkpoints
            set content = coalesce(p_contents[place], content),
                context = coalesce(p_contexts[place], context),
                heartbeat = p_now
            where user_id = p_user_ids[place] and message_id = p_message_ids[place];
        end if;
    end loop;
    return stopping;
end
$$;

grant execute on function coach.begin_turn, coach.checkpoint to coach_session;
grant execute on function coach.end_turn to coach_session, service_role;
