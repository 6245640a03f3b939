-- name: held_jobs()
-- For operators. Few rows ever; the reason is the last entry of its log, index (job_id, created).
select
    j.id,
    j.entrypoint as name,
    j.attempts + 1 as attempts,
    j.updated as failed_at,
    coalesce(
        (
            select l.traceback ->> 'exception_message'
            from coach_jobs.pgqueuer_log l
            where l.job_id = j.id and l.status = 'failed'
            order by l.created desc, l.id desc
            limit 1
        ),
        ''
    ) as error
from coach_jobs.pgqueuer j
where j.status = 'failed'
order by j.updated desc
limit 100;

-- name: delete_held_jobs(name, except_id)!
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

-- name: prune_keys(before)!
-- One for each turn of /v1 and each request with a key. Index (created_at); the same limit as in the query
-- "idempotent".
delete from idempotency_keys
where created_at <= :before;

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

-- name: list_lost_reservations(before)
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

-- name: my_pipeline(user_id, now)^
-- GET /api/me/pipeline. Given up is what has no time any more at which it is due. Primary key prefix.
select
    count(*) filter (where not_before < 'infinity') as waiting,
    count(*) filter (where not_before = 'infinity') as failed,
    coalesce(extract(epoch from :now - min(created_at) filter (where not_before < 'infinity')), 0)::float8 as oldest_seconds
from embedding_queue
where user_id = :user_id;

-- name: audit(user_id, before, before_id, limit)
-- GET /api/me/audit, newest first. Index (user_id, triggered_at).
select id, webhook_type, table_name, status, error_message, row_count, triggered_at, processed_at
from webhook_logs
where user_id = :user_id
    and (triggered_at, id) < (:before, :before_id)
order by triggered_at desc, id desc
limit :limit::integer;

-- name: queue_age(now)$
-- Health and metrics: how long the longest waiting row is due. The first entry of the index on not_before.
select coalesce(extract(epoch from :now - min(not_before)), 0)::float8
from embedding_queue
where not_before <= :now;

-- name: queue_rows()^
-- Metrics and GET /admin/pipeline: waiting, given up. The index on not_before.
select
    count(*) filter (where not_before < 'infinity') as waiting,
    count(*) filter (where not_before = 'infinity') as failed
from embedding_queue;

-- name: embedded_since(since)$
-- GET /admin/pipeline: rows that were done, whenever they were changed. Partial index on processed_at.
select coalesce(sum(row_count), 0)::bigint
from webhook_logs
where webhook_type = 'metadata_embedding_completed' and processed_at >= :since;

-- name: dead_letters(limit)
-- GET /admin/pipeline. The index on not_before.
select user_id, entity_table, entity_id, attempts, last_error as error, created_at as since
from embedding_queue
where not_before = 'infinity'
order by created_at desc
limit :limit::integer;

-- name: retry_dead_letters(now)!
-- POST /admin/pipeline/retry.
update embedding_queue
set not_before = :now, attempts = 0, last_error = null
where not_before = 'infinity';

-- name: usage(month, after, limit)
-- GET /admin/usage: a row a user who used or holds anything, by user. ai_interactions by (user_id, created_at).
select
    m.user_id, m.used, m.reserved, l.monthly_limit as limit,
    coalesce(i.input_tokens, 0)::bigint as input_tokens, coalesce(i.output_tokens, 0)::bigint as output_tokens,
    coalesce(i.cost_usd, 0)::float8 as cost_usd
from ai_quota_months m
left join coach.ai_limits l on l.user_id = m.user_id
left join lateral (
    select
        sum(a.input_tokens) as input_tokens, sum(a.output_tokens) as output_tokens, sum(a.cost_usd) as cost_usd
    from ai_interactions a
    where a.user_id = m.user_id and a.quota_month = m.month
) i on true
where m.month = :month and m.user_id > coalesce(:after::uuid, '00000000-0000-0000-0000-000000000000')
order by m.user_id
limit :limit::integer;

-- name: usage_total(month)^
-- GET /admin/usage: all users together.
select
    (select count(*) from ai_quota_months where month = :month and used + reserved > 0) as users,
    (select coalesce(sum(used), 0)::bigint from ai_quota_months where month = :month) as used,
    coalesce(sum(input_tokens), 0)::bigint as input_tokens,
    coalesce(sum(output_tokens), 0)::bigint as output_tokens,
    coalesce(sum(cost_usd), 0)::float8 as cost_usd
from ai_interactions
where quota_month = :month;
