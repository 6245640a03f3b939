-- after: reporting
-- An app's triggers do not run for what an adoption repairs: one sends mail, another knows nobody who is signed in and
-- refuses, a third notes that all rows are edited now. They are as they were when the run ends.

create function coach.trigger_state(p_table regclass, p_trigger name, p_state "char") returns text
language sql stable
as $$
    select format(
        'alter table %s %s trigger %I', p_table,
        case p_state when 'D' then 'disable' when 'R' then 'enable replica' when 'A' then 'enable always' else 'enable' end,
        p_trigger
    )
$$;

create function coach.pause_triggers(p_table regclass) returns void
language plpgsql
as $$
declare
    app record;
begin
    create temporary table if not exists coach_paused (of regclass, name name, state "char") on commit drop;
    for app in
        select tgname, tgenabled
        from pg_trigger
        where tgrelid = p_table and not tgisinternal and tgenabled <> 'D' and tgname !~ '^coach_'
    loop
        insert into coach_paused values (p_table, app.tgname, app.tgenabled);
        execute coach.trigger_state(p_table, app.tgname, 'D');
    end loop;
end
$$;

create function coach.resume_triggers() returns void
language plpgsql
as $$
declare
    app record;
begin
    if to_regclass('pg_temp.coach_paused') is null then
        return;
    end if;
    for app in
        select paused.*
        from coach_paused paused
        join pg_trigger on tgrelid = of and tgname = name and tgenabled = 'D'
    loop
        execute coach.trigger_state(app.of, app.name, app.state);
    end loop;
    drop table coach_paused;
end
$$;
