-- Conversations as their owner keeps them: names, search, what is remembered of them, and what was corrected or forgotten.

-- Whose word a title is. 'question': its first words, which the model may better once; 'model' and 'given' stay. What was
-- there before keeps its name. Tried at: of several processes one asks the model.
alter table public.conversations
    add column if not exists title_origin text not null default 'given'
        check (title_origin in ('question', 'model', 'given')),
    add column if not exists title_tried_at timestamptz;
alter table public.conversations alter column title_origin set default 'question';

-- What a person said about a memory of theirs that is made from a row: another wording, or nothing at all (null). It is
-- made anew whenever the row changes or the model does; this stands above each of those.
create table coach.memory_corrections (
    user_id uuid not null references auth.users (id) on delete cascade,
    domain_tag text not null
        check (domain_tag in ('pillar', 'area', 'project', 'task', 'journal_entry', 'behavior_summary')),
    entity_id uuid not null,
    content text,
    updated_at timestamptz not null default now(),
    primary key (user_id, domain_tag, entity_id)
);
select coach.settle('memory_corrections');
grant select on public.memory_corrections to authenticated;
grant select, insert, update, delete on public.memory_corrections to coach_session;

-- The last door: whatever stores a snippet, of a forgotten row none gets in, and of a corrected one no other wording.
-- Whoever corrects holds the person's row of embedding_models meanwhile, which all who store vectors hold a share of.
create function coach.keep_corrected() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if exists (
        select
        from public.memory_corrections k
        where k.user_id = new.user_id
            and k.domain_tag = new.domain_tag
            and k.entity_id = coalesce(new.entity_id, new.id)
            and k.content is distinct from new.text_snippet
    ) then
        return null;
    end if;
    return new;
end
$$;
create trigger coach_keep_corrected
    before insert or update on public.user_metadata_embeddings
    for each row execute function coach.keep_corrected();

-- A forgotten row is not even read again, unless others carry its name.
create function coach.leave_forgotten() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    if exists (
        select
        from public.memory_corrections k
        where k.user_id = new.user_id
            and k.domain_tag = coach.domain_of(new.entity_table)
            and k.entity_id = new.entity_id
            and k.content is null
    ) then
        return null;
    end if;
    return new;
end
$$;

create function coach.domain_of(p_table text) returns text
language sql immutable parallel safe
return case p_table
    when 'pillars' then 'pillar'
    when 'areas' then 'area'
    when 'projects' then 'project'
    when 'tasks' then 'task'
    when 'journal_entries' then 'journal_entry'
    when 'pillar_metrics' then 'behavior_summary'
    when 'area_metrics' then 'behavior_summary'
end;
create trigger coach_leave_forgotten
    before insert on public.embedding_queue
    for each row
    when (not new.expands and new.entity_table not in ('ai_conversation_memory', 'user_profiles'))
    execute function coach.leave_forgotten();

-- What was said about a row goes with it.
create function coach.drop_corrections() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    delete from public.memory_corrections
    where user_id = old.user_id and domain_tag = any (tg_argv[0]::text[]) and entity_id = old.id;
    return null;
end
$$;
create trigger coach_drop_corrections
    after delete on public.pillars
    for each row execute function coach.drop_corrections('{pillar, behavior_summary}');
create trigger coach_drop_corrections
    after delete on public.areas
    for each row execute function coach.drop_corrections('{area, behavior_summary}');
create trigger coach_drop_corrections
    after delete on public.projects
    for each row execute function coach.drop_corrections('{project}');
create trigger coach_drop_corrections
    after delete on public.tasks
    for each row execute function coach.drop_corrections('{task}');
create trigger coach_drop_corrections
    after delete on public.journal_entries
    for each row execute function coach.drop_corrections('{journal_entry}');

-- Scripts that put no spaces between words, or hang endings on them as Korean does: Thai, Lao, Burmese, Khmer, Japanese,
-- Chinese, Hangul. A tsvector takes a whole sentence of theirs for one word; they are found by pairs of characters.
create function coach.is_unspaced(p_text text) returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
    select p_text ~ '[\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7AF\uF900-\uFAFF\uFF66-\uFF9F]'
$$;

-- Each character with the one that follows it, and the last of a run alone, so that one character finds all by its prefix;
-- and the Latin words in between, which no space sets apart either.
create function coach.pairs(p_text text) returns tsvector
language sql immutable parallel safe
set search_path = ''
as $$
    select array_to_tsvector(array(
        select distinct pair
        from regexp_matches(
            left(p_text, 50000),
            '[\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7AF\uF900-\uFAFF\uFF66-\uFF9F]+',
            'g'
        ) with ordinality run (characters, place)
        cross join lateral (
            select one || coalesce(lead(one) over (order by position), '') as pair
            from string_to_table(run.characters[1], null) with ordinality piece (one, position)
        ) paired
        union
        select lower(word[1])
        from regexp_matches(left(p_text, 50000), '[A-Za-z0-9]{1,100}', 'g') latin (word)
    ))
