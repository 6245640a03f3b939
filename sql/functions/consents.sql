-- after: access, dependents
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
        drop trigger if exists coach_hold_person on public.user_analytics_preferences;
        create trigger coach_hold_person
            before insert or update or delete on public.user_analytics_preferences
            for each statement
            when (pg_trigger_depth() = 0)
            execute function coach.hold_alone();
    end if;
end
$$;
grant execute on function coach.hold_preferences(uuid) to coach_session, service_role;

-- The names of the consents that a row of preferences gives; null, no row, gives the defaults.
create function coach.given_consents(p_preferences jsonb) returns text[]
language sql stable
as $$
    select array(
        select name
        from unnest(array[
            'analytics_consent', 'ai_behavior_tracking', 'performance_tracking', 'error_reporting',
            'track_ai_insights_usage', 'track_ai_actions_usage', 'track_goal_planner_usage',
            'track_navigation_patterns', 'track_search_queries', 'share_anonymous_stats', 'track_pillar_metrics',
            'record_rag_snippets', 'store_task_context', 'track_flow_states', 'store_behavioral_embeddings'
        ]) name
        where coalesce((p_preferences ->> name)::boolean, name <> 'track_search_queries')
        order by name
    )
$$;
grant execute on function coach.given_consents(jsonb) to authenticated, service_role;
