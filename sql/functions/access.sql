-- after: tables
-- May whoever calls act for this user? The user, or a role that bypasses row level security anyway. Asked of the role
-- setting and not of current_user, which inside a definer function is the function's owner.
create function coach.acts_for(p_user_id uuid) returns boolean
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

-- The same for a transaction that locks rows before it writes any, or that works for somebody whose claims it has not.
create function coach.hold_person(p_user_id uuid) returns void
language plpgsql security definer
set search_path = ''
as $$
begin
    if coach.acts_for(p_user_id) then
        perform from auth.users where id = p_user_id for key share;
    end if;
end
$$;

do $$
begin
    if coach.on_citus() then
        create or replace function coach.hold_person(p_user_id uuid) returns void
        language sql
        as 'select';
    end if;
end
$$;
grant execute on function coach.acts_for(uuid), coach.hold_person(uuid) to authenticated, service_role;
