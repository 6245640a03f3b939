-- name: follow(user_id, message_id, now)!
-- At each poll of a reader in another server process. Primary key.
update turn_checkpoints
set remote_reader_at = :now
where user_id = :user_id and message_id = :message_id;

-- name: remote_reader_at(user_id, message_id)$
-- Before a turn without readers here is stopped. Primary key.
select remote_reader_at
from turn_checkpoints
where user_id = :user_id and message_id = :message_id;
