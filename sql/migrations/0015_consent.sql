-- What each consent stops, as far as rows can hold it. A missing row of preferences means the defaults.

select coach.drop_functions('user_has_consented');
create function public.user_has_consented(p_user_id uuid, p_consent text) returns boolean
language sql stable
set search_path = ''
as $$
    select case
        when not coach.acts_for(p_user_id) then null
        when p_consent <> all (array[
            'analytics_consent', 'ai_behavior_tracking', 'performance_tracking', 'error_reporting',
            'track_ai_insights_usage', 'track_ai_actions_usage', 'track_goal_planner_usage',
            'track_navigation_patterns', 'track_search_queries', 'share_anonymous_stats', 'track_pillar_metrics',
            'record_rag_snippets', 'store_task_context', 'track_flow_states', 'store_behavioral_embeddings'
        ]) then null
        else coalesce(
            (
                select (to_jsonb(p) ->> p_consent)::boolean
                from public.user_analytics_preferences p
                where p.user_id = p_user_id
            ),
            p_consent <> 'track_search_queries'
        )
    end
$$;
revoke all on function public.user_has_consented(uuid, text) from public, anon, authenticated;
grant execute on function public.user_has_consented(uuid, text) to authenticated, service_role;

-- What a person consents to, held until the end of the transaction: whoever stores a vector takes this first, and a
-- withdrawal waits for that and then purges it. Who has chosen nothing has no row that could be waited for; their profile
-- stands in for it, which a first choice locks as well (coach.follow_consent).
create function coach.hold_preferences(p_user_id uuid) returns public.user_analytics_preferences
language plpgsql
set search_path = ''
as $$
declare
    held public.user_analytics_preferences;
begin
    perform coach.hold_person(p_user_id);
    select * into held from public.user_analytics_preferences where user_id = p_user_id for share;
    if not found then
        perform from public.user_profiles where id = p_user_id for share;
        select * into held from public.user_analytics_preferences where user_id = p_user_id for share;
    end if;
    return held;
end
$$;

-- A change of consents touches rows of many tables: nothing else of this person's is under way meanwhile. A transaction
-- that has written or locked something already has its share, and two that want more than that wait for each other: it
-- keeps to the share, and its order is its own.
create function coach.hold_alone() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if pg_current_xact_id_if_assigned() is null then
        perform from auth.users where id = auth.uid() for update;
    else
        perform from auth.users where id = auth.uid() for key share;
    end if;
    return null;
end
$$;
do $$
begin
    if not coach.on_citus() then
        create or replace trigger coach_hold_person
            before insert or update or delete on public.user_analytics_preferences
            for each statement
            when (pg_trigger_depth() = 0)
            execute function coach.hold_alone();
    end if;
end
$$;

-- The kinds of behaviour event there are, and the consent each needs beside analytics_consent.
create table coach.event_kinds (
    kind text primary key,
    consent text
);
insert into coach.event_kinds (kind, consent) values
    ('flow_entry', 'track_flow_states'),
    ('flow_exit', 'track_flow_states'),
    ('flow_session', 'track_flow_states'),
    ('procrastination_trigger', 'track_flow_states'),
    ('context_switch', 'track_flow_states'),
    ('navigation', 'track_navigation_patterns'),
    ('page_view', 'track_navigation_patterns'),
    ('search', 'track_search_queries'),
    ('ai_insight', 'track_ai_insights_usage'),
    ('ai_action', 'track_ai_actions_usage'),
    ('goal_planner', 'track_goal_planner_usage'),
    ('ai_interaction', 'ai_behavior_tracking'),
    ('performance', 'performance_tracking'),
    ('error', 'error_reporting'),
    ('feature_used', null),
    ('task_created', null),
    ('task_completed', null),
    ('session_start', null),
    ('session_end', null);
grant select on coach.event_kinds to authenticated, service_role;

-- An app that was here first goes on writing the kinds it writes.
do $$
declare
    adopted text[];
begin
    with kinds as (
        insert into coach.event_kinds (kind)
        select distinct action_type
        from public.user_behavior_events
        where action_type is not null
        on conflict do nothing
        returning kind
    )
    select array_agg(kind order by kind) into adopted from kinds;
    if adopted is not null then
        perform coach.report(format('public.user_behavior_events: kinds kept: %s', array_to_string(adopted, ', ')));
    end if;
end
$$;

create function coach.check_event() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    needed text;
begin
    select consent into needed from coach.event_kinds where kind = new.action_type;
    if not found then
        raise exception 'action_type: % is not a kind of event', new.action_type
            using errcode = 'invalid_parameter_value';
    end if;
    new.flow_state_event := needed is not distinct from 'track_flow_states';
    if not public.user_has_consented(new.user_id, 'analytics_consent') then
        raise exception 'action_type: analytics_consent is not given' using errcode = 'CA002';
    end if;
    if new.ai_feature_type is not null and not public.user_has_consented(new.user_id, 'ai_behavior_tracking') then
        raise exception 'ai_feature_type: ai_behavior_tracking is not consented to' using errcode = 'CA002';
    end if;
    if needed is not null and not public.user_has_consented(new.user_id, needed) then
        raise exception 'action_type: % is not consented to', needed using errcode = 'CA002';
    end if;
    return new;
end
$$;
create or replace trigger coach_check_event
    before insert on public.user_behavior_events
    for each row execute function coach.check_event();

-- Withdrawing purges, in the same transaction. A definer, since a browser may withdraw but not write what goes.
create function coach.purge_withdrawn() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if not new.record_rag_snippets then
        delete from public.user_metadata_embeddings where user_id = new.user_id;
        delete from public.message_embeddings where user_id = new.user_id;
        delete from public.embedding_queue where user_id = new.user_id;
        update public.ai_conversation_memory
        set message_embedding = null, embedding_model = null
        where user_id = new.user_id and message_embedding is not null;
    elsif not new.store_behavioral_embeddings then
        delete from public.user_metadata_embeddings
        where user_id = new.user_id and domain_tag in ('journal_entry', 'behavior_summary');
    end if;
    return null;
end
$$;
create or replace trigger coach_purge_withdrawn
    after insert or update on public.user_analytics_preferences
    for each row
    when (not new.record_rag_snippets or not new.store_behavioral_embeddings)
    execute function coach.purge_withdrawn();

revoke all on all functions in schema coach from public;
grant execute on function coach.hold_preferences(uuid) to coach_session, service_role;
