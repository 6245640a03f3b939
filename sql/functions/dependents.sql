-- after: reporting, results, triggers
create function coach.grant_statements(p_kind text, p_name text, p_acl aclitem[]) returns text[]
language sql stable
as $$
    select case when p_acl is not null then
        array[format('revoke all on %s %s from public, anon, authenticated, service_role', p_kind, p_name)]
        || array(
            select format(
                'grant %s on %s %s to %s', privilege_type, p_kind, p_name,
                case grantee when 0 then 'public' else grantee::regrole::text end
            )
            from aclexplode(p_acl)
        )
    else '{}' end
$$;

create function coach.view_statements(p_view regclass) returns text[]
language sql stable
as $$
    select array[
            format(
                'create %s %s %s as %s', type, identity,
                'with (' || nullif(array_to_string(reloptions, ', '), '') || ')', pg_get_viewdef(oid)
            ),
            format('alter table %s owner to %s', identity, relowner::regrole)
        ]
        || array(select pg_get_indexdef(indexrelid) from pg_index where indrelid = oid)
        || array(select pg_get_triggerdef(t.oid) from pg_trigger t where tgrelid = pg_class.oid and not tgisinternal)
        || array(select pg_get_ruledef(r.oid) from pg_rewrite r where ev_class = pg_class.oid and rulename <> '_RETURN')
        || coach.grant_statements('table', identity, relacl)
        || array(select format('comment on %s %s is %L', type, identity, note) from obj_description(oid) note where note <> '')
    from pg_class
    cross join lateral pg_identify_object('pg_class'::regclass, oid, 0)
    where oid = p_view
$$;

create function coach.function_statements(p_function regprocedure) returns text[]
language sql stable
as $$
    select array[
            pg_get_functiondef(oid),
            format('alter function %s owner to %s', oid::regprocedure, proowner::regrole)
        ]
        || coach.grant_statements('function', oid::regprocedure::text, proacl)
    from pg_proc
    where oid = p_function
$$;

create function coach.trigger_statements(p_trigger oid) returns text[]
language sql stable
as $$
    select array[pg_get_triggerdef(oid), coach.trigger_state(tgrelid, tgname, tgenabled)] from pg_trigger where oid = p_trigger
$$;

create function coach.policy_statement(p_policy oid) returns text
language sql stable
as $$
    select format(
            'create policy %I on %s as %s for %s to %s', polname, polrelid::regclass,
            case when polpermissive then 'permissive' else 'restrictive' end,
            case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
                else 'all' end,
            (
                select string_agg(case role when 0 then 'public' else role::regrole::text end, ', ')
                from unnest(polroles) role
            )
        )
        || coalesce(' using (' || pg_get_expr(polqual, polrelid) || ')', '')
        || coalesce(' with check (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
    from pg_policy
    where oid = p_policy
$$;

-- Saves and drops, deepest first, what depends on one thing (or one column of it) and is not in p_except: views,
-- rules, functions, triggers, policies. The runner of function files calls it too (coach/database/functions.py).
create function coach.set_aside_dependents(
    p_catalog regclass, p_object oid, p_column integer default null, p_except oid[] default '{}'
)
returns void
language plpgsql
as $$
declare
    dependent record;
    thing text;
begin
    for dependent in
        select distinct case when v.oid is null then classid else 'pg_class'::regclass end::regclass as catalog, id
        from pg_depend
        left join pg_rewrite r on classid = 'pg_rewrite'::regclass and r.oid = objid
        -- A rule of a table is a thing of its own; a view is its rule.
        left join pg_class v on v.oid = ev_class and v.relkind in ('v', 'm')
        cross join lateral coalesce(v.oid, objid) id
        where refclassid = p_catalog
            and refobjid = p_object
            and (p_column is null or refobjsubid in (0, p_column))
            and deptype = 'n'
            and classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass)
            and id <> p_object
            and id <> all (p_except)
    loop
        perform coach.set_aside_dependents(dependent.catalog, dependent.id, null, p_except);
        select type || ' ' || identity into thing from pg_identify_object(dependent.catalog, dependent.id, 0);
        -- Gone already where two ways lead to it.
        if thing is not null then
            insert into coach.set_aside (what, statements)
            values (
                thing,
                case dependent.catalog
                    when 'pg_class'::regclass then coach.view_statements(dependent.id)
                    when 'pg_proc'::regclass then coach.function_statements(dependent.id)
                    when 'pg_rewrite'::regclass then array[pg_get_ruledef(dependent.id)]
                    when 'pg_trigger'::regclass then coach.trigger_statements(dependent.id)
                    else array[coach.policy_statement(dependent.id)]
                end
            );
            execute 'drop ' || thing;
        end if;
    end loop;
end
$$;

-- Puts back everything that was set aside, last first. What has been made meanwhile is not made twice.
create function coach.restore_dependents() returns void
language plpgsql
as $$
declare
    saved record;
    statement text;
begin
    for saved in select position, what, statements from coach.set_aside order by position desc loop
        begin
            foreach statement in array saved.statements loop
                execute statement;
            end loop;
            delete from coach.set_aside where position = saved.position;
            perform coach.report(format('%s: recreated', saved.what));
        exception
            when duplicate_object or duplicate_table then
                delete from coach.set_aside where position = saved.position;
            when syntax_error_or_access_rule_violation or invalid_schema_name or invalid_parameter_value then
                perform coach.report(format(
                    '%s: could not be recreated (%s); its definition is in coach.set_aside', saved.what, sqlerrm
                ));
        end;
    end loop;
end
$$;
