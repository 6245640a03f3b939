-- after: adoption, values
create table coach.user_profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    username text check (length(username) between 1 and 64),
    first_name text,
    last_name text,
    google_id text,
    profile_picture text,
    is_active boolean not null default true,
    level integer not null default 1,
    total_points integer not null default 0,
    current_streak integer not null default 0,
    daily_streak integer not null default 0,
    monthly_alignment_goal integer,
    last_username_change timestamptz,
    timezone text not null default 'UTC',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
select coach.settle('user_profiles', 'id');

-- Not points, level, streaks or the cooldown: those are the server's.
grant select on public.user_profiles to authenticated;
grant
    insert (id, username, first_name, last_name, profile_picture, monthly_alignment_goal, timezone),
    update (username, first_name, last_name, profile_picture, monthly_alignment_goal, timezone, updated_at)
    on public.user_profiles to authenticated;
grant select, insert, update on public.user_profiles to coach_session;

-- A unique constraint without user_id cannot be distributed; this small table is not.
create table coach.usernames (
    username text primary key,
    user_id uuid not null unique references auth.users (id) on delete cascade
);
select coach.protect('coach.usernames');

create table coach.ai_limits (
    user_id uuid primary key references auth.users (id) on delete cascade,
    monthly_limit integer not null check (monthly_limit >= 0)
);
select coach.place('coach.ai_limits');
select coach.protect('coach.ai_limits');
grant select on coach.ai_limits to authenticated;

-- A column for each consent is added by functions/consents.sql, which declares them.
create table coach.user_analytics_preferences (
    user_id uuid primary key references auth.users (id) on delete cascade,
    data_retention_days integer not null default 365 check (data_retention_days between 90 and 365),
    anonymize_after_days integer not null default 90 check (anonymize_after_days between 30 and 365),
    -- Quiet hours in local time; equal times mean none.
    quiet_from time not null default '21:00',
    quiet_until time not null default '08:00',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
select coach.settle('user_analytics_preferences');
grant select, insert, update on public.user_analytics_preferences to authenticated;

-- What there is to consent to: the default, what it stops in words, and which entities and events it covers.
create table coach.consents (
    name name primary key,
    position integer not null,
    by_default boolean not null,
    stops text not null,
    entities text[] not null,
    events text[] not null
);
grant select on coach.consents to authenticated, service_role;

-- The kinds of behaviour event there are. Those that need a consent beside analytics_consent are declared with it.
create table coach.event_kinds (
    kind text primary key
);
insert into coach.event_kinds (kind) values
    ('feature_used'), ('task_created'), ('task_completed'), ('session_start'), ('session_end');
grant select on coach.event_kinds to authenticated, service_role;

-- What an adopted table brought along.
do $$
declare
    unusual bigint;
begin
    insert into coach.system_log (webhook_type, table_name, row_id, old_value)
    select 'adoption_bad_timezone', 'user_profiles', id::text, jsonb_build_object('timezone', timezone)
    from public.user_profiles
    where timezone in (
        select used.timezone
        from (select distinct timezone from public.user_profiles) used
        where not coach.is_timezone(used.timezone)
    );
    get diagnostics unusual = row_count;
    if unusual > 0 then
        update public.user_profiles p
        set timezone = 'UTC'
        from coach.system_log log
        where log.webhook_type = 'adoption_bad_timezone' and log.row_id = p.id::text;
        perform coach.report(format('public.user_profiles: %s rows with an unknown time zone; set to UTC', unusual));
    end if;

    insert into coach.usernames (username, user_id)
    select distinct on (lower(username)) lower(username), id
    from public.user_profiles
    where username is not null
    order by lower(username), created_at, id;
    insert into coach.system_log (webhook_type, table_name, row_id, old_value)
    select 'adoption_username_taken', 'user_profiles', id::text, jsonb_build_object('username', username)
    from public.user_profiles
    where username is not null and id not in (select user_id from coach.usernames);
    get diagnostics unusual = row_count;
    if unusual > 0 then
        perform coach.report(format(
            'public.user_profiles: %s usernames differ from another only by case; kept until they change', unusual
        ));
    end if;
end
$$;
