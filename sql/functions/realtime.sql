-- The pushes of the users with open sockets here. It runs with the caller's rights, one user after another, so row
-- level security holds.
create function coach.pushes_since(p_user_ids uuid[], p_since timestamptz, p_origin text)
returns table (user_id uuid, id uuid, frame jsonb, created_at timestamptz)
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
declare
    person uuid;
begin
    foreach person in array p_user_ids loop
        perform set_config(
            'request.jwt.claims', json_build_object('sub', person, 'role', 'authenticated')::text, true
        );
        return query
            select p.user_id, p.id, p.frame, p.created_at
            from public.pushes p
            where p.user_id = person and p.created_at > p_since and p.origin <> p_origin
            order by p.created_at;
    end loop;
end
$$;
grant execute on function coach.pushes_since to coach_session;
