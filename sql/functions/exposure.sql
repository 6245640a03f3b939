-- after: reporting
-- What of an app's leads past row level security to everybody's rows. Looked at by the end of each migration.

-- Our tables, and the views that read them.
create function coach.names_of_users_rows() returns setof name
language sql stable
as $$
    with recursive source (oid) as (
        select polrelid from pg_policy where polname = 'coach_only_own'
        union
        select r.ev_class
        from source
        join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = source.oid
        join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    )
    select relname from pg_class where oid in (select oid from source)
$$;

-- An app's functions, without comments: not an extension's, not ours.
create function coach.app_functions() returns table (oid oid, name name, is_callable_definer boolean, body text)
language sql stable
as $$
    select
        p.oid,
        proname,
        prosecdef
            and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
            and exists (
                select
                from unnest(array['anon', 'authenticated']) role
                where has_function_privilege(role, p.oid, 'execute') and has_schema_privilege(role, n.oid, 'usage')
            ),
        regexp_replace(
            regexp_replace(coalesce(pg_get_function_sqlbody(p.oid), prosrc), '--[^\n]*', '', 'g'), '/\*.*?\*/', '', 'g'
        )
    from pg_proc p
    join pg_namespace n on n.oid = pronamespace
    where prokind in ('f', 'p')
        and nspname !~ '^(pg_|(information_schema|coach|coach_jobs)$)'
        and p.oid not in (select objid from pg_depend where classid = 'pg_proc'::regclass and deptype = 'e')
        and (select format('%s %s', type, identity) from pg_identify_object('pg_proc'::regclass, p.oid, 0))
            not in (select unnest(made) from coach.functions)
$$;

-- Definers that a browser can call and that read or write users' rows: themselves, or by a function that they call. A
-- statement that is put together while it runs may name any table.
create function coach.exposed_functions() returns table (function regprocedure, reads text, is_of_a_policy boolean)
language sql stable
as $$
    with recursive app as materialized (
        select * from coach.app_functions()
    ),
    reading (oid, name, reads) as (
        select app.oid, app.name, coalesce(named.names, 'whatever it is told to')
        from app
        cross join lateral (
            select string_agg(n, ', ' order by n) as names
            from coach.names_of_users_rows() n
            where app.body ~* coach.name_pattern(n)
        ) named
        where named.names is not null or app.body ~* '\mexecute\M'
        union
        select app.oid, app.name, reading.name || '()'
        from app
        join reading on app.oid <> reading.oid and app.body ~* (coach.name_pattern(reading.name) || '"?\s*\(')
    )
    select distinct on (oid)
        oid::regprocedure,
        reading.reads,
        exists (
            select
            from pg_depend
            where classid = 'pg_policy'::regclass and refclassid = 'pg_proc'::regclass and refobjid = oid
        )
    from reading
    where oid in (select app.oid from app where is_callable_definer)
    order by oid, reading.reads
$$;

-- Revoked with `coach migrate --harden`, unless a policy calls it; the service role keeps what it had by way of public.
create function coach.harden() returns void
language plpgsql
as $$
declare
    exposed record;
begin
    for exposed in select * from coach.exposed_functions() where not is_of_a_policy loop
        if has_function_privilege('service_role', exposed.function, 'execute') then
            execute format('grant execute on function %s to service_role', exposed.function);
        end if;
        execute format('revoke execute on function %s from public, anon, authenticated', exposed.function);
        perform coach.report(format('function %s: revoked from anon and authenticated', exposed.function), 'converted');
    end loop;
end
$$;

create function coach.warn_of_exposure() returns void
language plpgsql
as $$
declare
    exposed record;
begin
    for exposed in
        select distinct c.oid::regclass as name, d.refobjid::regclass as source
        from pg_class c
        join pg_rewrite r on r.ev_class = c.oid
        join pg_depend d
            on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
        join pg_policy p on p.polrelid = d.refobjid and p.polname = 'coach_only_own'
        where c.relnamespace = 'public'::regnamespace
            and c.relkind in ('v', 'm')
            and not coalesce(array_to_string(c.reloptions, ' ') ~ 'security_invoker=(true|on|yes|1)', false)
            and (has_table_privilege('anon', c.oid, 'select') or has_table_privilege('authenticated', c.oid, 'select'))
            and not exists (select from coach.functions where format('view public.%I', c.relname) = any (made))
        order by 1, 2
    loop
        perform coach.report(format(
            'view %s reads %s past row level security, for everybody; '
                'consider: alter view %s set (security_invoker = true)',
            exposed.name, exposed.source, exposed.name
        ), 'warning');
    end loop;
    for exposed in select * from coach.exposed_functions() loop
        perform coach.report(format(
            'function %s reads or writes %s past row level security, for whoever calls it; consider: '
                || case
                    when exposed.is_of_a_policy then 'a policy calls it, so move it to a schema that is not exposed'
                    else 'coach migrate --harden, or revoke execute on function %1$s from public, anon, authenticated'
                end,
            exposed.function, exposed.reads
        ), 'warning');
    end loop;
    for exposed in
        select p.polname as name, p.polrelid::regclass as source
        from pg_policy p
        join pg_policy ours on ours.polrelid = p.polrelid and ours.polname = 'coach_only_own'
        where not p.polpermissive and p.polname !~ '^coach_'
        order by 1, 2
    loop
        perform coach.report(format(
            'policy %I on %s is restrictive, so it may refuse what the coach writes; consider: drop policy %1$I on %2$s',
            exposed.name, exposed.source
        ), 'warning');
    end loop;
end
$$;
