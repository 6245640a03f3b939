-- after: consents, values
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
            'create trigger coach_touch
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
create trigger "A_null_children"
    after delete on public.pillars
    for each row execute function coach.null_children();

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
    if not known @> new.behavior_metrics then
        perform coach.require_consent(new.user_id, 'track_pillar_metrics', 'behavior_metrics');
    end if;
    new.behavior_metrics := kept;
    return new;
end
$$;
create trigger coach_check_metrics
    before insert or update of behavior_metrics on public.pillars
    for each row execute function coach.check_metrics();
create trigger coach_check_metrics
    before insert or update of behavior_metrics on public.areas
    for each row execute function coach.check_metrics();
