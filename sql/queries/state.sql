-- Live facts about one person, read on every turn. Each question is one index away.

-- name: person(user_id)^
-- Time zone, the four consents that decide what is read, and the model whose vectors serve. No row of preferences means
-- the defaults.
select
    coalesce(p.timezone, 'UTC'),
    coalesce(c.record_rag_snippets, true),
    coalesce(c.track_pillar_metrics, true),
    coalesce(c.track_flow_states, true),
    coalesce(c.store_task_context, true),
    m.serving_model
from (select :user_id::uuid as user_id) u
left join user_profiles p on p.id = u.user_id
left join user_analytics_preferences c on c.user_id = u.user_id
left join embedding_models m on m.user_id = u.user_id;

-- name: live_facts(user_id, now, today, midnight, monday, horizon, since_day, with_context, with_metrics, with_flow, with_memory, tasks, deadlines, changed)$
-- As text: it is decoded straight into its types.
select coach.live_facts(
    :user_id, :now, :today, :midnight, :monday, :horizon, :since_day, :with_context, :with_metrics, :with_flow,
    :with_memory, :tasks::integer, :deadlines::integer, :changed::integer
)::text;
