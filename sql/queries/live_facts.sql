-- Live facts of one user, read on every turn.

-- name: live_facts(user_id, now, horizon, tasks, deadlines, changed)$
-- As text: it is decoded straight into its types.
select coach.live_facts(:user_id, :now, :horizon, :tasks::integer, :deadlines::integer, :changed::integer)::text;

-- name: suggestion_subjects(user_id)
-- What a question may name: of each of the largest areas (most open tasks, then importance) the most pressing project
-- that is not done, or the area itself where it has none. One row even where there is nothing; index areas_pkey, and per
-- area projects_pkey and tasks_pkey, which begin with the user.
select
    array(
        select coalesce(pressing.name, a.name)
        from areas a
        left join lateral (
            select p.name
            from projects p
            where p.user_id = a.user_id and p.area_id = a.id and not p.archived and p.status <> 'Completed'
            order by (p.status = 'In Progress') desc, p.deadline, p.importance desc, p.id
            limit 1
        ) pressing on true
        cross join lateral (
            select count(*) as tasks
            from projects p
            join tasks t on t.user_id = p.user_id and t.project_id = p.id
            where p.user_id = a.user_id and p.area_id = a.id and not (p.archived or t.archived or t.completed)
        ) size
        where a.user_id = :user_id and not a.archived
        order by size.tasks desc, a.importance desc, a.name
        limit 4
    ) as names,
    exists (select from areas where user_id = :user_id)
    or exists (select from projects where user_id = :user_id)
    or exists (select from tasks where user_id = :user_id)
    or exists (select from journal_entries where user_id = :user_id) as has_rows;
