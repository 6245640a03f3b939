-- after: access
-- Users' rows belong to coach.accounts, whatever table a migration or an app had them refer to: who writes locks the account
-- first and then the rows, and a deletion of the account, which begins in auth.users, comes to it before the rows.
do $$
declare
    old record;
begin
    if coach.on_citus() then
        return;
    end if;
    for old in
        select conrelid::regclass as child, conname, attname
        from pg_constraint
        join pg_attribute on attrelid = conrelid and attnum = conkey[1]
        where contype = 'f'
            and confrelid = 'auth.users'::regclass
            and cardinality(conkey) = 1
            and exists (select from pg_policy where polrelid = conrelid and polname = 'coach_own')
    loop
        execute format(
            'alter table %s
                drop constraint %I,
                add constraint %2$I foreign key (%I) references coach.accounts (user_id) on delete cascade',
            old.child, old.conname, old.attname
        );
    end loop;
end
$$;

-- An account that does not come from a sign-up: with what Supabase's own server expects of a row of auth.users.
create function coach.add_account(p_user_id uuid) returns void
language plpgsql security definer
set search_path = ''
as $$
declare
    wanted constant jsonb := jsonb_build_object(
        'id', p_user_id, 'instance_id', '00000000-0000-0000-0000-000000000000', 'aud', 'authenticated',
        'role', 'authenticated', 'raw_app_meta_data', '{}'::jsonb, 'raw_user_meta_data', '{}'::jsonb,
        'confirmation_token', '', 'recovery_token', '', 'email_change_token_new', '', 'email_change_token_current', '',
        'email_change', '', 'phone_change', '', 'phone_change_token', '', 'reauthentication_token', '',
        'created_at', now(), 'updated_at', now()
    );
    columns text := (
        select string_agg(quote_ident(attname), ', ')
        from pg_catalog.pg_attribute
        where attrelid = 'auth.users'::regclass and not attisdropped and wanted ? attname
    );
begin
    execute format(
        'insert into auth.users (%1$s)
        select %1$s
        from jsonb_populate_record(null::auth.users, $1)
        on conflict (id) do nothing',
        columns
    )
    using wanted;
end
$$;
grant execute on function coach.add_account to service_role;
