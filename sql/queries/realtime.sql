-- name: forget_tickets(user_id, now)!
-- With each new ticket: those that nobody used. Primary key.
delete from socket_tickets
where user_id = :user_id and expires_at <= :now;

-- name: issue_ticket(user_id, digest, token_expires_at, expires_at)!
-- POST /api/ws-ticket.
insert into socket_tickets (user_id, digest, token_expires_at, expires_at)
values (:user_id, :digest, :token_expires_at, :expires_at);

-- name: redeem_ticket(user_id, digest, now)$
-- At the opening of a socket; of two at once one gets it. Primary key.
delete from socket_tickets
where user_id = :user_id and digest = :digest and expires_at > :now
returning token_expires_at;

-- name: store_push(user_id, origin, frame)!
-- Stores a push for a user, unless the account was deleted.
insert into pushes (user_id, origin, frame)
select :user_id, :origin, :frame
where exists (select from user_profiles p where p.id = :user_id);

-- name: announce_pushes(channel, user_ids)!
-- Heard by every server process once the transaction commits.
select pg_notify(:channel, user_id::text)
from unnest(:user_ids) user_id;

-- name: pushes_since(user_ids, since, origin)
-- For a server process: pushes of other processes for the users with sockets here. Index pushes_recent_idx.
select user_id, id, frame, created_at
from coach.pushes_since(:user_ids, :since, :origin);

-- name: prune_pushes(before)!
-- The job, as the operator; a scan of minutes.
delete from pushes
where created_at < :before;

-- name: prune_tickets(before)!
-- The job, as the operator; a scan of minutes.
delete from socket_tickets
where expires_at < :before;
