-- name: opening(user_id, month, default_limit, client_id)^
-- A turn's first look: limit, running turns, clock, consent, the conversation if there is one, and its running session. Unique keys.
select
    coalesce(l.monthly_limit, :default_limit::integer) as monthly_limit,
    coalesce(q.reserved, 0) as running,
    coalesce(p.timezone, 'UTC') as timezone,
    a.record_rag_snippets as has_consented,
    c.id as conversation_id,
    c.current_message_id as leaf_id,
    coalesce(c.incognito, false) as is_incognito,
    (
        select array[s.id::text, s.kind, s.stage]
        from coaching_sessions s
        where s.user_id = c.user_id and s.conversation_id = c.id and s.ended_at is null
    ) as session
from (select :user_id::uuid as user_id) u
left join coach.ai_limits l on l.user_id = u.user_id
left join ai_quota_months q on q.user_id = u.user_id and q.month = :month
left join user_profiles p on p.id = u.user_id
cross join lateral coach.consents_of(u.user_id) a
left join conversations c on c.user_id = u.user_id and c.client_id = :client_id;

-- name: reserve_quota(user_id, month, monthly_limit)^
-- Takes one unit, or returns no row where none is left. One statement: two servers cannot both take the last one.
insert into ai_quota_months as q (user_id, month, used, reserved)
select :user_id, :month, 0, 1
where :monthly_limit::integer > 0
on conflict (user_id, month) do update
set reserved = q.reserved + 1
where q.used + q.reserved < :monthly_limit::integer
returning used + reserved as units, reserved as running;

-- name: quota_month(user_id, month, default_limit)^
-- For showing, and for a refusal's figures. Primary keys.
select
    coalesce(l.monthly_limit, :default_limit::integer) as monthly_limit,
    coalesce(q.used + q.reserved, 0) as taken
from (select :user_id::uuid as user_id) u
left join coach.ai_limits l on l.user_id = u.user_id
left join ai_quota_months q on q.user_id = u.user_id and q.month = :month;

-- name: lock_quota_month(user_id, month)$
-- The first lock of a repair and of a turn's end. The order is quota month, conversation, messages, interaction.
select used, warned
from coach.lock_user(:user_id)
cross join ai_quota_months
where user_id = :user_id and month = :month
for update of ai_quota_months;

-- name: refund_unit(user_id, month)!
-- Refunds a reservation.
update ai_quota_months
set reserved = greatest(reserved - 1, 0)
where user_id = :user_id and month = :month;

-- name: conversation(user_id, client_id)^
-- Unique (user_id, client_id).
select id, current_message_id, incognito
from conversations
where user_id = :user_id and client_id = :client_id;

-- name: open_conversation(user_id, id, client_id, title, feature, incognito, now)^
-- Makes it or locks it. The last column says which: a row that this statement inserted has no xmax.
insert into conversations as c (user_id, id, client_id, title, feature_type, incognito, created_at, updated_at)
values (:user_id, :id, :client_id, :title, :feature, :incognito, :now, :now)
on conflict (user_id, client_id) do update
set updated_at = excluded.updated_at
returning id, current_message_id as leaf_id, incognito as is_incognito, xmax = 0 as is_new;

-- name: revisions_of(user_id, conversation_id, client_id)
-- A message and its edited siblings, newest first, each with its newest answer. Unique (user_id, conversation_id,
-- client_id), then the revision index and index (user_id, parent_id).
with hit as (
    select coalesce(revision_of, id) as root
    from ai_conversation_memory
    where user_id = :user_id and conversation_id = :conversation_id and client_id = :client_id
)
select
    m.id, m.client_id as key, m.parent_id, m.message_role as role, m.message_content as content, hit.root,
    a.id as answer_id, a.status, a.context_window ->> 'trigger' as trigger
from hit
join ai_conversation_memory m
    on m.user_id = :user_id and (m.id = hit.root or m.revision_of = hit.root)
left join lateral (
    select id, status, context_window
    from ai_conversation_memory
    where user_id = :user_id and parent_id = m.id and message_role = 'assistant'
    order by created_at desc, id desc
    limit 1
) a on true
order by m.created_at desc, m.id desc;

-- name: last_known_answer(user_id, conversation_id, client_ids)$
-- The last of the assistant messages that a client holds and we know. Unique (user_id, conversation_id, client_id).
select m.id
from unnest(:client_ids::text[]) with ordinality as held (client_id, position)
join ai_conversation_memory m
    on m.user_id = :user_id and m.conversation_id = :conversation_id and m.client_id = held.client_id
where m.message_role = 'assistant'
order by held.position desc
limit 1;

-- name: running_answers(user_id, conversation_id)
-- Turns of this conversation that have not ended. Partial index on status.
select id
from ai_conversation_memory
where user_id = :user_id and conversation_id = :conversation_id and status = 'streaming';

-- name: checkpoint(user_ids, message_ids, contents, contexts, now)$
-- Twice a second, for all running turns of a process. Returns the turns that must stop or that have no row.
select coach.checkpoint(
    :user_ids::uuid[], :message_ids::uuid[], :contents::text[], :contexts::jsonb[], :now::timestamptz
);

-- name: request_stop(user_id, client_id)
-- Reaches the process that runs the turn with its next checkpoint.
update turn_checkpoints c
set stop_requested = true
from ai_conversation_memory m, conversations v
where c.user_id = :user_id
    and m.user_id = c.user_id
    and m.id = c.message_id
    and m.status = 'streaming'
    and v.user_id = c.user_id
    and v.id = m.conversation_id
    and v.client_id = :client_id
returning c.message_id;

