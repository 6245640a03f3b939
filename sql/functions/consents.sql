-- after: access, declaring
-- Consents, declared once: here, and nowhere else. A new one is an entry of this list. Its column in
-- user_analytics_preferences, the functions below, the API's types (coach/kinds/consents.py) and the table in
-- docs/privacy.md are made from it. It covers, so that nothing of them is stored without it:
-- entities: what is embedded, by its name in embedding_queue, beside the kinds that name the consent themselves
-- (coach.entity_kinds); events: kinds of behaviour event. '*' is all of them.
do $do$
begin
    perform coach.declare_consents($json$
[
    {"name": "record_rag_snippets", "default": true, "entities": ["*"],
        "stops": "every snippet and vector: none is made, kept or retrieved. Withdrawing purges them in the same transaction. The receipt says that memory was withheld. No text reaches the embedder. Live facts are still read"},
    {"name": "store_task_context", "default": true,
        "stops": "`task_metadata` (energy, cognitive load, tags) in snippets and prompts. Withdrawing purges the snippets that hold it; they are made again without it"},
    {"name": "track_pillar_metrics", "default": true,
        "stops": "behaviour metrics: refused when written, left out of prompts and views. Withdrawing purges their weekly summaries"},
    {"name": "track_flow_states", "default": true,
        "events": ["flow_entry", "flow_exit", "flow_session", "procrastination_trigger", "context_switch"],
        "stops": "flow events: refused when written, left out of prompts"},
    {"name": "store_behavioral_embeddings", "default": true,
        "stops": "vectors of journal entries and behaviour summaries. Withdrawing purges them"},
    {"name": "track_search_queries", "default": false, "events": ["search"],
        "stops": "behaviour events of searches"},
    {"name": "track_navigation_patterns", "default": true, "events": ["navigation", "page_view"],
        "stops": "behaviour events of navigation and page views"},
    {"name": "track_ai_insights_usage", "default": true, "events": ["ai_insight"],
        "stops": "behaviour events of AI insights"},
    {"name": "track_ai_actions_usage", "default": true, "events": ["ai_action"],
        "stops": "behaviour events of AI actions"},
    {"name": "track_goal_planner_usage", "default": true, "events": ["goal_planner"],
        "stops": "behaviour events of the goal planner"},
    {"name": "analytics_consent", "default": true, "events": ["*"],
        "stops": "all behaviour events; nudges, and the display of earlier ones"},
    {"name": "ai_behavior_tracking", "default": true, "events": ["ai_interaction"],
        "stops": "events of AI use; nudges, and the display of earlier ones"},
    {"name": "performance_tracking", "default": true, "events": ["performance"],
        "stops": "behaviour events of performance"},
    {"name": "error_reporting", "default": true, "events": ["error"],
        "stops": "behaviour events of errors"},
    {"name": "share_anonymous_stats", "default": true,
        "stops": "the user's rows in population baselines (there are none so far)"}
]
$json$);
end
$do$;

select coach.drop_functions('user_has_consented');
create function public.user_has_consented(p_user_id uuid, p_consent text) returns boolean
language plpgsql stable
set search_path = ''
as $$
declare
    given boolean := (select (to_jsonb(c) ->> p_consent)::boolean from coach.consents_of(p_user_id) c);
begin
    if given is null then
        raise exception '% is not a consent', coalesce(p_consent, 'null') using errcode = 'invalid_parameter_value';
    end if;
    return case when coach.may_act_for(p_user_id) then given end;
end
$$;
select coach.keep_results('user_has_consented');

-- Raises where a consent is not given, for a trigger on rows of p_user_id. Nobody else's consent is told: whoever does not
-- act for them is refused as row level security would.
create function coach.require_consent(p_user_id uuid, p_consent text, p_field text) returns void
language plpgsql stable
set search_path = ''
as $$
declare
    given boolean := public.user_has_consented(p_user_id, p_consent);
begin
    if given is null then
        raise exception '%: this is another user''s row', p_field using errcode = 'insufficient_privilege';
    elsif not given then
        raise exception '%: % is not consented to', p_field, p_consent using errcode = 'CA002';
    end if;
end
$$;

-- Locks a user's consents until the end of the transaction. Every transaction that stores a vector takes this first, so
-- a withdrawal waits for it and then purges its vectors. A user without a row of preferences has their profile locked
-- instead, which a first choice locks as well (coach.apply_consent_change).
create function coach.lock_consents(p_user_id uuid) returns setof coach.consent_set
language plpgsql rows 1
set search_path = ''
as $$
begin
    perform coach.lock_user(p_user_id);
    perform from public.user_analytics_preferences where user_id = p_user_id for share;
    if not found then
        perform from public.user_profiles where id = p_user_id for share;
        perform from public.user_analytics_preferences where user_id = p_user_id for share;
    end if;
    return query select c.* from coach.consents_of(p_user_id) c;
end
$$;

-- PATCH /api/me/preferences, by the names of columns.
create function coach.change_preferences(p_user_id uuid, p_changes jsonb) returns void
language plpgsql
set search_path = ''
as $$
begin
    insert into public.user_analytics_preferences (user_id) values (p_user_id) on conflict (user_id) do nothing;
    execute format(
        'update public.user_analytics_preferences p
        set %s
        from jsonb_populate_record(null::public.user_analytics_preferences, $2) wanted
        where p.user_id = $1',
        (select string_agg(format('%1$I = wanted.%1$I', name), ', ') from jsonb_object_keys(p_changes) name)
    )
    using p_user_id, p_changes;
end
$$;

-- A change of consents touches rows of many tables, so no other transaction of this user may run meanwhile. A
-- transaction that has written before has a share of the lock already. Two of those that want the whole lock would
-- deadlock, so such a transaction keeps its share.
create function coach.lock_user_exclusively() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if pg_current_xact_id_if_assigned() is null then
        perform from coach.accounts where user_id = auth.uid() for update;
    else
        perform from coach.accounts where user_id = auth.uid() for key share;
    end if;
    if not found then
        perform coach.see_account(auth.uid());
    end if;
    return null;
end
$$;

do $$
begin
    if not coach.on_citus() then
        drop trigger if exists coach_lock_user on public.user_analytics_preferences;
        create trigger coach_lock_user
            before insert or update or delete on public.user_analytics_preferences
            for each statement
            when (pg_trigger_depth() = 0)
            execute function coach.lock_user_exclusively();
    end if;
end
$$;

grant execute on function coach.consents_of, coach.given_consents, coach.require_consent to authenticated, service_role;
grant execute on function coach.lock_consents to coach_session, service_role;
grant execute on function coach.change_preferences to coach_session;
