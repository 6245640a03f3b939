-- after: queue
-- Days in snippets are the user's own: another zone, and the worker looks at what names one.
create function coach.queue_dated_rows() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    perform coach.enqueue(new.id, 'user_profiles', array[new.id], now(), true);
    return null;
end
$$;
create trigger coach_embed_moved
    after update on public.user_profiles
    for each row
    when (new.timezone is distinct from old.timezone)
    execute function coach.queue_dated_rows();
