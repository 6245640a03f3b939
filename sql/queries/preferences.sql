-- name: preferences(user_id)^
-- GET and PATCH /api/me/preferences; the defaults where there is no row. Unique (user_id).
select
    coalesce(p.analytics_consent, true) as analytics_consent,
    coalesce(p.ai_behavior_tracking, true) as ai_behavior_tracking,
    coalesce(p.performance_tracking, true) as performance_tracking,
    coalesce(p.error_reporting, true) as error_reporting,
    coalesce(p.track_ai_insights_usage, true) as track_ai_insights_usage,
    coalesce(p.track_ai_actions_usage, true) as track_ai_actions_usage,
    coalesce(p.track_goal_planner_usage, true) as track_goal_planner_usage,
    coalesce(p.track_navigation_patterns, true) as track_navigation_patterns,
    coalesce(p.track_search_queries, false) as track_search_queries,
    coalesce(p.share_anonymous_stats, true) as share_anonymous_stats,
    coalesce(p.track_pillar_metrics, true) as track_pillar_metrics,
    coalesce(p.record_rag_snippets, true) as record_rag_snippets,
    coalesce(p.store_task_context, true) as store_task_context,
    coalesce(p.track_flow_states, true) as track_flow_states,
    coalesce(p.store_behavioral_embeddings, true) as store_behavioral_embeddings,
    coalesce(p.data_retention_days, 365) as data_retention_days,
    coalesce(p.anonymize_after_days, 90) as anonymize_after_days,
    -- As text: PostgreSQL knows a 24:00, which a browser may have written.
    coalesce(to_char(p.quiet_from, 'HH24:MI'), '21:00') as quiet_from,
    coalesce(to_char(p.quiet_until, 'HH24:MI'), '08:00') as quiet_until,
    p.updated_at
from (select :user_id::uuid as user_id) u
left join user_analytics_preferences p on p.user_id = u.user_id;

-- name: make_preferences(user_id)!
-- Before a first choice: the row with the defaults of the table. Unique (user_id).
insert into user_analytics_preferences (user_id)
values (:user_id)
on conflict (user_id) do nothing;

-- name: change_preferences(user_id, changes)!
-- PATCH /api/me/preferences. The trigger coach_follow_consent purges and queues. Unique (user_id).
update user_analytics_preferences p
set
    analytics_consent = coalesce(w.analytics_consent, p.analytics_consent),
    ai_behavior_tracking = coalesce(w.ai_behavior_tracking, p.ai_behavior_tracking),
    performance_tracking = coalesce(w.performance_tracking, p.performance_tracking),
    error_reporting = coalesce(w.error_reporting, p.error_reporting),
    track_ai_insights_usage = coalesce(w.track_ai_insights_usage, p.track_ai_insights_usage),
    track_ai_actions_usage = coalesce(w.track_ai_actions_usage, p.track_ai_actions_usage),
    track_goal_planner_usage = coalesce(w.track_goal_planner_usage, p.track_goal_planner_usage),
    track_navigation_patterns = coalesce(w.track_navigation_patterns, p.track_navigation_patterns),
    track_search_queries = coalesce(w.track_search_queries, p.track_search_queries),
    share_anonymous_stats = coalesce(w.share_anonymous_stats, p.share_anonymous_stats),
    track_pillar_metrics = coalesce(w.track_pillar_metrics, p.track_pillar_metrics),
    record_rag_snippets = coalesce(w.record_rag_snippets, p.record_rag_snippets),
    store_task_context = coalesce(w.store_task_context, p.store_task_context),
    track_flow_states = coalesce(w.track_flow_states, p.track_flow_states),
    store_behavioral_embeddings = coalesce(w.store_behavioral_embeddings, p.store_behavioral_embeddings),
    data_retention_days = coalesce(w.data_retention_days, p.data_retention_days),
    anonymize_after_days = coalesce(w.anonymize_after_days, p.anonymize_after_days),
    quiet_from = coalesce(w.quiet_from, p.quiet_from),
    quiet_until = coalesce(w.quiet_until, p.quiet_until)
from jsonb_to_record(:changes) as w (
    analytics_consent boolean,
    ai_behavior_tracking boolean,
    performance_tracking boolean,
    error_reporting boolean,
    track_ai_insights_usage boolean,
    track_ai_actions_usage boolean,
    track_goal_planner_usage boolean,
    track_navigation_patterns boolean,
    track_search_queries boolean,
    share_anonymous_stats boolean,
    track_pillar_metrics boolean,
    record_rag_snippets boolean,
    store_task_context boolean,
    track_flow_states boolean,
    store_behavioral_embeddings boolean,
    data_retention_days integer,
    anonymize_after_days integer,
    quiet_from time,
    quiet_until time
)
where p.user_id = :user_id;
