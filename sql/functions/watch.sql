-- after: queue
-- All pipeline triggers of a table, from its rows of coach.entity_kinds. A migration that adds a kind calls it.
create function coach.watch(p_table name) returns void
language plpgsql
as $$
declare
    k coach.entity_kinds;
    names text[];
    kinds text[];
    signs integer[];
    is_hidden text;
begin
    select
        array_agg(queue_name order by queue_name <> table_name),
        array_agg(kind order by queue_name <> table_name),
        array_agg(chunk_sign order by queue_name <> table_name),
        min(format('new.%1$I and not old.%1$I', hidden_by))
    into names, kinds, signs, is_hidden
    from coach.entity_kinds
    where table_name = p_table;
    if names is null then
        raise exception 'coach.watch: % has no row in coach.entity_kinds', p_table
            using errcode = 'invalid_parameter_value';
    end if;
    for k in select * from coach.entity_kinds where table_name = p_table loop
        if k.filled_by is null then
            perform coach.watch_rows(k);
        else
            perform coach.watch_points(k);
        end if;
    end loop;
    perform coach.add_trigger(
        p_table, 'embed_deleted', 'after delete', null, format('unqueue_row(%L, %L, %L)', names, kinds, signs)
    );
    -- Hidden is gone from the search as if it were deleted; the triggers of changes queue it again when it is shown.
    perform coach.add_trigger(
        p_table, 'embed_hidden', 'after update', is_hidden,
        format('unqueue_row(%L, %L, %L)', names, kinds, signs)
    );
end
$$;

-- The rows of a kind: new ones by the statement (Citus has no transition tables: there by the row); changed ones where a
-- column of their snippets did. One that others carry, or that hangs the row elsewhere, expands, and is queued of what is
-- hidden as well: the worker finds no snippet of it, but of what is in it.
create function coach.watch_rows(k coach.entity_kinds) returns void
language plpgsql
as $$
begin
    if coach.on_citus() then
        perform coach.add_trigger(
            k.table_name, 'embed_added', 'after insert', format('not new.%I', k.hidden_by),
            format('queue_row(%L, false)', k.queue_name)
        );
    else
        execute format(
            'create or replace trigger coach_embed_added
            after insert on public.%I
            referencing new table as added
            for each statement
            execute function coach.queue_added(%L, %L)',
            k.table_name, k.queue_name, k.hidden_by
        );
    end if;
    perform coach.add_trigger(
        k.table_name, 'embed_changed', 'after update',
        format('not new.%I and %s', k.hidden_by, coach.differs(k.content || k.hidden_by)),
        format('queue_row(%L, false)', k.queue_name)
    );
    if k.naming <> '{}' then
        perform coach.add_trigger(
            k.table_name, 'embed_renamed', 'after update', coach.differs(k.naming),
            format('queue_row(%L, true)', k.queue_name)
        );
    end if;
end
$$;

-- The points of a kind, kept in a column of another kind's rows.
create function coach.watch_points(k coach.entity_kinds) returns void
language plpgsql
as $$
declare
    queue text := format('queue_row(%L, false)', k.queue_name);
begin
    perform coach.add_trigger(
        k.table_name, 'embed_measured', 'after insert',
        format('new.%I <> ''[]'' and not new.%I', k.filled_by, k.hidden_by), queue
    );
    perform coach.add_trigger(
        k.table_name, 'embed_remeasured', 'after update',
        format(
            'not new.%2$I and (%3$s or old.%2$I and new.%1$I <> ''[]'')',
            k.filled_by, k.hidden_by, coach.differs(array[k.filled_by])
        ),
        queue
    );
end
$$;

create function coach.differs(p_columns name[]) returns text
language sql immutable
as $$
    select format(
        '(%s) is distinct from (%s)', string_agg(format('new.%I', c), ', '), string_agg(format('old.%I', c), ', ')
    )
    from unnest(p_columns) c
$$;

create function coach.add_trigger(p_table name, p_name text, p_event text, p_condition text, p_call text) returns void
language plpgsql
as $$
begin
    execute format(
        'create or replace trigger coach_%s %s on public.%I for each row %s execute function coach.%s',
        p_name, p_event, p_table, coalesce('when (' || p_condition || ')', ''), p_call
    );
end
$$;

select coach.watch(table_name) from coach.entity_kinds group by table_name order by table_name;
