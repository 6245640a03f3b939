-- after: dependents
-- Which feature types there are, the prompts say: a new one is a prompt file and no migration. Where an app's rows hold
-- other values, its own check stays.
do $$
begin
    alter table public.ai_interactions drop constraint if exists ai_interactions_feature_type_check;
    alter table public.ai_interactions
        add constraint ai_interactions_feature_type_check check (feature_type ~ '^[a-z][a-z0-9_]{0,62}$');
exception
    when check_violation then
        perform coach.report('public.ai_interactions: rows hold feature types that are no names; the check was not added');
end
$$;
