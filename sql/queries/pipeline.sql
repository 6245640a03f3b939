-- The embedding queue and its worker, as service_role: every statement names its users itself.

-- name: due(now, scan)
-- Who has something due, and how often it was tried without an end, the longest waiting first. Index
-- embedding_queue_not_before_idx; at most :scan rows are looked at, so that a backlog of millions costs no more.
select user_id, least(attempts, 8) as attempts
from (
    select user_id, attempts, not_before
    from embedding_queue
    where not_before <= :now and leased_until < :now
    order by not_before
    limit :scan::integer
) waiting
group by user_id, least(attempts, 8)
order by min(not_before);

-- name: claim(user_id, token, now, until, least_attempts, most_attempts, limit)
-- Per user, so that it stays on one shard; index embedding_queue_due_idx, which is partial. The token fences completion.
with due as (
    select entity_table, entity_id
    from embedding_queue
    where user_id = :user_id
        and not_before <= :now
        and not_before < 'infinity'
        and leased_until < :now
        and attempts between :least_attempts::integer and :most_attempts::integer
    order by not_before
    limit :limit::integer
    for update skip locked
)
update embedding_queue q
set lease_token = :token, leased_until = :until, attempts = q.attempts + 1
from due
where q.user_id = :user_id and q.entity_table = due.entity_table and q.entity_id = due.entity_id
returning
    q.user_id, q.entity_table as table, q.entity_id as id, q.version, q.attempts, q.expands, q.created_at as queued_at;

-- name: renew(user_id, token, until)*!
-- This and the following statements, except storing, skip a row that a user is writing. It becomes due when its lease
-- ends. Waiting for it would delay other users' rows and could deadlock.
with free as (
    select entity_table, entity_id
    from embedding_queue
    where user_id = :user_id and lease_token = :token
    for update skip locked
)
update embedding_queue q
set leased_until = :until
from free
where q.user_id = :user_id and q.entity_table = free.entity_table and q.entity_id = free.entity_id;

-- name: still_leased(users, token)
-- Whose rows of a batch are neither finished nor given back.
select distinct user_id
from embedding_queue
where user_id = any (:users::uuid[]) and lease_token = :token;

-- name: release_rows(user_id, token, not_before)!
-- Given back as if never claimed: edited meanwhile, a stop, an upstream that is away, a consent that changed. An edit has
-- set attempts to 0. Due again at once, or not before.
with free as (
    select entity_table, entity_id
    from embedding_queue
    where user_id = :user_id and lease_token = :token
    for update skip locked
)
update embedding_queue q
set lease_token = null,
    leased_until = '-infinity',
    attempts = greatest(q.attempts - 1, 0),
    not_before = greatest(q.not_before, :not_before)
from free
where q.user_id = :user_id and q.entity_table = free.entity_table and q.entity_id = free.entity_id;

-- name: charge(user_id, entity_table, entity_id, version, token, not_before, error)*!
-- A fault of this row's own. An edit meanwhile (another version) gets its chance at once.
with free as (
    select entity_table, entity_id
    from embedding_queue
    where user_id = :user_id and entity_table = :entity_table and entity_id = :entity_id and lease_token = :token
    for update skip locked
)
update embedding_queue q
set lease_token = null,
    leased_until = '-infinity',
    not_before = case when q.version = :version then :not_before else q.not_before end,
    last_error = case when q.version = :version then :error else q.last_error end
from free
where q.user_id = :user_id and q.entity_table = free.entity_table and q.entity_id = free.entity_id;

-- name: bury(user_id, now, most_attempts)
-- At a claim: rows that killed every worker that claimed them. No other statement charges those.
with free as (
    select entity_table, entity_id
    from embedding_queue
    where user_id = :user_id
        and not_before <= :now
        and not_before < 'infinity'
        and leased_until < :now
        and attempts >= :most_attempts::integer
    for update skip locked
)
update embedding_queue q
set not_before = 'infinity',
    lease_token = null,
    leased_until = '-infinity',
    last_error = coalesce(q.last_error, 'Every worker that took it ended before it was done.')
from free
where q.user_id = :user_id and q.entity_table = free.entity_table and q.entity_id = free.entity_id
returning q.entity_table, q.created_at;

-- name: hold(user_id, token, tables, ids, versions)
-- Rows that may be finished: still claimed, not edited since, not locked by an open transaction. Locked here, so that
-- edits, deletes and purges wait for the commit.
select q.entity_table, q.entity_id
from unnest(:tables::text[], :ids::uuid[], :versions::bigint[]) k (entity_table, entity_id, version)
join embedding_queue q
    on q.user_id = :user_id and q.entity_table = k.entity_table and q.entity_id = k.entity_id and q.version = k.version
where q.lease_token = :token
for update of q skip locked;

