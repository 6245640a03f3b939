-- after: consents
create function coach.check_event() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    needed text;
begin
    select consent into needed from coach.event_kinds where kind = new.action_type;
    if not found then
        raise exception 'action_type: % is not a kind of event', new.action_type
            using errcode = 'invalid_parameter_value';
    end if;
    new.flow_state_event := needed is not distinct from 'track_flow_states';
    if not public.user_has_consented(new.user_id, 'analytics_consent') then
        raise exception 'action_type: analytics_consent is not given' using errcode = 'CA002';
    end if;
    if new.ai_feature_type is not null and not public.user_has_consented(new.user_id, 'ai_behavior_tracking') then
        raise exception 'ai_feature_type: ai_behavior_tracking is not consented to' using errcode = 'CA002';
    end if;
    if needed is not null and not public.user_has_consented(new.user_id, needed) then
        raise exception 'action_type: % is not consented to', needed using errcode = 'CA002';
    end if;
    return new;
end
$$;
create trigger coach_check_event
    before insert on public.user_behavior_events
    for each row execute function coach.check_event();
