-- after: adoption, vectors
-- What was said. The server writes here; a browser only reads.

create table coach.conversations (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    client_id text not null check (client_id ~ '^[A-Za-z0-9._:~-]{1,128}$'),
    title text not null default '',
    feature_type text not null default 'goal_coaching',
    archived boolean not null default false,
    incognito boolean not null default false,
    current_message_id uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id),
    unique (user_id, client_id)
);
select coach.settle('conversations');

-- Whose word a title is. 'question': its first words, which the model may better once; 'model' and 'given' stay. What was
-- there before keeps its name. Tried at: of several processes one asks the model.
alter table public.conversations
    add column if not exists title_origin text not null default 'given'
        check (title_origin in ('question', 'model', 'given')),
    add column if not exists title_tried_at timestamptz;
alter table public.conversations alter column title_origin set default 'question';
create index if not exists conversations_updated_at_idx on public.conversations (user_id, updated_at);

create table coach.ai_conversation_memory (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    conversation_id uuid,
    client_id text check (client_id ~ '^[A-Za-z0-9._:~-]{1,128}$'),
    parent_id uuid,
    conversation_date timestamptz not null default now(),
    message_role text not null check (message_role in ('user', 'assistant', 'system')),
    author_name text,
    message_content text not null,
    message_embedding halfvec(1536),
    code bit(1536) generated always as (binary_quantize(message_embedding)::bit(1536)) stored,
    embedding_model text,
    search tsvector generated always as (
        coach.message_document(author_name, conversation_date, message_content)
    ) stored,
    context_window jsonb not null default '{}',
    tokens_used integer not null default 0,
    model_used text,
    status text not null default 'complete' check (status in ('streaming', 'complete', 'interrupted', 'failed')),
    finish_reason text,
    deleted boolean not null default false,
    feedback jsonb,
    -- An edited message is a sibling revision with an id of the server's; this names the one that it revises. No foreign
    -- key: deleting the first revision must not take the later ones along.
    revision_of uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id),
    unique (user_id, conversation_id, client_id),
    check ((message_embedding is null) = (embedding_model is null))
);
select coach.halve_vectors('ai_conversation_memory', 'message_embedding');
select coach.label_vectors('ai_conversation_memory', 'message_embedding');
select coach.settle('ai_conversation_memory');
select coach.link('public.ai_conversation_memory', 'conversation_id', 'public.conversations');
select coach.link('public.ai_conversation_memory', 'parent_id', 'public.ai_conversation_memory');

-- Vector and code stay in the row: fetched from TOAST, reranking 200 candidates costs more than finding them.
-- PostgreSQL 15 knows no storage in create table.
alter table public.ai_conversation_memory
    alter message_embedding set storage plain,
    alter code set storage plain,
    set (toast_tuple_target = 8160, autovacuum_vacuum_insert_scale_factor = 0.01);
create index if not exists ai_conversation_memory_code_idx
    on public.ai_conversation_memory (user_id, embedding_model) include (id, code)
    where message_embedding is not null;
create index if not exists ai_conversation_memory_search_idx
    on public.ai_conversation_memory using gin (search);
create index if not exists ai_conversation_memory_thread_idx
    on public.ai_conversation_memory (user_id, conversation_id, created_at);
create index if not exists ai_conversation_memory_revision_idx
    on public.ai_conversation_memory (user_id, revision_of)
    where revision_of is not null;

-- Finding the turn that still runs.
create index if not exists ai_conversation_memory_streaming_idx
    on public.ai_conversation_memory (user_id, conversation_id)
    where status = 'streaming';

-- Messages without a vector: how many a turn could not search, and what the worker has to fetch.
create index if not exists ai_conversation_memory_waiting_idx
    on public.ai_conversation_memory (user_id, created_at)
    where message_embedding is null and not deleted;

-- Answers that were given as responses of /v1/responses are found by their id alone, without their conversation.
create index if not exists ai_conversation_memory_response_idx
    on public.ai_conversation_memory (user_id, client_id)
    where (context_window -> 'response') is not null;
create index if not exists ai_conversation_memory_pairs_idx
    on public.ai_conversation_memory using gin (coach.pairs(message_content))
    where coach.is_unspaced(message_content);

-- What is remembered, newest first; the beginnings of conversations (few), for their siblings.
create index if not exists ai_conversation_memory_said_idx
    on public.ai_conversation_memory (user_id, conversation_date, id);
create index if not exists ai_conversation_memory_roots_idx
    on public.ai_conversation_memory (user_id, conversation_id)
    where parent_id is null;

-- What a running turn writes every 500 ms: apart from the wide row, so that updates stay in place.
create table coach.turn_checkpoints (
    user_id uuid not null references auth.users (id) on delete cascade,
    message_id uuid not null,
    content text not null default '',
    heartbeat timestamptz not null default now(),
    stop_requested boolean not null default false,
    owner text,
    -- Receipt and sources of a turn that still runs, for readers in other processes.
    context jsonb,
    -- When a reader in another server process last polled a turn that needs a reader.
    remote_reader_at timestamptz,
    primary key (user_id, message_id)
) with (fillfactor = 50);
select coach.settle('turn_checkpoints');
select coach.link('public.turn_checkpoints', 'message_id', 'public.ai_conversation_memory');

-- A checkpoint takes no lock of the user and no other lock, so it waits for nothing.
drop trigger if exists coach_lock_user on public.turn_checkpoints;
create index if not exists turn_checkpoints_heartbeat_idx on public.turn_checkpoints (heartbeat);
