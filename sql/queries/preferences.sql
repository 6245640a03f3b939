-- name: preferences(user_id)^
-- GET and PATCH /api/me/preferences; the defaults where there is no row. Unique (user_id).
select
    c.*,
    coalesce(p.data_retention_days, 365) as data_retention_days,
    coalesce(p.anonymize_after_days, 90) as anonymize_after_days,
    -- As text: PostgreSQL knows a 24:00, which a browser may have written.
    coalesce(to_char(p.quiet_from, 'HH24:MI'), '21:00') as quiet_from,
    coalesce(to_char(p.quiet_until, 'HH24:MI'), '08:00') as quiet_until,
    p.updated_at
from coach.consents_of(:user_id) c
left join user_analytics_preferences p on p.user_id = :user_id;

-- name: change_preferences(user_id, changes)$
-- PATCH /api/me/preferences. The trigger coach_apply_consent_change purges and queues. Unique (user_id).
select coach.change_preferences(:user_id, :changes);
