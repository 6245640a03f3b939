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
    primary key (user_id, id)
);
select coach.settle('webhook_logs');
create index if not exists webhook_logs_triggered_at_idx on public.webhook_logs (user_id, triggered_at);
grant select on public.webhook_logs to authenticated;
grant select, insert on public.webhook_logs to coach_session;

-- One row per entity, however often it is edited. A claim leases it; the token fences completion.
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
    primary key (user_id, entity_table, entity_id)
);
select coach.settle('embedding_queue');
-- Not of what was given up: so a statement about one row, which does not speak of dates, has but its key to go by.
create index if not exists embedding_queue_due_idx on public.embedding_queue (user_id, not_before)
    where not_before < 'infinity';
create index if not exists embedding_queue_not_before_idx on public.embedding_queue (not_before);
grant select, insert, update, delete on public.embedding_queue to coach_session;

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

-- Outlives its user, so it names nobody: a keyed hash of the user's id, when, and how many rows went.
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
