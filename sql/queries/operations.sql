-- name: held_jobs()
-- For operators. Few rows ever; the reason is the last entry of its log, index (job_id, created).
select
    j.id,
    j.entrypoint,
    j.attempts + 1,
    j.updated,
    coalesce(
        (
            select l.traceback ->> 'exception_message'
            from coach_jobs.pgqueuer_log l
            where l.job_id = j.id and l.status = 'failed'
            order by l.created desc, l.id desc
            limit 1
        ),
        ''
    )
from coach_jobs.pgqueuer j
where j.status = 'failed'
order by j.updated desc
limit 100;

-- name: forget_held(name, except_id)!
-- Of a periodic job one failure at most is held, and none once it has worked again.
delete from coach_jobs.pgqueuer
where entrypoint = :name and dedupe_key = :name and status = 'failed' and id <> :except_id;

-- name: log_held(name, error)!
insert into coach.system_log (webhook_type, table_name, status, error_message, processed_at)
values ('job_held', :name, 'error', :error, now());

-- name: prune_job_log(before)!
-- What the runner writes at every change of state. Index (created).
delete from coach_jobs.pgqueuer_log
where created < :before;

-- name: refresh_views()!
select refresh_behavior_views();

-- name: views_not_refreshed()
-- In the transaction of the refresh, which writes an outcome a view and raises for none.
select table_name
from coach.system_log
where webhook_type = 'view_refresh' and status = 'error' and triggered_at = now();

-- name: orphaned_turns(dead_since)
-- Turns of processes that are gone, of all users. The table holds running turns only.
select c.user_id, c.message_id
from turn_checkpoints c
join ai_conversation_memory m on m.user_id = c.user_id and m.id = c.message_id
where c.heartbeat < :dead_since and m.status = 'streaming'
limit 1000;

-- name: lost_reservations(before)
-- Reserved, but no turn runs for it: its conversation was deleted, or it never got further. Partial index on reserved.
select i.user_id, i.id, i.quota_month
from ai_interactions i
where i.status = 'reserved'
    and i.created_at < :before
    and not exists (
        select
        from turn_checkpoints c
        where c.user_id = i.user_id and c.message_id = i.message_id
    )
limit 1000;

-- name: refund(user_id, id)!
-- The caller holds the lock of its month.
update ai_interactions
set status = 'refunded', success = false, error_message = 'The turn is gone.'
where user_id = :user_id and id = :id and status = 'reserved';

-- name: miscounted_months()
-- Months that count more reservations than there are. Partial index on reserved > 0.
select m.user_id, m.month
from ai_quota_months m
where m.reserved > (
    select count(*)
    from ai_interactions i
    where i.user_id = m.user_id and i.quota_month = m.month and i.status = 'reserved'
)
limit 1000;

-- name: recount_month(user_id, month)!
-- Under the lock of the month no turn can begin or end, so that the count is true.
update ai_quota_months m
set reserved = (
    select count(*)
    from ai_interactions i
    where i.user_id = m.user_id and i.quota_month = m.month and i.status = 'reserved'
)
where m.user_id = :user_id and m.month = :month;
