-- The migration moves an app's events of no user, by columns that an app need not have. Here they are moved whole, and
-- the columns become what it reads.
do $$
declare
    ours record;
    found text;
    moved bigint;
begin
    if to_regclass('public.webhook_logs') is null then
        return;
    end if;
    if (select relkind from pg_class where oid = 'public.webhook_logs'::regclass) <> 'r' then
        perform coach.refuse_table('webhook_logs', 'public.webhook_logs is no plain table, and the coach needs one of that name: rename it');
        return;
    end if;
    perform coach.pause_triggers('public.webhook_logs');
    for ours in
        select *
        from (values
            ('user_id', 'uuid'), ('webhook_type', 'text'), ('table_name', 'text'), ('status', 'text'),
            ('error_message', 'text'), ('triggered_at', 'timestamp with time zone'),
            ('processed_at', 'timestamp with time zone')
        ) ours (name, type)
    loop
        found := (
            select format_type(atttypid, atttypmod)
            from pg_attribute
            where attrelid = 'public.webhook_logs'::regclass and attname = ours.name and not attisdropped
        );
        if found is null then
            execute format('alter table public.webhook_logs add %I %s', ours.name, ours.type);
        elsif found <> ours.type then
            perform coach.convert_column('public.webhook_logs', ours.name, ours.type, 'user_id');
        end if;
    end loop;
    with gone as (
        delete from public.webhook_logs w where user_id is null returning to_jsonb(w) as content
    )
    insert into coach.system_log
        (webhook_type, table_name, row_id, old_value, triggered_at, status, error_message, processed_at)
    select
        coalesce(content ->> 'webhook_type', ''), content ->> 'table_name', content ->> 'id', content,
        coalesce((content ->> 'triggered_at')::timestamptz, now()),
        case
            when content ->> 'status' in ('pending', 'queued', 'processing', 'completed', 'error')
                then content ->> 'status'
            else 'completed'
        end,
        content ->> 'error_message', (content ->> 'processed_at')::timestamptz
    from gone;
    get diagnostics moved = row_count;
    if moved > 0 then
        perform coach.report(format('public.webhook_logs: %s events of no user moved to coach.system_log', moved));
    end if;
exception
    when others then
        perform coach.refuse_after_error('webhook_logs', sqlstate, sqlerrm);
end
$$;
