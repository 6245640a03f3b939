-- name: follow(user_id, message_id, now)!
-- At each look of a reader on another server process. Primary key.
update turn_checkpoints
set followed_at = :now
where user_id = :user_id and message_id = :message_id;

-- name: followed_at(user_id, message_id)$
-- Before a turn is given up that nobody reads here. Primary key.
select followed_at
from turn_checkpoints
where user_id = :user_id and message_id = :message_id;
