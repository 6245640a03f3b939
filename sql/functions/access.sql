-- after: tables
-- Whether the caller may act for this user: the user, or a role that bypasses row level security. It reads the role
-- setting, since current_user inside a definer function is the function's owner.
create function coach.may_act_for(p_user_id uuid) returns boolean
language sql stable
set search_path = ''
as $$
    select coalesce(p_user_id = auth.uid(), false)
        or exists (
            select
            from pg_catalog.pg_roles
            where rolname = coalesce(nullif(current_setting('role'), 'none'), session_user)
                and (rolsuper or rolbypassrls)
        )
$$;

-- Whether an account is there still. What is stored after its deletion would fail on the foreign key.
create function coach.has_account(p_user_id uuid) returns boolean
language sql stable security definer
set search_path = ''
as $$ select exists (select from auth.users where id = p_user_id) $$;
grant execute on function coach.has_account to coach_session, service_role;

-- Locks a user on whose behalf the caller may act, for a transaction that locks rows before it writes, or that has no claims of the user.
create function coach.lock_user(p_user_id uuid) returns void
language plpgsql security definer
set search_path = ''
as $$
begin
    if coach.may_act_for(p_user_id) then
        perform from coach.accounts where user_id = p_user_id for key share;
        if not found then
            perform coach.see_account(p_user_id);
        end if;
    end if;
end
$$;

do $$
begin
    if coach.on_citus() then
        create or replace function coach.lock_user(p_user_id uuid) returns void
        language sql
        as 'select';
    end if;
end
$$;
grant execute on function coach.may_act_for, coach.lock_user to authenticated, service_role;
