-- after: queue
-- Days in snippets are the user's own: another zone, and the worker looks at what names one.
create function coach.queue_dated_rows() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    insert into public.embedding_queue as q (user_id, entity_table, entity_id, not_before, expands)
    select new.id, 'user_profiles', new.id, now(), true
    where exists (select from auth.users u where u.id = new.id)
        and coach.may_embed(new.id, 'user_profiles')
    on conflict (user_id, entity_table, entity_id) do update
    set version = q.version + 1, not_before = excluded.not_before, attempts = 0, last_error = null;
    return null;
end
$$;
create trigger coach_embed_moved
    after update on public.user_profiles
    for each row
    when (new.timezone is distinct from old.timezone)
    execute function coach.queue_dated_rows();
