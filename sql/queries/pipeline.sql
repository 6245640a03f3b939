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
-- Like all that follow but the storing: a row that somebody writes at the moment is left alone, and comes back with the
-- end of its lease. To wait for it would keep those of others, and two that wait for each other fail one of them.
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

-- name: let_go(user_id, token, not_before)!
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
-- At claim time: rows that took every worker down which claimed them have nobody left to charge them.
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
-- What may be finished: ours still, not edited since, and not by somebody's open transaction. Locked, so that edits,
-- deletes and purges wait for the commit.
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
-- A parent was renamed or moved: what names it. Indexes *_own_idx of the foreign keys.
insert into embedding_queue as q (user_id, entity_table, entity_id, not_before)
select :user_id, named.entity_table, named.id, :now
from (
    select 'areas' as entity_table, a.id
    from areas a
    where a.user_id = :user_id and not a.archived and :entity_table = 'pillars' and a.pillar_id = :entity_id
    union all
    select 'projects', p.id
    from projects p
    left join areas a on a.user_id = p.user_id and a.id = p.area_id
    where p.user_id = :user_id
        and not p.archived
        and (
            :entity_table = 'pillars' and a.pillar_id = :entity_id
            or :entity_table = 'areas' and p.area_id = :entity_id
            or :entity_table = 'user_profiles' and p.deadline is not null
        )
    union all
    select 'tasks', t.id
    from tasks t
    left join projects p on p.user_id = t.user_id and p.id = t.project_id
    left join areas a on a.user_id = p.user_id and a.id = p.area_id
    where t.user_id = :user_id
        and not t.archived
        and (
            :entity_table = 'pillars' and a.pillar_id = :entity_id
            or :entity_table = 'areas' and p.area_id = :entity_id
            or :entity_table = 'projects' and t.project_id = :entity_id
            or :entity_table = 'user_profiles' and t.completed_at is not null
        )
    union all
    select 'journal_entries', j.id
    from journal_entries j
    where j.user_id = :user_id and :entity_table = 'user_profiles' and not j.deleted
    union all
    select 'pillar_metrics', l.id
    from pillars l
    where l.user_id = :user_id
        and l.behavior_metrics <> '[]'
        and not l.archived
        and (:entity_table = 'pillars' and l.id = :entity_id or :entity_table = 'user_profiles')
    union all
    select 'area_metrics', a.id
    from areas a
    where a.user_id = :user_id
        and a.behavior_metrics <> '[]'
        and not a.archived
        and (:entity_table = 'areas' and a.id = :entity_id or :entity_table = 'user_profiles')
) named
order by named.entity_table, named.id
on conflict (user_id, entity_table, entity_id) do update
set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;

-- name: people(users)
-- Consents, zone and models of those whose rows were claimed. No row of preferences means the defaults.
select
    u.user_id,
    coalesce(c.record_rag_snippets, true) as remember,
    coalesce(c.store_task_context, true) as task_context,
    coalesce(c.store_behavioral_embeddings, true) as behavioral,
    coalesce(c.track_pillar_metrics, true) as metrics,
    coalesce(p.timezone, 'UTC') as timezone,
    e.serving_model as serving
from unnest(:users::uuid[]) u (user_id)
left join user_analytics_preferences c on c.user_id = u.user_id
left join user_profiles p on p.id = u.user_id
left join embedding_models e on e.user_id = u.user_id;

-- name: hold_person(user_id)^
-- The same once more under a share lock, in the transaction that stores: nothing is written after a withdrawal.
select
    coalesce(c.record_rag_snippets, true) as remember,
    coalesce(c.store_task_context, true) as task_context,
    coalesce(c.store_behavioral_embeddings, true) as behavioral,
    coalesce(c.track_pillar_metrics, true) as metrics
from coach.hold_preferences(:user_id) c;

-- name: register(user_id, model)!
-- Whoever is embedded for the first time. Vectors that something else has written say which model serves.
insert into embedding_models (user_id, serving_model)
select
    :user_id,
    coalesce(
        (select e.embedding_model from user_metadata_embeddings e where e.user_id = :user_id limit 1),
        (
            select m.embedding_model
            from ai_conversation_memory m
            where m.user_id = :user_id and m.message_embedding is not null
            limit 1
        ),
        :model
    )
where exists (select from auth.users u where u.id = :user_id)
on conflict do nothing;

-- name: hold_model(user_id)$
-- Under a share lock: the switch to another model waits until what is being stored is there.
select serving_model
from embedding_models
where user_id = :user_id
for share;

-- name: pillars(users, ids)
-- Here and below: of what was put away nothing is found, so that nothing of it stays.
select l.user_id, l.id, l.updated_at, l.name, l.description, l.time_allocation_percentage::float8 as time_allocation_percentage
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join pillars l on l.user_id = k.user_id and l.id = k.id and not l.archived;

-- name: areas(users, ids)
select a.user_id, a.id, a.updated_at, a.name, a.description, a.importance, l.name as pillar
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join areas a on a.user_id = k.user_id and a.id = k.id and not a.archived
left join pillars l on l.user_id = a.user_id and l.id = a.pillar_id;

