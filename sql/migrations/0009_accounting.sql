-- after: adoption, values
-- Every call of a model, and the month's quota. No user writes here: a browser could reset its quota.
create table coach.ai_interactions (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    feature_type text not null check (feature_type in (
        'sentiment_analysis', 'hrm_analysis', 'task_why_statements', 'focus_suggestions',
        'today_priorities', 'goal_coaching', 'project_decomposition', 'strategic_planning'
    )),
    feature_details jsonb not null default '{}',
    -- Without foreign keys: what was used stays counted when its conversation goes.
    conversation_id uuid,
    user_message_id uuid,
    message_id uuid,
    quota_month date,
    idempotency_key text,
    model text,
    tokens_used integer not null default 0,
    input_tokens integer,
    output_tokens integer,
    first_token_ms integer,
    processing_time_ms integer,
    cost_usd numeric(12, 6),
    status text not null default 'completed'
        check (status in ('reserved', 'completed', 'interrupted', 'failed', 'refunded')),
    success boolean not null default true,
    error_message text,
    created_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('ai_interactions');
create index if not exists ai_interactions_created_at_idx on public.ai_interactions (user_id, created_at);
create index if not exists ai_interactions_message_idx on public.ai_interactions (user_id, message_id);
create index if not exists ai_interactions_reserved_idx
    on public.ai_interactions (created_at)
    where status = 'reserved';

create table coach.ai_quota_months (
    user_id uuid not null references auth.users (id) on delete cascade,
    month date not null check (extract(day from month) = 1),
    used integer not null default 0 check (used >= 0),
    reserved integer not null default 0 check (reserved >= 0),
    warned smallint not null default 0 check (warned in (0, 80, 95, 100)),
    primary key (user_id, month)
);
select coach.settle('ai_quota_months');

-- For the repair of reservations: months that hold one.
create index if not exists ai_quota_months_reserved_idx on public.ai_quota_months (month) where reserved > 0;
grant select on public.ai_interactions, public.ai_quota_months to authenticated;
grant select, insert, update on public.ai_interactions, public.ai_quota_months to coach_session;

-- What an app used before it had months to count in.
do $$
declare
    users bigint;
begin
    insert into public.ai_quota_months (user_id, month, used)
    select user_id, coach.current_month(), count(*)
    from public.ai_interactions
    where (created_at at time zone 'UTC')::date >= coach.current_month()
        and coalesce(quota_month, coach.current_month()) = coach.current_month()
        and status <> 'refunded'
    group by user_id
    on conflict do nothing;
    get diagnostics users = row_count;
    if users > 0 then
        update public.ai_interactions
        set quota_month = coach.current_month()
        where (created_at at time zone 'UTC')::date >= coach.current_month() and quota_month is null;
        perform coach.report(format('public.ai_interactions: this month''s use counted for %s users', users));
    end if;
end
$$;