$$;
create index if not exists ai_conversation_memory_pairs_idx
    on public.ai_conversation_memory using gin (coach.pairs(message_content))
    where coach.is_unspaced(message_content);

-- Conversations whose title, or one of whose messages, holds all that is looked for; with the newest such message. p_words
-- reads like a web search ("a phrase", -not, or); p_prefixes are beginnings of words, of languages whose endings nobody
-- here knows; p_runs stand somewhere as they are. Definer, since row level security keeps @@ from using an index; hence
-- it asks itself who calls, and gives ids only. The statement is planned with its values: rare words by the indexes.
create function coach.conversations_with_words(p_user_id uuid, p_words text, p_prefixes text[], p_runs text[])
returns table (conversation_id uuid, message_id uuid)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
    words tsquery := websearch_to_tsquery('pg_catalog.english', p_words);
    among_pairs tsquery := case when p_words !~ '["-]' then plainto_tsquery('pg_catalog.simple', p_words) end;
    pairs tsquery;
    holds text;
begin
    if not coach.acts_for(p_user_id) then
        return;
    end if;
    if p_prefixes <> '{}' then
        among_pairs := null;
        select words && coalesce(string_agg(coach.lexeme(lexeme) || ':*', ' & ')::tsquery, '')
        into words
        from unnest(p_prefixes) prefix
        cross join unnest(tsvector_to_array(to_tsvector('pg_catalog.english', prefix))) lexeme;
    end if;
    select string_agg(coach.lexeme(lexeme) || case when length(lexeme) = 1 then ':*' else '' end, ' & ')::tsquery
    into pairs
    from unnest(p_runs) run
    cross join unnest(tsvector_to_array(coach.pairs(run))) lexeme
    where length(lexeme) = 2 or length(run) = 1;
    if numnode(words) = 0 and pairs is null then
        return;
    end if;
    holds := concat_ws(
        ' and ',
        case when numnode(words) > 0 then
            '(m.search @@ $2 or coach.is_unspaced(m.message_content) and coach.pairs(m.message_content) @@ $6)'
        end,
        case when pairs is not null then
            'coach.is_unspaced(m.message_content) and coach.pairs(m.message_content) @@ $3
            and not exists (select from unnest($4) run where strpos(m.message_content, run) = 0)'
        end
    );
    return query execute
        'with said as (
            select distinct on (m.conversation_id) m.conversation_id, m.id
            from public.ai_conversation_memory m
            where m.user_id = $1 and ' || holds || '
                and m.conversation_id is not null and not m.deleted and m.message_role <> ''system''
            order by m.conversation_id, m.conversation_date desc, m.id
        ),
        named as (
            select c.id
            from public.conversations c
            where c.user_id = $1
                and (
                    $5
                    or to_tsvector(''pg_catalog.english'', c.title) @@ $2
                    or $6 is not null and coach.is_unspaced(c.title) and coach.pairs(c.title) @@ $6
                )
                and not exists (select from unnest($4) run where strpos(c.title, run) = 0)
        )
        select coalesce(said.conversation_id, named.id), said.id
        from said
        full join named on named.id = said.conversation_id'
    using p_user_id, words, pairs, p_runs, numnode(words) = 0, among_pairs;
end
$$;

-- A word as it stands in a tsquery.
create function coach.lexeme(p_word text) returns text
language sql immutable parallel safe
set search_path = ''
as $$ select '''' || replace(replace(p_word, '\', '\\'), '''', '''''') || '''' $$;

-- What is remembered, newest first; the beginnings of conversations (few), for their siblings.
create index if not exists ai_conversation_memory_said_idx
    on public.ai_conversation_memory (user_id, conversation_date, id);
create index if not exists ai_conversation_memory_roots_idx
    on public.ai_conversation_memory (user_id, conversation_id)
    where parent_id is null;
create index if not exists user_metadata_embeddings_updated_idx
    on public.user_metadata_embeddings (user_id, updated_at, id);

revoke all on all functions in schema coach from public;
grant execute
    on function
        coach.is_unspaced(text),
        coach.pairs(text),
        coach.lexeme(text),
        coach.domain_of(text),
        coach.conversations_with_words(uuid, text, text[], text[])
    to authenticated, service_role;