-- name: finish(user_id, tables, ids)!
delete from embedding_queue q
using unnest(:tables::text[], :ids::uuid[]) k (entity_table, entity_id)
where q.user_id = :user_id and q.entity_table = k.entity_table and q.entity_id = k.entity_id;

-- name: expand(user_id, entity_table, entity_id, now)!
-- A parent was renamed or moved: what names it.
select coach.queue_carriers(:user_id, :entity_table, :entity_id, :now);

-- name: users_of(users)
-- Consents, zone and models of those whose rows were claimed.
select
    u.user_id, coach.given_consents(c) as consents, coalesce(p.timezone, 'UTC') as timezone, e.serving_model as serving
from unnest(:users::uuid[]) u (user_id)
cross join lateral coach.consents_of(u.user_id) c
left join user_profiles p on p.id = u.user_id
left join embedding_models e on e.user_id = u.user_id;

-- name: lock_consents(user_id)$
-- The same once more under a share lock, in the transaction that stores: nothing is written after a withdrawal.
select coach.given_consents(c) as consents
from coach.lock_consents(:user_id) c;

-- name: lock_serving_model(user_id, model)$
-- Null of an account that was deleted.
select coach.lock_serving_model(:user_id, :model);

-- name: read_entities(queue_name, users, ids)
-- Of what was hidden nothing is found, so that nothing of it stays. As text: it is read off the event loop.
select user_id, id, updated_at, columns::text as columns
from coach.read_entities(:queue_name, :users::uuid[], :ids::uuid[]);

-- name: messages(users, ids)
-- With the models that it has vectors of already.
select
    m.user_id, m.id, m.author_name as author, m.message_content as content, m.embedding_model as own_model,
    array(
        select o.embedding_model from message_embeddings o where o.user_id = m.user_id and o.message_id = m.id
    ) as other_models
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join coach.said_messages m on m.user_id = k.user_id and m.id = k.id;

-- name: known(users, domains, ids)
-- What is embedded of these entities. Unique (user_id, domain_tag, entity_id, chunk, embedding_model).
select
    e.user_id, e.domain_tag as domain, e.entity_id as id,
    json_agg(json_build_array(e.chunk, e.embedding_model, e.content_hash))::text as texts
from unnest(:users::uuid[], :domains::text[], :ids::uuid[]) k (user_id, domain_tag, entity_id)
join user_metadata_embeddings e
    on e.user_id = k.user_id and e.domain_tag = k.domain_tag and e.entity_id = k.entity_id
group by e.user_id, e.domain_tag, e.entity_id;

-- name: store_snippet(user_id, domain_tag, entity_id, chunk, title, text, embedding, model, content_hash, updated_at)*!
insert into user_metadata_embeddings (
    user_id, domain_tag, entity_id, chunk, title, text_snippet, embedding, embedding_model, content_hash, updated_at
)
values (
    :user_id, :domain_tag, :entity_id, :chunk, :title, :text, :embedding, :model, :content_hash, :updated_at
)
on conflict (user_id, domain_tag, entity_id, chunk, embedding_model) do update
set title = excluded.title,
    text_snippet = excluded.text_snippet,
    embedding = excluded.embedding,
    content_hash = excluded.content_hash,
    updated_at = excluded.updated_at;

-- name: drop_snippet(user_id, domain_tag, entity_id, chunk, model)*!
-- A chunk that is no longer there, or that is outdated and cannot be embedded by its model any more.
delete from user_metadata_embeddings
where user_id = :user_id
    and domain_tag = :domain_tag
    and entity_id = :entity_id
    and chunk = :chunk
    and embedding_model = :model;

-- name: lock_messages(user_id, ids)!
-- Messages before their queue rows, as every writer of messages does.
select
from ai_conversation_memory
where user_id = :user_id and id = any (:ids::uuid[])
order by id
for no key update;

-- name: store_message(user_id, id, content, embedding, model)*!
-- Only for the text that was embedded.
update ai_conversation_memory
set message_embedding = :embedding, embedding_model = :model
where user_id = :user_id
    and id = :id
    and message_content = :content
    and embedding_model is distinct from :model
    and not deleted;

-- name: store_target_vector(user_id, id, content, embedding, model)*!
-- The vector of the target model.
insert into message_embeddings (user_id, message_id, embedding_model, embedding)
select :user_id, m.id, :model, :embedding
from ai_conversation_memory m
where m.user_id = :user_id and m.id = :id and m.message_content = :content and not m.deleted
on conflict (user_id, message_id, embedding_model) do update
set embedding = excluded.embedding;

-- name: log_audit(user_id, kind, table_name, since, status, error, rows, now)*!
-- The audit trail: one line a user, table and batch, however many rows that was.
insert into webhook_logs (
    user_id, webhook_type, table_name, triggered_at, status, error_message, row_count, processed_at
)
select :user_id, :kind, :table_name, :since, :status, :error, :rows, :now
where coach.has_account(:user_id);
