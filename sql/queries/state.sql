-- Live facts about one person, read on every turn.

-- name: live_facts(user_id, now, horizon, tasks, deadlines, changed)$
-- As text: it is decoded straight into its types.
select coach.live_facts(:user_id, :now, :horizon, :tasks::integer, :deadlines::integer, :changed::integer)::text;
