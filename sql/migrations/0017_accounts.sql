-- after: tables
-- Our own registry of accounts: what transactions lock, and what users' rows belong to. Of auth.users it needs select,
-- references and trigger, for the owner alone: on Supabase nobody else may read it. Not on Citus, where the users' tables
-- refer to auth.users itself.
create table coach.accounts (
    user_id uuid primary key references auth.users (id) on delete cascade,
    seen_at timestamptz not null default now()
);
alter table coach.accounts enable row level security;
alter table coach.accounts force row level security;
insert into coach.accounts (user_id)
select id
from auth.users;

-- Registers an account at its first sight; a token without an account registers nothing.
create function coach.see_account(p_user_id uuid) returns void
language plpgsql security definer
set search_path = ''
as $$
begin
    insert into coach.accounts (user_id)
    select id
    from auth.users
    where id = p_user_id
    on conflict do nothing;
end
$$;

-- Locks the account that the caller acts for, as every foreign key does at the end of a statement.
create or replace function coach.lock_writing_user() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    perform from coach.accounts where user_id = auth.uid() for key share;
    if not found then
        perform coach.see_account(auth.uid());
    end if;
    return null;
end
$$;

create function coach.register_account() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    insert into coach.accounts (user_id) values (new.id) on conflict do nothing;
    return null;
end
$$;
revoke all on function coach.see_account, coach.register_account from public;

-- Its name sorts before those of an app's triggers, which insert rows of users.
do $$
begin
    if not coach.on_citus() and has_table_privilege('auth.users', 'trigger') then
        create trigger "00_coach_register_account"
            after insert on auth.users
            for each row execute function coach.register_account();
    elsif not coach.on_citus() then
        perform coach.report(format(
            'auth.users: %s may make no trigger there, so an account is known from its first request on', current_user
        ));
    end if;
end
$$;
