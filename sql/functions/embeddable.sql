-- What of life may be embedded, by consent: not what was put away. Nobody's to read: functions of the owner's queue from it.
create view coach.embeddable_life as
select user_id, 'pillars' as entity_table, id as entity_id from public.pillars where not archived
union all
select user_id, 'areas', id from public.areas where not archived
union all
select user_id, 'projects', id from public.projects where not archived
union all
select user_id, 'tasks', id from public.tasks where not archived
union all
select user_id, 'journal_entries', id from public.journal_entries where not deleted
union all
select user_id, 'pillar_metrics', id from public.pillars where behavior_metrics <> '[]' and not archived
union all
select user_id, 'area_metrics', id from public.areas where behavior_metrics <> '[]' and not archived
union all
select m.user_id, 'ai_conversation_memory', m.id
from public.ai_conversation_memory m
left join public.conversations c on c.user_id = m.user_id and c.id = m.conversation_id
where m.message_embedding is null
    and not m.deleted
    and m.status in ('complete', 'interrupted')
    and m.message_role <> 'system'
    and m.message_content <> ''
    and not coalesce(c.incognito, false);

create view coach.embeddable as
select e.user_id, e.entity_table, e.entity_id
from coach.embeddable_life e
where exists (select from auth.users u where u.id = e.user_id)
    and not exists (
        select
        from public.user_analytics_preferences c
        where c.user_id = e.user_id
            and (
                not c.record_rag_snippets
                or not c.store_behavioral_embeddings
                    and e.entity_table in ('journal_entries', 'pillar_metrics', 'area_metrics')
                or not c.track_pillar_metrics and e.entity_table in ('pillar_metrics', 'area_metrics')
            )
    );
revoke all on coach.embeddable_life, coach.embeddable from public, anon, authenticated;
