-- after: reporting
-- Functions and views of an app that ours take the place of. What they returned beside ours is still returned: the app's
-- own stays in schema coach, as app_…, and is asked for it.

-- A function's result columns; none where it returns a single value.
create function coach.result_columns(p_function oid) returns table (name name, type text, place bigint)
language sql stable
as $$
    select a.name, format_type(a.type, null), a.place
    from pg_proc
    cross join unnest(proargnames, proargmodes, proallargtypes) with ordinality a (name, mode, type, place)
    where oid = p_function and a.mode in ('o', 'b', 't')
    union all
    select attname, format_type(atttypid, atttypmod), attnum
    from pg_proc p
    join pg_type t on t.oid = prorettype
    join pg_attribute on attrelid = typrelid
    where p.oid = p_function and attnum > 0 and not attisdropped and not coalesce(proargmodes, '{}') && '{o,b,t}'
    order by 3
$$;

-- Its arguments, by place.
create function coach.input_arguments(p_function oid)
returns table (name name, type text, place bigint, is_required boolean)
language sql stable
as $$
    select
        coalesce(proargnames[place], ''), format_type(proargtypes[place - 1], null), place,
        place <= pronargs - pronargdefaults
    from pg_proc
    cross join generate_series(1, pronargs) place
    where oid = p_function
$$;

-- Makes way for a function of ours, which coach.keep_results completes.
create function coach.drop_functions(p_name name) returns void
language plpgsql
as $$
declare
    old record;
begin
    for old in
        select oid, oid::regprocedure as name, prokind = 'f' as is_plain
        from pg_proc
        where proname = p_name and pronamespace = 'public'::regnamespace
    loop
        perform coach.set_aside_dependents('pg_proc', old.oid);
        perform coach.report(format('function %s: replaced', old.name));
        if old.is_plain then
            execute format(
                'drop function if exists coach.%I(%s)', 'app_' || p_name, pg_get_function_identity_arguments(old.oid)
            );
            execute format('alter function %s rename to %I', old.name, 'app_' || p_name);
            execute format('alter function %s set schema coach', old.oid::regprocedure);
            execute format('revoke all on function %s from public, anon', old.oid::regprocedure);
        else
            execute format('drop routine %s', old.name);
        end if;
    end loop;
end
$$;

-- Ours, with the result columns beside its own that an app's function had: by the same id, or else those of its first row.
-- They are null where the app's function fails, or cannot be called with our arguments.
create function coach.keep_results(p_name name) returns void
language plpgsql
as $$
declare
    ours regprocedure := (
        select oid from pg_proc where proname = p_name and pronamespace = 'public'::regnamespace
    );
    theirs record;
    extra record;
    key name;
    is_kept boolean := false;
begin
    for theirs in
        select p.oid, p.oid::regprocedure as name, pg_get_function_result(p.oid) as result, given.*
        from pg_proc p
        cross join lateral (
            select
                coalesce(string_agg(format('%I => $%s::%s', a.name, o.place, a.type), ', ') filter (where o.place is not null), '')
                    as arguments,
                coalesce(bool_or(a.is_required and o.place is null), false) as lacks_some,
                string_agg(a.name, ', ') filter (where a.is_required and o.place is null) as lacking
            from coach.input_arguments(p.oid) a
            left join coach.input_arguments(ours) o on o.name = a.name
        ) given
        where proname = 'app_' || p_name and pronamespace = 'coach'::regnamespace
        order by given.lacks_some, p.oid
    loop
        select
            array_agg(t.name order by t.place) as names,
            string_agg(format('%I %s', t.name, t.type), ', ' order by t.place) as declared,
            string_agg(format('(app.row ->> %L)::%s', t.name, t.type), ', ' order by t.place) as chosen
        into extra
        from coach.result_columns(theirs.oid) t
        where t.name not in (select name from coach.result_columns(ours));
        if not exists (select from coach.result_columns(theirs.oid)) and exists (select from coach.result_columns(ours)) then
            perform coach.report(format(
                'function public.%s returned %s, and returns rows now; consider: select %I from public.%s(…)',
                p_name, theirs.result, (select name from coach.result_columns(ours) limit 1), p_name
            ), 'warning');
        end if;
        if is_kept or extra.names is null or not exists (select from coach.result_columns(ours)) then
            execute format('drop function %s', theirs.name);
            continue;
        end if;
        key := (
            select min(name)
            from coach.result_columns(ours) join coach.result_columns(theirs.oid) t using (name)
            where name in ('id', 'entity_id')
        );
        execute format('alter function %s rename to %I', ours, 'own_' || p_name);
        execute format('alter function %s set schema coach', ours);
        execute format(
            $wrapper$
                create function public.%I(%s) returns table (%s, %s)
                language plpgsql stable
                set search_path = public, extensions
                as $body$
                #variable_conflict use_column
                declare
                    app_rows jsonb;
                begin
                    begin
                        select jsonb_agg(to_jsonb(app)) into app_rows from %s(%s) app;
                    exception
                        when others then -- an app's code fails in ways of its own
                            app_rows := null;
                    end;
                    return query
                    select ours.*, %s
                    from coach.%I(%s) ours
                    left join lateral (
                        select row from jsonb_array_elements(coalesce(app_rows, '[]')) row where %s limit 1
                    ) app on true;
                end
                $body$
            $wrapper$,
            p_name,
            pg_get_function_arguments(ours),
            (select string_agg(format('%I %s', name, type), ', ' order by place) from coach.result_columns(ours)),
            extra.declared,
            theirs.oid::regproc,
            theirs.arguments,
            extra.chosen,
            'own_' || p_name,
            (select string_agg('$' || place, ', ' order by place) from coach.input_arguments(ours)),
            case when key is null then 'true' else format('row ->> %L = ours.%I::text', key, key) end
        );
        is_kept := true;
        perform coach.report(format(
            'function public.%s: still returns %s, as the app''s did%s',
            p_name,
            array_to_string(extra.names, ', '),
            case when theirs.lacks_some then ', but null: it cannot be called without ' || theirs.lacking else '' end
        ));
    end loop;
    execute format('revoke all on function public.%I from public, anon, authenticated', p_name);
    execute format('grant execute on function public.%I to authenticated, service_role', p_name);
