-- after: access, values
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

-- Unique by what can be seen: neither Ann nor a Cyrillic а may pass for ann. A definer function, since no other role
-- writes coach.usernames.
create function coach.register_username() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if coach.username_key(new.username) = '' then
        raise exception 'username: must have a character that can be seen' using errcode = 'invalid_parameter_value';
    end if;
    delete from coach.usernames where user_id = new.id;
    insert into coach.usernames (username, user_id)
    select coach.username_key(new.username), new.id
    where new.username is not null and coach.has_account(new.id);
    return null;
end
$$;
create trigger coach_check_profile
    before insert or update of username, timezone on public.user_profiles
    for each row execute function coach.check_profile();
create trigger coach_register_username_new
    after insert on public.user_profiles
    for each row
    when (new.username is not null)
    execute function coach.register_username();
create trigger coach_register_username
    after update of username on public.user_profiles
    for each row
    when (new.username is distinct from old.username)
    execute function coach.register_username();
