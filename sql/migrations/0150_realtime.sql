-- What sockets need beyond the turns. Unlogged, since a crash of the database may take it: none of it lives for longer
-- than minutes.

-- Proofs of identity for the opening of one socket, each for one use. Only their digest is kept.
create unlogged table coach.socket_tickets (
    user_id uuid not null references auth.users (id) on delete cascade,
    digest bytea not null,
    token_expires_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (user_id, digest)
);
select coach.settle('socket_tickets');
grant select, insert, delete on public.socket_tickets to coach_session;

-- What is to reach every open socket of a person, on whichever server process. Notifications name the person only; who
-- was not notified finds the rows by looking. Origin: the process that has told its own sockets already.
create unlogged table coach.pushes (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    origin text not null,
    frame jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, id)
);
select coach.settle('pushes');
create index if not exists pushes_recent_idx on public.pushes (user_id, created_at);
grant select, insert on public.pushes to coach_session;

-- The pushes of those with open sockets here. As whoever calls, one user after another: row level security holds.
create function coach.pushes_since(p_user_ids uuid[], p_since timestamptz, p_origin text)
returns table (user_id uuid, id uuid, frame jsonb, created_at timestamptz)
language plpgsql
set search_path = ''
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
revoke all on function coach.pushes_since(uuid[], timestamptz, text) from public;
grant execute on function coach.pushes_since(uuid[], timestamptz, text) to coach_session;
