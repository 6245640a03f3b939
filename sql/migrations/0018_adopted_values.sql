-- after: tables
-- What values of a user's were before an adoption changed them. They go with the user, so the log of no user is no place
-- for them; earlier migrations put them there.
create table coach.adopted_values (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    table_name text not null,
    row_id text not null,
    why text not null,
    old_value jsonb not null,
    adopted_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.settle('adopted_values');

do $$
declare
    adopted record;
begin
    for adopted in
        select
            c.oid::regclass as name,
            relname,
            coalesce(max(attname) filter (where attname = 'id'), 'user_id') as key,
            coalesce(max(attname) filter (where attname = 'user_id'), 'id') as owner
        from pg_class c
        join pg_attribute on attrelid = c.oid and attname in ('id', 'user_id') and not attisdropped
        where relnamespace = 'public'::regnamespace
            and relname in (select table_name from coach.system_log where webhook_type like 'adoption%')
        group by c.oid, relname
    loop
        execute format(
            'with moved as (
                delete from coach.system_log log
                using %s t
                where log.table_name = %L
                    and log.row_id = t.%I::text
                    and log.webhook_type like ''adoption%%''
                    and log.webhook_type <> ''adoption_ownerless''
                returning t.%I as user_id, log.table_name, log.row_id, log.webhook_type, log.old_value, log.triggered_at
            )
            insert into public.adopted_values (user_id, table_name, row_id, why, old_value, adopted_at)
            select user_id, table_name, row_id, webhook_type, old_value, triggered_at from moved',
            adopted.name, adopted.relname, adopted.key, adopted.owner
        );
    end loop;

    -- Rows that are no more say themselves whose they were.
    with moved as (
        delete from coach.system_log log
        using auth.users u
        where log.webhook_type = 'adoption_other_model' and u.id::text = log.old_value ->> 'user_id'
        returning u.id as user_id, log.table_name, log.row_id, log.webhook_type, log.old_value, log.triggered_at
    )
    insert into public.adopted_values (user_id, table_name, row_id, why, old_value, adopted_at)
    select user_id, table_name, row_id, webhook_type, old_value, triggered_at from moved;
end
$$;
