-- Roles belong to the whole cluster: another database of it may be making the same ones at this moment, which shows as
-- a unique violation or as "tuple concurrently updated" (internal_error). Then look again, a little later.
do $$
declare
    attempts integer := 0;
begin
    loop
        begin
            if to_regrole('anon') is null then
                create role anon nologin noinherit;
            end if;
            if to_regrole('authenticated') is null then
                create role authenticated nologin noinherit;
            end if;
            if to_regrole('service_role') is null then
                create role service_role nologin noinherit bypassrls;
            end if;
            if to_regrole('coach_session') is null then
                create role coach_session nologin inherit;
            end if;
            if to_regrole('coach_server') is null then
                create role coach_server login noinherit;
            end if;
            if to_regrole('coach_worker') is null then
                create role coach_worker login noinherit;
            end if;
            if not pg_has_role('coach_session', 'authenticated', 'member') then
                grant authenticated to coach_session;
            end if;
            if not pg_has_role('coach_server', 'coach_session', 'member') then
                grant coach_session to coach_server;
            end if;
            if not pg_has_role('coach_worker', 'service_role', 'member') then
                grant service_role to coach_worker;
            end if;
            return;
        exception
            when unique_violation or duplicate_object or internal_error then
                attempts := attempts + 1;
                if attempts = 20 then
                    raise;
                end if;
                perform pg_sleep(0.05);
        end;
    end loop;
end
$$;
