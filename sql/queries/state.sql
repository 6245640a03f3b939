-- Live facts about one person, read on every turn.

-- name: live_facts(user_id, now, horizon, tasks, deadlines, changed)$
-- As text: it is decoded straight into its types.
select coach.live_facts(:user_id, :now, :horizon, :tasks::integer, :deadlines::integer, :changed::integer)::text;

-- name: suggestion_subjects(user_id)
-- What a question may name, the largest areas first: those with the most open tasks, then the most important. Areas that
-- are archived are left out. One row even where there is nothing; indexes areas_pkey, projects_pkey, tasks_pkey.
select
    coalesce(
        (
            select array_agg(largest.name order by largest.size desc, largest.importance desc, largest.name)
            from (
                select
                    a.name, a.importance,
                    (
                        select count(*)
                        from projects p
                        join tasks t on t.user_id = p.user_id and t.project_id = p.id
                        where p.user_id = a.user_id and p.area_id = a.id
                            and not p.archived and not t.archived and not t.completed
                    ) as size
                from areas a
                where a.user_id = :user_id and not a.archived
                order by size desc, a.importance desc, a.name
                limit 4
            ) largest
        ),
        '{}'
    ) as areas,
    exists (select from areas where user_id = :user_id)
    or exists (select from projects where user_id = :user_id)
    or exists (select from tasks where user_id = :user_id)
    or exists (select from journal_entries where user_id = :user_id)
    or exists (select from ai_conversation_memory where user_id = :user_id) as has_rows;
