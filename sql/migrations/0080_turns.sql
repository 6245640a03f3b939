-- What a turn needs beside the message itself.

-- An edited message is a sibling revision with an id of the server's; this names the one that it revises. No foreign
-- key: deleting the first revision must not take the later ones along.
alter table public.ai_conversation_memory add column if not exists revision_of uuid;
create index if not exists ai_conversation_memory_revision_idx
    on public.ai_conversation_memory (user_id, revision_of)
    where revision_of is not null;
-- Finding the turn that still runs.
create index if not exists ai_conversation_memory_streaming_idx
    on public.ai_conversation_memory (user_id, conversation_id)
    where status = 'streaming';

-- Receipt and sources of a turn that still runs, for readers in other processes.
alter table public.turn_checkpoints add column if not exists context jsonb;