-- name: projects(users, ids)
-- Days are in the user's zone; one outside of what Python can count is none.
select
    p.user_id, p.id, p.updated_at, p.name, p.description, p.status, p.priority,
    case
        when p.deadline between '0002-01-01' and '9998-12-31' then coach.local_time(p.deadline, u.timezone)::date
    end as deadline,
    p.completion_percentage::float8 as completion_percentage, a.name as area, l.name as pillar
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join projects p on p.user_id = k.user_id and p.id = k.id and not p.archived
left join areas a on a.user_id = p.user_id and a.id = p.area_id
left join pillars l on l.user_id = a.user_id and l.id = a.pillar_id
left join user_profiles u on u.id = p.user_id;

-- name: tasks(users, ids)
select
    t.user_id, t.id, t.updated_at, t.name, t.description,
    case when t.completed then 'completed' else t.status end as status, t.priority,
    case when t.due_date between '0002-01-01' and '9998-12-31' then t.due_date end as due_date,
    nullif(t.due_time, '24:00') as due_time,
    case
        when t.completed_at between '0002-01-01' and '9998-12-31'
        then coach.local_time(t.completed_at, u.timezone)::date
    end as completed_on,
    t.recurrence, t.estimated_duration, t.task_metadata, p.name as project, a.name as area, l.name as pillar
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join tasks t on t.user_id = k.user_id and t.id = k.id and not t.archived
left join projects p on p.user_id = t.user_id and p.id = t.project_id
left join areas a on a.user_id = p.user_id and a.id = p.area_id
left join pillars l on l.user_id = a.user_id and l.id = a.pillar_id
left join user_profiles u on u.id = t.user_id;

-- name: journal_entries(users, ids)
select
    j.user_id, j.id, j.updated_at, coalesce(j.title, '') as title, coalesce(j.content, '') as content, j.mood,
    j.energy_level, coalesce(j.tags, '{}') as tags,
    coach.local_time(
        case when j.created_at between '0002-01-01' and '9998-12-31' then j.created_at else j.updated_at end, u.timezone
    )::date as written_on
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join journal_entries j on j.user_id = k.user_id and j.id = k.id
left join user_profiles u on u.id = j.user_id
where not j.deleted;

-- name: pillar_metrics(users, ids)
select l.user_id, l.id, l.updated_at, l.name, 'Pillar' as kind, l.behavior_metrics as metrics
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join pillars l on l.user_id = k.user_id and l.id = k.id and not l.archived;

-- name: area_metrics(users, ids)
select a.user_id, a.id, a.updated_at, a.name, 'Area' as kind, a.behavior_metrics as metrics
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join areas a on a.user_id = k.user_id and a.id = k.id and not a.archived;

-- name: messages(users, ids)
-- With the models that it has vectors of already.
select
    m.user_id, m.id, m.author_name as author, m.message_content as content, m.embedding_model as own_model,
    array(
        select o.embedding_model from message_embeddings o where o.user_id = m.user_id and o.message_id = m.id
    ) as other_models
from unnest(:users::uuid[], :ids::uuid[]) k (user_id, id)
join ai_conversation_memory m on m.user_id = k.user_id and m.id = k.id
left join conversations c on c.user_id = m.user_id and c.id = m.conversation_id
where not m.deleted
    and m.status in ('complete', 'interrupted')
    and m.message_role <> 'system'
    and m.message_content <> ''
    and not coalesce(c.incognito, false);

-- name: known(users, domains, ids)
-- What is embedded of these entities. Unique (user_id, domain_tag, entity_id, chunk, embedding_model).
select e.user_id, e.domain_tag as domain, e.entity_id as id, e.chunk, e.embedding_model as model, e.content_hash
from unnest(:users::uuid[], :domains::text[], :ids::uuid[]) k (user_id, domain_tag, entity_id)
join user_metadata_embeddings e
    on e.user_id = k.user_id and e.domain_tag = k.domain_tag and e.entity_id = k.entity_id;

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
where user_id = :user_id and id = :id and message_content = :content and not deleted;

-- name: store_second(user_id, id, content, embedding, model)*!
-- The vector of the model that is being filled in.
insert into message_embeddings (user_id, message_id, embedding_model, embedding)
select :user_id, m.id, :model, :embedding
from ai_conversation_memory m
where m.user_id = :user_id and m.id = :id and m.message_content = :content and not m.deleted
on conflict (user_id, message_id, embedding_model) do update
set embedding = excluded.embedding;

-- name: tell(user_id, kind, table_name, since, status, error, rows, now)*!
-- The audit trail: one line a user, table and batch, however many rows that was.
insert into webhook_logs (
    user_id, webhook_type, table_name, triggered_at, status, error_message, row_count, processed_at
)
select :user_id, :kind, :table_name, :since, :status, :error, :rows, :now
where exists (select from auth.users u where u.id = :user_id);
