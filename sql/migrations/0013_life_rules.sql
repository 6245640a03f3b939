-- What holds for life data whoever writes it: a browser comes here without passing the API.

create function coach.touch() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end
$$;

do $$
declare
    touched name;
begin
    foreach touched in array array[
        'user_profiles', 'user_analytics_preferences', 'pillars', 'areas', 'projects', 'tasks', 'journal_entries'
    ]::name[] loop
        execute format(
            'create or replace trigger coach_touch
            before update on public.%I
            for each row execute function coach.touch()',
            touched
        );
    end loop;
end
$$;

-- The areas of a deleted pillar stay. After the row, and before the foreign key looks (RI_ sorts behind A_): a before
-- trigger fails as soon as the pillar itself goes by a cascade.
create function coach.null_children() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    update public.areas set pillar_id = null where user_id = old.user_id and pillar_id = old.id;
    return null;
end
$$;
create or replace trigger "A_null_children"
    after delete on public.pillars
    for each row execute function coach.null_children();

-- What is deleted is never retrieved again, from that commit on. Index: the unique one of user_metadata_embeddings.
create function coach.forget() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    delete from public.user_metadata_embeddings
    where user_id = old.user_id and domain_tag = tg_argv[0] and entity_id = old.id;
    return null;
end
$$;
create or replace trigger coach_forget
    after delete on public.pillars for each row execute function coach.forget('pillar');
create or replace trigger coach_forget
    after delete on public.areas for each row execute function coach.forget('area');
create or replace trigger coach_forget
    after delete on public.projects for each row execute function coach.forget('project');
create or replace trigger coach_forget
    after delete on public.tasks for each row execute function coach.forget('task');
create or replace trigger coach_forget
    after delete on public.journal_entries for each row execute function coach.forget('journal_entry');
create or replace trigger coach_forget_deleted
    after update of deleted on public.journal_entries
    for each row
    when (new.deleted and not old.deleted)
    execute function coach.forget('journal_entry');

-- A point in time from JSON, or null: one user's bad value must not stop a refresh for all. Words like 'now' or
-- 'infinity' are casts too, hence the pattern.
create function coach.moment(p_text text) returns timestamptz
language plpgsql stable
set search_path = ''
set timezone = 'UTC'
as $$
begin
    if p_text !~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$' then
        return null;
    end if;
    return p_text::timestamptz;
exception
    when data_exception then
        return null;
end
$$;

-- A number from JSON, or null. These have no search_path of their own, or they could not be inlined: an update with 361
-- points took 21 ms, now 9.
create function coach.measure(p_value jsonb) returns numeric
language sql immutable parallel safe
as $$ select case when jsonb_typeof(p_value) = 'number' then p_value::numeric end $$;

create function coach.is_outside(p_value jsonb, p_lowest numeric, p_highest numeric) returns boolean
language sql immutable parallel safe
as $$
    select case coalesce(jsonb_typeof(p_value), 'null')
        when 'null' then false
        when 'number' then p_value::numeric not between p_lowest and p_highest
        else true
    end
$$;

-- What is wrong with a metric point; null where nothing is.
create function coach.metric_point_problem(p_point jsonb) returns text
language sql stable
as $$
    select case
        when jsonb_typeof(p_point) is distinct from 'object' then 'must be an object'
        when coach.moment(p_point ->> 'timestamp') is null then 'timestamp must be an RFC 3339 time'
        when coach.is_outside(p_point -> 'alignment_score', 0, 1) then 'alignment_score must be a number from 0 to 1'
        when coach.is_outside(p_point -> 'sentiment', -1, 1) then 'sentiment must be a number from -1 to 1'
        when coach.is_outside(p_point -> 'habit_strength', 0, 1) then 'habit_strength must be a number from 0 to 1'
        when coach.is_outside(p_point -> 'energy_level', 0, 1) then 'energy_level must be a number from 0 to 1'
        when coach.is_outside(p_point -> 'focus_time_minutes', 0, 1e6)
            then 'focus_time_minutes must be a number from 0 to 1000000'
    end
$$;

create function coach.check_metrics() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    known jsonb := case tg_op when 'UPDATE' then old.behavior_metrics else '[]' end;
    retained_days integer := coalesce(
        (select data_retention_days from public.user_analytics_preferences where user_id = new.user_id), 365
    );
    problem text;
    kept jsonb;
begin
    if new.behavior_metrics is not distinct from known then
        return new;
    end if;
    if jsonb_typeof(new.behavior_metrics) is distinct from 'array' then
        raise exception 'behavior_metrics: must be an array of points' using errcode = 'invalid_parameter_value';
    end if;
    select
        (array_agg(format('behavior_metrics[%s]: %s', n - 1, wrong) order by n) filter (where wrong is not null))[1],
        coalesce(
            jsonb_agg(point order by moment) filter (where moment >= now() - make_interval(days => retained_days)), '[]'
        )
    into problem, kept
    from (
        select point, n, coach.moment(point ->> 'timestamp') as moment, coach.metric_point_problem(point) as wrong
        from jsonb_array_elements(new.behavior_metrics) with ordinality points (point, n)
        offset 0
    ) checked;
    if problem is not null then
        raise exception '%', problem using errcode = 'invalid_parameter_value';
    end if;
    -- Containment, so that taking points away stays possible.
    if not known @> new.behavior_metrics and not public.user_has_consented(new.user_id, 'track_pillar_metrics') then
        raise exception 'behavior_metrics: track_pillar_metrics is not consented to' using errcode = 'CA002';
    end if;
    new.behavior_metrics := kept;
    return new;
end
$$;

-- An adopted table's bad points, each kept in the log.
do $$
declare
    measured name;
    cleaned bigint;
begin
    foreach measured in array array['pillars', 'areas']::name[] loop
        execute format(
            'insert into coach.system_log (webhook_type, table_name, row_id, old_value)
            select ''adoption_bad_metrics'', %1$L, id::text, jsonb_build_object(''behavior_metrics'', behavior_metrics)
            from public.%1$I
            where case jsonb_typeof(behavior_metrics)
                when ''array'' then exists (
                    select from jsonb_array_elements(behavior_metrics) point
                    where coach.metric_point_problem(point) is not null
                )
                else true
            end',
            measured
        );
        get diagnostics cleaned = row_count;
        if cleaned > 0 then
            execute format(
                'update public.%1$I t
                set behavior_metrics = coalesce(
                    (
                        select jsonb_agg(point order by coach.moment(point ->> ''timestamp''))
                        from jsonb_array_elements(
                            case jsonb_typeof(t.behavior_metrics) when ''array'' then t.behavior_metrics else ''[]'' end
                        ) point
                        where coach.metric_point_problem(point) is null
                    ),
                    ''[]''
                )
                from coach.system_log log
                where log.webhook_type = ''adoption_bad_metrics''
                    and log.table_name = %1$L
                    and log.row_id = t.id::text',
                measured
            );
            perform coach.report(format('public.%s: bad metric points removed from %s rows', measured, cleaned));
        end if;
    end loop;
end
$$;

create or replace trigger coach_check_metrics
    before insert or update of behavior_metrics on public.pillars
    for each row execute function coach.check_metrics();
create or replace trigger coach_check_metrics
    before insert or update of behavior_metrics on public.areas
    for each row execute function coach.check_metrics();

revoke all on all functions in schema coach from public;
grant execute
    on function coach.moment(text), coach.measure(jsonb), coach.is_outside(jsonb, numeric, numeric),
        coach.metric_point_problem(jsonb)
    to authenticated, service_role;
