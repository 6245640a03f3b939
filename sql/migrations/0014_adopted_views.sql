-- after: dependents
-- An app's own views run as their owner, past row level security, and anybody may have been granted them. They are the
-- app's to change, so they are only named.
do $$
declare
    open_view record;
begin
    for open_view in
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
        order by 1, 2
    loop
        perform coach.report(format(
            'view %s reads %s past row level security, for everybody; '
                'consider: alter view %s set (security_invoker = true)',
            open_view.name, open_view.source, open_view.name
        ));
    end loop;
end
$$;
