-- after: consents
create function coach.check_event() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    needed name;
begin
    if not exists (select from coach.event_kinds where kind = new.action_type) then
        raise exception 'action_type: % is not a kind of event', new.action_type
            using errcode = 'invalid_parameter_value';
    end if;
    new.flow_state_event := coalesce(
        (select new.action_type = any (events) from coach.consents where name = 'track_flow_states'), false
    );
    for needed in
        select name from coach.consents where events && array['*', new.action_type] order by '*' = any (events) desc
    loop
        perform coach.require_consent(new.user_id, needed, 'action_type');
    end loop;
    if new.ai_feature_type is not null then
        perform coach.require_consent(new.user_id, 'ai_behavior_tracking', 'ai_feature_type');
    end if;
    return new;
end
$$;
create trigger coach_check_event
    before insert on public.user_behavior_events
    for each row execute function coach.check_event();
