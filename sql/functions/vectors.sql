-- after: columns
-- An app's vectors become halfvec(1536). Those of as many dimensions go with their code in one command: type and storage
-- in separate ones would leave the vectors toasted. Others are of another model; the pipeline makes them anew.
create function coach.halve_vectors(p_table name, p_column name) returns void
language plpgsql
as $$
declare
    target regclass := to_regclass(format('public.%I', p_table));
    found record;
    old record;
    gone bigint;
begin
    select attnum as number, format_type(atttypid, atttypmod) as type
    into found
    from pg_attribute
    where attrelid = target and attname = p_column and not attisdropped;
    if found.type ~ '^(\w+\.)?halfvec\(1536\)$' or found.type is null then
        return;
    end if;
    perform coach.pause_triggers(target);
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
    if found.type !~ '^(\w+\.)?vector\(1536\)$' then
        perform coach.convert_column(target, p_column, 'halfvec(1536)', 'user_id');
        if (select attnotnull from pg_attribute where attrelid = format('coach.%I', p_table)::regclass and attname = p_column) then
            execute format(
                'with gone as (delete from %1$s t where %2$I is null returning to_jsonb(t) - %2$L as content)
                insert into coach.system_log (webhook_type, table_name, row_id, old_value)
                select ''adoption_other_model'', %3$L, content ->> ''id'', content from gone',
                target, p_column, p_table
            );
            get diagnostics gone = row_count;
            perform coach.report(format(
                'public.%s: %s rows moved to coach.repaired_values, since their vectors are of another model; the worker makes '
                    'them anew',
                p_table, gone
            ), 'converted');
        end if;
        return;
    end if;
    perform coach.set_aside_dependents('pg_class', target, found.number);
    execute format(
        'alter table %1$s
            alter %2$I type halfvec(1536),
            alter %2$I set storage plain,
            add code bit(1536) generated always as (binary_quantize(%2$I)::bit(1536)) stored,
            alter code set storage plain,
            set (toast_tuple_target = 8160)',
        target, p_column
    );
    perform coach.report(format('public.%s: %s is halfvec(1536) now', p_table, p_column), 'converted');
end
$$;

-- Whose vectors an app's are: the original design's model, or another that an operator names before the first migration:
-- alter database … set coach.app_embedding_model = 'text-embedding-3-small'.
create function coach.app_model() returns text
language sql stable
as $$ select coalesce(nullif(current_setting('coach.app_embedding_model', true), ''), 'text-embedding-ada-002') $$;
grant execute on function coach.app_model to authenticated, service_role;

-- Vectors that were there before they had a model beside them are the app's.
create function coach.label_vectors(p_table name, p_column name) returns void
language plpgsql
as $$
begin
    if to_regclass(format('public.%I', p_table)) is not null then
        perform coach.pause_triggers(format('public.%I', p_table)::regclass);
        execute format('alter table public.%I add column if not exists embedding_model text', p_table);
        execute format(
            'update public.%I
            set embedding_model = coach.app_model()
            where embedding_model is null and %I is not null',
            p_table, p_column
        );
    end if;
end
$$;

-- Several snippets of one entity become its chunks.
create function coach.number_chunks(p_table name) returns void
language plpgsql
as $$
begin
    if to_regclass(format('public.%I', p_table)) is null then
        return;
    end if;
    perform coach.pause_triggers(format('public.%I', p_table)::regclass);
    execute format('alter table public.%I add column if not exists chunk integer not null default 0', p_table);
    execute format(
        'update public.%1$I t
        set chunk = numbered.chunk
        from (
            select ctid, row_number() over (
                partition by user_id, domain_tag, entity_id, embedding_model
                order by chunk, created_at, id
            ) - 1 as chunk
            from public.%1$I
        ) numbered
        where t.ctid = numbered.ctid and t.chunk <> numbered.chunk',
        p_table
    );
end
$$;
