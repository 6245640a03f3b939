-- after: tables
-- What values of a user's were before an adoption changed them goes with the user, so the log of no user is no place for
-- them; earlier migrations, and the functions that they call, put them there.
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
                    and log.webhook_type not in (''adoption_ownerless'', ''adoption_other_model'')
                returning t.%I as user_id, log.*
            )
            insert into coach.repaired_values (user_id, table_name, row_id, column_name, old_value, repaired_at)
            select user_id, table_name, row_id, key, value, triggered_at from moved cross join jsonb_each(old_value)',
            adopted.name, adopted.relname, adopted.key, adopted.owner
        );
    end loop;

    -- Rows that are no more say themselves whose they were.
    with moved as (
        delete from coach.system_log log
        using auth.users u
        where webhook_type = 'adoption_other_model' and u.id::text = old_value ->> 'user_id'
        returning u.id as user_id, log.*
    )
    insert into coach.repaired_values (user_id, table_name, row_id, column_name, old_value, repaired_at)
    select user_id, table_name, row_id, '', old_value, triggered_at from moved;
end
$$;
