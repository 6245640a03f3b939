-- after: adoption, messages
-- An app's events of no user belong to the system's log.
do $$
declare
    moved bigint;
begin
    if to_regclass('public.webhook_logs') is null then
        return;
    end if;
    with gone as (
        delete from public.webhook_logs
        where user_id is null
        returning webhook_type, table_name, triggered_at, status, error_message, processed_at
    )
    insert into coach.system_log (webhook_type, table_name, triggered_at, status, error_message, processed_at)
    select
        webhook_type, table_name, coalesce(triggered_at, now()),
        case when status in ('pending', 'queued', 'processing', 'completed', 'error') then status else 'completed' end,
        error_message, processed_at
    from gone;
    get diagnostics moved = row_count;
    if moved > 0 then
        perform coach.report(format('public.webhook_logs: %s events of no user moved to coach.system_log', moved));
    end if;
end
$$;

-- The audit trail that users can read.
create table coach.webhook_logs (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    webhook_type text not null,
    table_name text,
    triggered_at timestamptz not null default now(),
    status text not null default 'pending'
        check (status in ('pending', 'queued', 'processing', 'completed', 'error')),
    error_message text,
    processed_at timestamptz,
    -- How many rows a line speaks of: users read it, and the pipeline's rate is the sum of it.
    row_count integer,
    primary key (user_id, id)
);
select coach.settle('webhook_logs');
create index if not exists webhook_logs_triggered_at_idx on public.webhook_logs (user_id, triggered_at);
create index if not exists webhook_logs_embedded_idx
    on public.webhook_logs (processed_at)
    where webhook_type = 'metadata_embedding_completed';
grant select on public.webhook_logs to authenticated;
grant select, insert on public.webhook_logs to coach_session;

-- Every change of life data, and every message without a vector, adds a row here: docs/pipeline.md. There is one row
-- for each entity, however often it is edited. A claim leases it; the token fences completion. The lock order is user,
-- preferences, embedding_models, messages, queue, vectors. A transaction that stores vectors holds the queue row. So a
-- purge deletes the queue row first, waits there, and then sees the vectors that were stored meanwhile.
create table coach.embedding_queue (
    user_id uuid not null references auth.users (id) on delete cascade,
    entity_table text not null,
    entity_id uuid not null,
    version bigint not null default 1,
    not_before timestamptz not null default now(),
    attempts integer not null default 0,
    lease_token uuid,
    leased_until timestamptz not null default '-infinity',
    last_error text,
    created_at timestamptz not null default now(),
    -- Set by a rename or a move: the worker queues the rows whose snippets hold the old name.
    expands boolean not null default false,
    primary key (user_id, entity_table, entity_id)
);
select coach.settle('embedding_queue');

-- Not of what was given up: so a statement about one row, which does not speak of dates, has but its key to go by.
create index if not exists embedding_queue_due_idx on public.embedding_queue (user_id, not_before)
    where not_before < 'infinity';
create index if not exists embedding_queue_not_before_idx on public.embedding_queue (not_before);
grant select, insert, update, delete on public.embedding_queue to coach_session;

-- Which model's vectors a user is served from, and the one that is being filled in beside it. All vectors are written under
-- a share lock of this row and the switch under an exclusive one, so that none is stored for a model that has just gone.
create table coach.embedding_models (
    user_id uuid primary key references auth.users (id) on delete cascade,
    serving_model text not null,
    target_model text,
    fill_token uuid,
    leased_until timestamptz not null default '-infinity',
    switched_at timestamptz
);
select coach.settle('embedding_models');
create index if not exists embedding_models_serving_idx on public.embedding_models (serving_model);
create index if not exists embedding_models_target_idx
    on public.embedding_models (target_model)
    where target_model is not null;
grant select, insert, update on public.embedding_models to coach_session;

-- The target model of all users: that of the worker which started last. A worker with another model stands aside, or
-- two would switch the same users back and forth during a deployment.
create table coach.embedding_target (
    is_only boolean primary key default true check (is_only),
    model text not null,
    set_at timestamptz not null default now()
);
alter table coach.embedding_target enable row level security;
alter table coach.embedding_target force row level security;
grant select, insert, update on coach.embedding_target to service_role;

-- Whose vectors were there before: served from the model that most of them are of.
insert into public.embedding_models (user_id, serving_model)
select distinct on (user_id) user_id, embedding_model
from (
    select user_id, embedding_model, count(*) as vectors
    from public.user_metadata_embeddings
    group by user_id, embedding_model
    union all
    select user_id, embedding_model, count(*)
    from public.ai_conversation_memory
    where message_embedding is not null
    group by user_id, embedding_model
) counted
order by user_id, vectors desc, embedding_model
on conflict do nothing;

-- What an app had before it had a queue, by consent.
select coach.queue_everything(id) from auth.users;

create table coach.idempotency_keys (
    user_id uuid not null references auth.users (id) on delete cascade,
    key text not null check (length(key) between 1 and 255),
    request_hash text not null,
    conversation_id uuid,
    message_id uuid,
    created_at timestamptz not null default now(),
    primary key (user_id, key)
);
select coach.settle('idempotency_keys');
create index if not exists idempotency_keys_created_at_idx on public.idempotency_keys (created_at);
grant select, insert, update, delete on public.idempotency_keys to coach_session;

create table coach.exports (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    status text not null default 'pending' check (status in ('pending', 'processing', 'completed', 'error')),
    manifest jsonb,
    location text,
    error_message text,
    requested_at timestamptz not null default now(),
    completed_at timestamptz,
    expires_at timestamptz,
    primary key (user_id, id)
);
select coach.settle('exports');
create index if not exists exports_requested_at_idx on public.exports (user_id, requested_at);
grant select on public.exports to authenticated;
grant select, insert, update, delete on public.exports to coach_session;

-- Outlives its user, so it holds only a keyed hash of the user's id, the time, and the number of deleted rows.
create table coach.erasure_receipts (
    id uuid primary key default gen_random_uuid(),
    subject_hash text not null,
    counts jsonb not null default '{}',
    requested_at timestamptz not null default now(),
    completed_at timestamptz
);
alter table coach.erasure_receipts enable row level security;
alter table coach.erasure_receipts force row level security;
grant select, insert, update on coach.erasure_receipts to service_role;

-- What sockets need beyond the turns. Unlogged, since a crash of the database may take it: none of it lives for longer
-- than minutes.

-- Tickets for opening one socket, each for one use. Only the digest is stored.
create unlogged table coach.socket_tickets (
    user_id uuid not null references auth.users (id) on delete cascade,
    digest bytea not null,
    token_expires_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (user_id, digest)
);
select coach.settle('socket_tickets');
grant select, insert, delete on public.socket_tickets to coach_session;

-- Pushes to all open sockets of a user, on all server processes. A notification only names the user; a process without
-- notifications polls. Origin: the process that has served its own sockets already.
create unlogged table coach.pushes (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    origin text not null,
    frame jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, id)
);
select coach.settle('pushes');
create index if not exists pushes_recent_idx on public.pushes (user_id, created_at);
grant select, insert on public.pushes to coach_session;