end
$$;

-- An app's view of that name in public is derived data: ours takes its place, which coach.show_behavior makes.
create function coach.replace_public_view(p_name name) returns void
language plpgsql
as $$
declare
    old oid := to_regclass(format('public.%I', p_name));
begin
    if (select relkind not in ('v', 'm') from pg_class where oid = old) then
        perform coach.refuse_table(
            p_name, format('public.%s is a table, and the coach needs a view of that name: rename it', p_name)
        );
    elsif old is not null then
        perform coach.set_aside_dependents('pg_class', old);
        execute format('alter table %s rename to %I', old::regclass, 'app_' || p_name);
        execute format('alter table %s set schema coach', old::regclass);
        execute format('revoke all on coach.%I from public, anon, authenticated, service_role', 'app_' || p_name);
        perform coach.report(format('public.%s: replaced by a view of coach.%s', p_name, p_name));
    end if;
end
$$;

-- What a view of ours chooses from the app's of that name, and how that is joined: the columns that ours, v, has not, of
-- the row with the same key. They are null where the app's has not the user in it.
create function coach.join_app_view(p_name name, out chosen text, out joined text)
language plpgsql
as $$
declare
    theirs regclass := to_regclass(format('coach.%I', 'app_' || p_name));
    ours regclass := format('coach.%I', p_name)::regclass;
    extra name[];
    key text;
begin
    select
        array_agg(attname order by attnum), string_agg(format(', app.%I', attname), '' order by attnum)
    into extra, chosen
    from pg_attribute t
    where attrelid = theirs
        and attnum > 0
        and not attisdropped
        and not exists (select from pg_attribute o where o.attrelid = ours and o.attname = t.attname);
    if extra is null then
        if theirs is not null then
            execute (select format('drop %s %s', type, identity) from pg_identify_object('pg_class'::regclass, theirs, 0));
        end if;
        return;
    end if;
    select string_agg(
        format(
            'a.%1$I%2$s::text = v.%1$I::text',
            o.attname, case when o.atttypid = 'date'::regtype and t.atttypid <> 'date'::regtype then '::date' else '' end
        ),
        ' and '
    )
    into key
    from pg_index
    join pg_attribute o on o.attrelid = indrelid and o.attnum = any (indkey)
    join pg_attribute t on t.attrelid = theirs and t.attname = o.attname
    where indrelid = ours and indisunique
    having bool_or(o.attname = 'user_id');
    joined := format('left join lateral (select * from %s a where %s limit 1) app on true', theirs, coalesce(key, 'false'));
    perform coach.report(format(
        'public.%s: still has %s, as the app''s did%s',
        p_name, array_to_string(extra, ', '), case when key is null then ', but null: the app''s has no user_id' else '' end
    ));
end
$$;
