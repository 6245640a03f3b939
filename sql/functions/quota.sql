-- after: access, dependents, values
-- What an app may ask about the month; months are UTC calendar months.
select coach.drop_functions('check_ai_quota_available');

select coach.drop_functions('get_user_ai_usage_current_month');

create function public.check_ai_quota_available(p_user_id uuid, p_monthly_limit integer default null)
returns table (has_quota boolean, remaining integer, used integer, limit_reached boolean)
language sql stable
set search_path = ''
as $$
    select taken < quota, greatest(quota - taken, 0), taken, taken >= quota
    from (
        select
            coalesce(
                p_monthly_limit,
                (select l.monthly_limit from coach.ai_limits l where l.user_id = p_user_id),
                250
            ) as quota,
            coalesce(
                (
                    select m.used + m.reserved
                    from public.ai_quota_months m
                    where m.user_id = p_user_id and m.month = coach.current_month()
                ),
                0
            ) as taken
    ) month
    where coach.may_act_for(p_user_id)
$$;

create function public.get_user_ai_usage_current_month(p_user_id uuid)
returns table (
    month date,
    total_interactions bigint,
    successful_interactions bigint,
    total_tokens bigint,
    input_tokens bigint,
    output_tokens bigint,
    cost_usd numeric,
    avg_processing_ms numeric,
    by_feature jsonb
)
language sql stable
set search_path = ''
as $$
    with feature as (
        select
            feature_type,
            count(*) as interactions,
            count(*) filter (where success) as successful,
            coalesce(sum(tokens_used), 0) as tokens,
            coalesce(sum(i.input_tokens), 0) as tokens_in,
            coalesce(sum(i.output_tokens), 0) as tokens_out,
            coalesce(sum(i.cost_usd), 0) as cost,
            sum(processing_time_ms) as processing_ms,
            count(processing_time_ms) as timed
        from public.ai_interactions i
        where user_id = p_user_id
            and created_at >= coach.current_month()::timestamp at time zone 'UTC'
            and status not in ('reserved', 'refunded')
        group by feature_type
    )
    select
        coach.current_month(),
        coalesce(sum(interactions), 0)::bigint,
        coalesce(sum(successful), 0)::bigint,
        coalesce(sum(tokens), 0)::bigint,
        coalesce(sum(tokens_in), 0)::bigint,
        coalesce(sum(tokens_out), 0)::bigint,
        coalesce(sum(cost), 0),
        round(sum(processing_ms)::numeric / nullif(sum(timed), 0)),
        coalesce(
            jsonb_object_agg(feature_type, jsonb_build_object('interactions', interactions, 'tokens', tokens))
                filter (where feature_type is not null),
            '{}'
        )
    from feature
    having coach.may_act_for(p_user_id)
$$;
select coach.keep_results('check_ai_quota_available');

select coach.keep_results('get_user_ai_usage_current_month');
