-- What a vector's entity is called in the queue: a text that the next model refuses waits there, and is given up there,
-- while its old vector serves. Summaries of areas are numbered downwards, those of pillars upwards.
create function coach.queued_as(p_domain_tag text, p_chunk integer) returns text
language sql immutable
as $$
    select case p_domain_tag
        when 'pillar' then 'pillars'
        when 'area' then 'areas'
        when 'project' then 'projects'
        when 'task' then 'tasks'
        when 'journal_entry' then 'journal_entries'
        when 'behavior_summary' then case when p_chunk < 0 then 'area_metrics' else 'pillar_metrics' end
    end
$$;
revoke all on function coach.queued_as(text, integer) from public;
grant execute on function coach.queued_as(text, integer) to service_role;
