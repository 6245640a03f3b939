-- after: adoption, vectors
-- What of life is embedded, and what was said about that.

create table coach.user_metadata_embeddings (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    domain_tag text not null,
    entity_id uuid,
    chunk integer not null default 0,
    title text not null default '',
    text_snippet text not null,
    embedding halfvec(1536) not null,
    code bit(1536) generated always as (binary_quantize(embedding)::bit(1536)) stored,
    embedding_model text not null,
    search tsvector generated always as (coach.snippet_document(title, text_snippet)) stored,
    content_hash text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, id),
    unique (user_id, domain_tag, entity_id, chunk, embedding_model)
);
select coach.halve_vectors('user_metadata_embeddings', 'embedding');
select coach.label_vectors('user_metadata_embeddings', 'embedding');
select coach.number_chunks('user_metadata_embeddings');
select coach.settle('user_metadata_embeddings');
alter table public.user_metadata_embeddings
    alter embedding set storage plain,
    alter code set storage plain,
    set (toast_tuple_target = 8160, autovacuum_vacuum_insert_scale_factor = 0.01);

-- The Hamming stage reads these indexes alone; without the model in the key 388 buffers became 5,336.
create index if not exists user_metadata_embeddings_code_idx
    on public.user_metadata_embeddings (user_id, embedding_model) include (id, code, domain_tag);
create index if not exists user_metadata_embeddings_search_idx
    on public.user_metadata_embeddings using gin (search);
create index if not exists user_metadata_embeddings_updated_idx
    on public.user_metadata_embeddings (user_id, updated_at, id);

-- Every index of this table begins with user_id. If the planner assumes one row a user, all indexes look equally good
-- for a statement about one row, even one whose next column the statement does not name. Deleting ten thousand tasks
-- then reads ten thousand vectors for each. So this says that a user has hundreds of rows. It counts from the next
-- analyze on.
do $$
begin
    if not coach.on_citus() then
        alter table public.user_metadata_embeddings alter user_id set (n_distinct = -0.01);
    end if;
end
$$;

-- A second model's vectors wait here during a change of model.
create table coach.message_embeddings (
    user_id uuid not null references auth.users (id) on delete cascade,
    message_id uuid not null,
    embedding_model text not null,
    embedding halfvec(1536) not null,
    code bit(1536) generated always as (binary_quantize(embedding)::bit(1536)) stored,
    created_at timestamptz not null default now(),
    primary key (user_id, message_id, embedding_model)
);
select coach.settle('message_embeddings');
select coach.link('public.message_embeddings', 'message_id', 'public.ai_conversation_memory');
alter table public.message_embeddings
    alter embedding set storage plain,
    alter code set storage plain,
    set (toast_tuple_target = 8160, autovacuum_vacuum_insert_scale_factor = 0.01);

-- A user's correction of a memory that is made from a row: another wording, or null for deleted. The snippet is made
-- again whenever the row or the model changes; this overrides it.
create table coach.memory_corrections (
    user_id uuid not null references auth.users (id) on delete cascade,
    domain_tag text not null,
    entity_id uuid not null,
    content text,
    updated_at timestamptz not null default now(),
    primary key (user_id, domain_tag, entity_id)
);
select coach.settle('memory_corrections');
grant select on public.memory_corrections to authenticated;
grant select, insert, update, delete on public.memory_corrections to coach_session;
grant select
    on public.conversations, public.ai_conversation_memory, public.user_metadata_embeddings
    to authenticated;
grant select, insert, update, delete
    on public.conversations, public.ai_conversation_memory, public.user_metadata_embeddings,
        public.message_embeddings, public.turn_checkpoints
    to coach_session;

select coach.restore_dependents();
