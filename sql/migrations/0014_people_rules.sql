-- Time zones: the IANA names this server knows, less its aliases for files. UTC is asked for most and costs nothing.
create function coach.is_timezone(p_name text) returns boolean
language sql stable
set search_path = ''
as $$
    select p_name = 'UTC'
        or (
            p_name !~ '^(posix|right)/|^(localtime|Factory|posixrules)$'
            and exists (select from pg_catalog.pg_timezone_names where name = p_name)
        )
$$;

create function coach.check_profile() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    cooldown constant interval := '7 days';
begin
    if (tg_op = 'INSERT' or new.timezone is distinct from old.timezone) and not coach.is_timezone(new.timezone) then
        raise exception 'timezone: % is not an IANA time zone', new.timezone using errcode = 'invalid_parameter_value';
    end if;
    if tg_op = 'UPDATE' and new.username is distinct from old.username then
        if old.last_username_change > now() - cooldown then
            raise exception 'username: it changes at most every 7 days'
                using errcode = 'CA001', detail = to_char(
                    (old.last_username_change + cooldown) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
                );
        end if;
        if old.username is not null then
            new.last_username_change := now();
        end if;
    end if;
    return new;
end
$$;

-- Unique whatever the case: Ann must not pass for ann. A definer, since nobody writes coach.usernames otherwise.
create function coach.register_username() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    delete from coach.usernames where user_id = new.id;
    insert into coach.usernames (username, user_id)
    select lower(new.username), new.id
    where new.username is not null and exists (select from auth.users where id = new.id);
    return null;
end
$$;

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

create or replace trigger coach_check_profile
    before insert or update of username, timezone on public.user_profiles
    for each row execute function coach.check_profile();
create or replace trigger coach_register_username_new
    after insert on public.user_profiles
    for each row
    when (new.username is not null)
    execute function coach.register_username();
create or replace trigger coach_register_username
    after update of username on public.user_profiles
    for each row
    when (new.username is distinct from old.username)
    execute function coach.register_username();

revoke all on all functions in schema coach from public;
grant execute on function coach.is_timezone(text) to authenticated, service_role;