-- name: idempotent(user_id, key, since)^
-- What an Idempotency-Key has led to: the conversation, the answer, and its question. Primary keys.
select
    k.request_hash as fingerprint, c.client_id as conversation, a.id as answer_id, a.status,
    q.id as question_id, q.client_id as question_key, q.parent_id
from idempotency_keys k
left join conversations c on c.user_id = k.user_id and c.id = k.conversation_id
left join ai_conversation_memory a on a.user_id = k.user_id and a.id = k.message_id
left join ai_conversation_memory q on q.user_id = a.user_id and q.id = a.parent_id
where k.user_id = :user_id and k.key = :key and k.created_at > :since;

-- name: orphan(user_id, message_id, dead_since)^
-- An orphan and its text so far. Primary keys, index (user_id, message_id).
select
    c.content as text,
    c.context,
    m.conversation_id,
    i.id as interaction_id,
    i.quota_month as month,
    (i.feature_details ->> 'quota_limit')::integer as monthly_limit,
    m.model_used as model
from turn_checkpoints c
join ai_conversation_memory m on m.user_id = c.user_id and m.id = c.message_id
join ai_interactions i on i.user_id = c.user_id and i.message_id = c.message_id
where c.user_id = :user_id and c.message_id = :message_id and c.heartbeat < :dead_since and m.status = 'streaming';

-- name: history(user_id, question_id, depth)
-- The branch that leads to a question, newest first, without the question; which of it a model of ours wrote, as it
-- stands. Primary key at each step.
with recursive branch as (
    select
        m.id, m.parent_id, m.message_role, m.message_content, m.deleted, m.model_used, m.context_window, 0 as step
    from ai_conversation_memory m
    where m.user_id = :user_id and m.id = :question_id
    union all
    select
        m.id, m.parent_id, m.message_role, m.message_content, m.deleted, m.model_used, m.context_window, b.step + 1
    from branch b
    join ai_conversation_memory m on m.user_id = :user_id and m.id = b.parent_id
    where b.step < :depth::integer
)
select
    id, message_role as role, message_content as text,
    message_role = 'assistant'
    and model_used is not null
    and context_window ?| array['imported', 'corrected'] is not true as is_ours
from branch
where step > 0 and not deleted and message_content <> ''
order by step;

-- name: stored_turn(user_id, answer_id)^
-- A turn as it stands, running or ended, for replaying it.
select
    a.client_id as answer_key,
    v.client_id as conversation_key,
    q.client_id as question_key,
    a.status,
    a.finish_reason,
    case when a.status = 'streaming' then c.context else a.context_window end as context,
    case when a.status = 'streaming' then coalesce(c.content, '') else a.message_content end as text,
    coalesce(c.heartbeat, a.created_at) as heartbeat,
    i.id as interaction_id,
    i.model,
    i.feature_details ->> 'prompt' as prompt,
    i.error_message as error,
    i.input_tokens,
    i.output_tokens,
    i.first_token_ms,
    i.processing_time_ms as processing_ms
from ai_conversation_memory a
join conversations v on v.user_id = a.user_id and v.id = a.conversation_id
join ai_conversation_memory q on q.user_id = a.user_id and q.id = a.parent_id
left join turn_checkpoints c on c.user_id = a.user_id and c.message_id = a.id
left join ai_interactions i on i.user_id = a.user_id and i.message_id = a.id
where a.user_id = :user_id and a.id = :answer_id;

-- name: resumable_answer(user_id, client_id, ended_since)$
-- The running turn of a conversation, else the one that ended last, if not long ago.
select a.id
from conversations v
join ai_conversation_memory a on a.user_id = v.user_id and a.conversation_id = v.id
where v.user_id = :user_id
    and v.client_id = :client_id
    and a.message_role = 'assistant'
    and not a.context_window ? 'session' -- a summary is no answer
    and (a.status = 'streaming' or a.updated_at > :ended_since)
order by a.status = 'streaming' desc, a.updated_at desc, a.id desc
limit 1;

-- name: begin_turn(user_id, conversation_id, question_id, question_key, parent_id, revision_of, text, answer_id, answer_key, context, model, owner, interaction_id, feature, details, month, key, request_hash, now)$
-- Everything that a turn writes at its beginning; the unit is reserved and the conversation locked.
select coach.begin_turn(
    :user_id, :conversation_id, :question_id, :question_key, :parent_id, :revision_of, :text, :answer_id, :answer_key,
    :context, :model, :owner, :interaction_id, :feature, :details, :month, :key, :request_hash, :now
);

-- name: end_turn(user_id, month, limit, conversation_id, answer_id, interaction_id, status, text, finish_reason, model, context, units, interaction_status, error, details, input_tokens, output_tokens, first_token_ms, processing_ms, thresholds, warnings, now)$
-- The answer's final state, the settled unit and the logged interaction; false where the turn was closed before.
select coach.end_turn(
    :user_id, :month, :limit::integer, :conversation_id, :answer_id, :interaction_id, :status, :text, :finish_reason,
    :model, :context, :units::integer, :interaction_status, :error, :details, :input_tokens::integer,
    :output_tokens::integer, :first_token_ms::integer, :processing_ms::integer, :thresholds::integer[],
    :warnings::text[], :now
);

-- name: remember_messages(user_id, model, question_id, question, question_vector, answer_id, answer, answer_vector)$
-- Vectors of messages that are stored already. True where it is left to the worker: another model serves. Each vector is
-- a parameter of its own, since a list of them would travel as text, at 1.5 ms apiece.
select coach.remember_messages(
    :user_id, :model, array[:question_id, :answer_id]::uuid[], array[:question, :answer]::text[],
    array[:question_vector::halfvec, :answer_vector::halfvec]
);
