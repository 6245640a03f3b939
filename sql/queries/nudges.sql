-- name: users_to_nudge(after, limit)
-- One page of all users, by id. Primary key.
select id
from user_profiles
where id > coalesce(:after::uuid, '00000000-0000-0000-0000-000000000000') and is_active
order by id
limit :limit::integer;

-- name: make_nudges(user_ids, now, per_day)
-- What these users may be nudged about now, made once a subject. Every hurdle stands in "open_to": consent, quiet hours
-- and the day by their own clock, flow, and how many there were today. Indexes that begin with user_id throughout.
with consenting as (
    select
        p.id as user_id,
        p.timezone,
        (:now::timestamptz at time zone p.timezone)::date as today,
        (:now::timestamptz at time zone p.timezone)::time as clock,
        coalesce(c.quiet_from, '21:00') as quiet_from,
        coalesce(c.quiet_until, '08:00') as quiet_until
    from user_profiles p
    left join user_analytics_preferences c on c.user_id = p.id
    cross join lateral coach.consents_of(p.id) allowed
    where p.id = any (:user_ids::uuid[]) and allowed.analytics_consent and allowed.ai_behavior_tracking
),
open_to as (
    select
        p.*,
        :per_day::integer - (
            select count(*)
            from nudges n
            where n.user_id = p.user_id and n.created_at >= p.today::timestamp at time zone p.timezone
        ) as room
    from consenting p
    where not case
            when p.quiet_from <= p.quiet_until then p.clock >= p.quiet_from and p.clock < p.quiet_until
            else p.clock >= p.quiet_from or p.clock < p.quiet_until
        end
        -- An entry without an exit, for four hours; or a session whose duration is known.
        and not coalesce(
            (
                select e.action_type = 'flow_entry' and e.timestamp > :now::timestamptz - interval '4 hours'
                from user_behavior_events e
                where e.user_id = p.user_id
                    and e.flow_state_event
                    and e.action_type in ('flow_entry', 'flow_exit')
                    and e.timestamp <= :now
                order by e.timestamp desc, e.created_at desc
                limit 1
            ),
            false
        )
        and not exists (
            select
            from user_behavior_events e
            where e.user_id = p.user_id
                and e.flow_state_event
                and e.action_type = 'flow_session'
                and e.timestamp between :now::timestamptz - interval '1 day' and :now
                and e.timestamp + least(coalesce(e.duration_ms, 0), 86400000) * interval '1 millisecond' > :now
        )
),
overdue as (
    select
        p.user_id, 'overdue_commitment' as kind,
        'commitment:' || k.id || ':' || to_char(p.today, 'IYYY-"W"IW') as subject,
        '“' || k.title || '” was due on ' || to_char(coalesce(t.due_date, k.due_date), 'FMDD FMMonth')
        || '. Still on? You can move it, or let it go.' as body,
        jsonb_build_object('commitment_id', k.id, 'task_id', k.task_id) as details,
        1 as rank, coalesce(t.due_date, k.due_date) as since, p.today, p.timezone
    from open_to p
    join commitments k on k.user_id = p.user_id and k.status = 'accepted'
    join tasks t on t.user_id = k.user_id and t.id = k.task_id and not t.completed and not t.archived
    where coalesce(t.due_date, k.due_date) < p.today
),
-- Active on the three days before yesterday, and neither yesterday nor today.
broken as (
    select
        p.user_id, 'broken_streak', 'streak:' || p.today,
        'You kept going for days, and yesterday was quiet. One small thing today picks the thread up again.',
        jsonb_build_object('last_day', p.today - 2),
        2, p.today, p.today, p.timezone
    from open_to p
    where (
        select array_agg(day.back order by day.back)
        from generate_series(0, 4) day (back)
        cross join lateral (
            select
                (p.today - day.back)::timestamp at time zone p.timezone as begins,
                (p.today - day.back + 1)::timestamp at time zone p.timezone as ends
        ) span
        where exists (
            select
            from ai_conversation_memory m
            where m.user_id = p.user_id
                and m.message_role = 'user'
                and m.conversation_date >= span.begins
                and m.conversation_date < span.ends
        )
        or exists (
            select
            from tasks t
            where t.user_id = p.user_id and t.completed_at >= span.begins and t.completed_at < span.ends
        )
        or exists (
            select
            from journal_entries j
            where j.user_id = p.user_id and not j.deleted and j.created_at >= span.begins and j.created_at < span.ends
        )
        or exists (
            select
            from user_behavior_events e
            where e.user_id = p.user_id and e.timestamp >= span.begins and e.timestamp < span.ends
        )
    ) = '{2, 3, 4}'
),
-- There is something to do in it, and for two weeks nothing has been done. The one that has waited longest.
neglected as (
    select distinct on (p.user_id)
        p.user_id, 'neglected_pillar', 'pillar:' || l.id || ':' || to_char(p.today, 'IYYY-"W"IW'),
        'Nothing has moved in “' || left(l.name, 200) || '” for two weeks. Is there one small step for it this week?',
        jsonb_build_object('pillar_id', l.id),
        3, touched.last::date, p.today, p.timezone
    from open_to p
    join pillars l on l.user_id = p.user_id and not l.archived and l.created_at < :now::timestamptz - interval '14 days'
    cross join lateral (
        select
            count(*) filter (where not t.completed and not t.archived) as waiting,
            coalesce(max(greatest(t.created_at, t.updated_at, t.completed_at)), l.created_at) as last
        from areas a
        join projects j on j.user_id = a.user_id and j.area_id = a.id
        join tasks t on t.user_id = j.user_id and t.project_id = j.id
        where a.user_id = l.user_id and a.pillar_id = l.id
    ) touched
    where touched.waiting > 0 and touched.last < :now::timestamptz - interval '14 days'
    order by p.user_id, touched.last, l.id
),
fresh as (
    select
        found.*,
        row_number() over (partition by found.user_id order by found.rank, found.since, found.subject) as place
    from (
        select *
        from overdue
        union all
        select *
        from broken
        union all
        select *
        from neglected
    ) found
    where not exists (
        select
        from nudges n
        where n.user_id = found.user_id and n.kind = found.kind and n.subject = found.subject
    )
)
insert into nudges (user_id, kind, subject, body, details, created_at, expires_at, delivered_at)
select
    f.user_id, f.kind, f.subject, f.body, f.details, :now,
    (case when f.kind = 'broken_streak' then f.today + 1 else f.today + 7 end)::timestamp at time zone f.timezone, :now
from fresh f
join open_to p on p.user_id = f.user_id
where f.place <= p.room
order by f.user_id, f.place
on conflict (user_id, kind, subject) do nothing
returning user_id, id, kind, body, details, created_at, expires_at;

-- name: nudges(user_id, now, before, before_id, limit)
-- GET /api/nudges: valid nudges, newest first, while the user consents. Index (user_id, created_at).
select n.id, n.kind, n.body, n.details, n.created_at, n.expires_at
from nudges n
cross join lateral coach.consents_of(n.user_id) c
where n.user_id = :user_id
    and n.dismissed_at is null
    and (n.expires_at is null or n.expires_at > :now)
    and c.analytics_consent
    and c.ai_behavior_tracking
    and (n.created_at, n.id) < (:before, :before_id)
order by n.created_at desc, n.id desc
limit :limit::integer;

-- name: dismiss(user_id, id, now)$
-- The row stays, so that the same nudge is not made again.
update nudges
set dismissed_at = coalesce(dismissed_at, :now)
where user_id = :user_id and id = :id
returning id;
