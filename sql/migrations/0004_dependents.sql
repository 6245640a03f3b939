-- Setting aside what stands on something that must be replaced (views on a column of another type, functions whose
-- result changes), and putting it back. What cannot be put back stays in the table, as the statements that made it.
create table coach.set_aside (
    position bigint generated always as identity primary key,
    what text not null,
    statements text[] not null
);
alter table coach.set_aside enable row level security;
alter table coach.set_aside force row level security;
grant select, delete on coach.set_aside to service_role;

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
                'create %s %s %s as %s',
                case relkind when 'm' then 'materialized view' else 'view' end, oid::regclass,
                'with (' || nullif(array_to_string(reloptions, ', '), '') || ')', pg_get_viewdef(oid)
            ),
            format('alter table %s owner to %s', oid::regclass, relowner::regrole)
        ]
        || array(select pg_get_indexdef(indexrelid) from pg_index where indrelid = p_view)
        || coach.grant_statements('table', oid::regclass::text, relacl)
        || case when obj_description(oid) is not null then
            array[format(
                'comment on %s %s is %L', case relkind when 'm' then 'materialized view' else 'view' end,
                oid::regclass, obj_description(oid)
            )]
        else '{}' end
    from pg_class
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

-- Saves and drops, deepest first, the views and functions that depend on one thing (or one column of it).
create function coach.set_aside_dependents(p_catalog regclass, p_object oid, p_column integer default null)
returns void
language plpgsql
as $$
declare
    dependent record;
begin
    for dependent in
        select distinct
            case classid when 'pg_rewrite'::regclass then 'pg_class'::regclass else classid::regclass end as catalog,
            coalesce(ev_class, objid) as id
        from pg_depend
        left join pg_rewrite r on classid = 'pg_rewrite'::regclass and r.oid = objid
        where refclassid = p_catalog
            and refobjid = p_object
            and (p_column is null or refobjsubid in (0, p_column))
            and deptype = 'n'
            and classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass)
            and coalesce(ev_class, objid) <> p_object
    loop
        perform coach.set_aside_dependents(dependent.catalog, dependent.id);
        if dependent.catalog = 'pg_class'::regclass then
            perform coach.set_aside_view(dependent.id);
        else
            perform coach.set_aside_function(dependent.id);
        end if;
    end loop;
end
$$;

create function coach.set_aside_view(p_view regclass) returns void
language plpgsql
as $$
begin
    -- Gone already where two ways lead to it.
    if exists (select from pg_class where oid = p_view) then
        insert into coach.set_aside (what, statements) values ('view ' || p_view, coach.view_statements(p_view));
        execute format(
            'drop %s %s',
            (select case relkind when 'm' then 'materialized view' else 'view' end from pg_class where oid = p_view),
            p_view
        );
    end if;
end
$$;

create function coach.set_aside_function(p_function regprocedure) returns void
language plpgsql
as $$
begin
    if exists (select from pg_proc where oid = p_function) then
        insert into coach.set_aside (what, statements)
        values ('function ' || p_function, coach.function_statements(p_function));
        execute format('drop function %s', p_function);
    end if;
end
$$;

-- Puts back everything that was set aside, last first.
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
            when syntax_error_or_access_rule_violation or invalid_schema_name or invalid_parameter_value then
                perform coach.report(format(
                    '%s: could not be recreated (%s); its definition is in coach.set_aside', saved.what, sqlerrm
                ));
        end;
    end loop;
end
$$;

-- Functions of an app that ours replace: a result type cannot be changed in place.
create function coach.drop_functions(p_name name) returns void
language plpgsql
as $$
declare
    old regprocedure;
begin
    for old in
        select oid::regprocedure from pg_proc where proname = p_name and pronamespace = 'public'::regnamespace
    loop
        perform coach.set_aside_dependents('pg_proc', old);
        perform coach.report(format('function %s: replaced', old));
        execute format('drop function %s', old);
    end loop;
end
$$;

-- An app's view of that name in public is derived data: ours takes its place.
create function coach.replace_public_view(p_name name) returns void
language plpgsql
as $$
declare
    kind "char" := (select relkind from pg_class where oid = to_regclass(format('public.%I', p_name)));
begin
    if kind in ('v', 'm') then
        perform coach.set_aside_dependents('pg_class', format('public.%I', p_name)::regclass);
        execute format(
            'drop %s public.%I', case kind when 'm' then 'materialized view' else 'view' end, p_name
        );
        perform coach.report(format('public.%s: replaced by a view of coach.%s', p_name, p_name));
    end if;
end
$$;

-- A vector(1536) column becomes halfvec(1536) with its code, in one command: type and storage in separate ones would
-- leave the vectors toasted. Indexes of vector's operators do not carry over and are not needed any more.
create function coach.halve_vectors(p_table name, p_column name) returns void
language plpgsql
as $$
declare
    target regclass := to_regclass(format('public.%I', p_table));
    number smallint := (
        select attnum
        from pg_attribute
        join pg_type t on t.oid = atttypid
        where attrelid = target and attname = p_column and typname = 'vector'
    );
    old record;
begin
    if number is null then
        return;
    end if;
    perform coach.set_aside_dependents('pg_class', target, number);
    for old in
        select indexrelid::regclass::text as index
        from pg_index
        join pg_class c on c.oid = indexrelid
        join pg_am on pg_am.oid = relam
        where indrelid = target and amname in ('hnsw', 'ivfflat')
    loop
        execute format('drop index %s', old.index);
        perform coach.report(format('public.%s: index %s dropped', p_table, old.index));
    end loop;
    for old in
        select tgname, pg_get_triggerdef(oid) as definition
        from pg_trigger
        where tgrelid = target and not tgisinternal and number = any (tgattr::smallint[])
    loop
        insert into coach.set_aside (what, statements)
        values (format('trigger %s on public.%s', old.tgname, p_table), array[old.definition]);
        execute format('drop trigger %I on %s', old.tgname, target);
    end loop;
    execute format(
        'alter table %1$s
            alter %2$I type halfvec(1536),
            alter %2$I set storage plain,
            add code bit(1536) generated always as (binary_quantize(%2$I)::bit(1536)) stored,
            alter code set storage plain,
            set (toast_tuple_target = 8160)',
        target, p_column
    );
    perform coach.report(format('public.%s: %s is halfvec(1536) now', p_table, p_column));
end
$$;

revoke all on all functions in schema coach from public;
grant execute on function coach.acts_for(uuid) to authenticated, service_role;
