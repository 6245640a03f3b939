-- name: conversations(user_id, archived, before, before_id, limit)
-- GET /api/conversations, newest activity first. Index (user_id, updated_at).
select id, title, feature, archived, incognito, current_message_id, running, created_at, updated_at, row_id
from coach.shown_conversations
where user_id = :user_id and archived = :archived and (updated_at, row_id) < (:before, :before_id)
order by updated_at desc, row_id desc
limit :limit::integer;

-- name: conversations_found(user_id, archived, before, before_id, limit, words, prefixes, runs)
-- The same with ?q=. The function uses the GIN indexes where the words are rare.
select
    c.id, c.title, c.feature, c.archived, c.incognito, c.current_message_id, c.running, c.created_at, c.updated_at,
    c.row_id, hit.client_id as match_id, hit.message_content as match_text
from coach.conversations_with_words(:user_id, :words, :prefixes::text[], :runs::text[]) found
join coach.shown_conversations c on c.user_id = :user_id and c.row_id = found.conversation_id
left join ai_conversation_memory hit on hit.user_id = c.user_id and hit.id = found.message_id
where c.archived = :archived and (c.updated_at, c.row_id) < (:before, :before_id)
order by c.updated_at desc, c.row_id desc
limit :limit::integer;

-- name: one_conversation(user_id, client_id)^
-- Unique (user_id, client_id).
select id, title, feature, archived, incognito, current_message_id, running, created_at, updated_at, row_id
from coach.shown_conversations
where user_id = :user_id and id = :client_id;

-- name: conversation_to_change(user_id, client_id)$
-- Locked before its messages, as everywhere.
select id
from coach.lock_user(:user_id)
cross join conversations
where user_id = :user_id and client_id = :client_id
for update of conversations;

-- name: change_conversation(user_id, id, title, archived, current_message_id)!
-- The model never replaces a title that a user gave.
update conversations
set title = coalesce(:title, title),
    title_origin = case when :title::text is null then title_origin else 'given' end,
    archived = coalesce(:archived::boolean, archived),
    current_message_id = coalesce(:current_message_id::uuid, current_message_id)
where user_id = :user_id and id = :id;

-- name: message_of(user_id, conversation_id, client_id)^
-- Unique (user_id, conversation_id, client_id).
select id, message_role as role, deleted
from ai_conversation_memory
where user_id = :user_id and conversation_id = :conversation_id and client_id = :client_id;

-- name: running_in(user_id, conversation_id)
-- Partial index on status.
select id
from ai_conversation_memory
where user_id = :user_id and conversation_id = :conversation_id and status = 'streaming';

-- name: delete_conversation(user_id, id)!
-- Messages, vectors, queue rows, checkpoints and coaching sessions go with it, by cascade and trigger.
delete from conversations
where user_id = :user_id and id = :id;

-- name: answers_with_source(user_id, sources)
-- Answers with a copy of a deleted source. Reads all answers of a user, which is rare.
select id
from coach.lock_user(:user_id)
cross join ai_conversation_memory
where user_id = :user_id
    and message_role = 'assistant'
    and context_window @> :sources
order by id
for no key update of ai_conversation_memory;

-- name: blank_sources(user_id, ids, source)!
-- The entry stays, since the answer counts its sources; its text and title go.
update ai_conversation_memory
set context_window = jsonb_set(
    context_window,
    '{sources}',
    (
        select coalesce(
            jsonb_agg(
                case when each @> :source then each || '{"text": "", "title": ""}'::jsonb else each end order by place
            ),
            '[]'
        )
        from jsonb_array_elements(context_window -> 'sources') with ordinality source (each, place)
    )
)
where user_id = :user_id and id = any (:ids::uuid[]);

-- name: newest_leaf_below(user_id, id)$
-- Down from a message, to the newest child each time. Index (user_id, parent_id) at each step.
with recursive below as (
    select m.id, 0 as step
    from ai_conversation_memory m
    where m.user_id = :user_id and m.id = :id
    union all
    select child.id, b.step + 1
    from below b
    cross join lateral (
        select c.id
        from ai_conversation_memory c
        where c.user_id = :user_id and c.parent_id = b.id
        order by c.created_at desc, c.id desc
        limit 1
    ) child
)
select id
from below
order by step desc
limit 1;

-- name: branch(user_id, conversation_id, from_id, limit)
-- Up from a message, newest first: what a page costs does not depend on how long the conversation is. Primary key at each
-- step, siblings by (user_id, parent_id), of first messages by the partial index on roots.
with recursive branch as (
    select m.id, m.parent_id, 1 as step
    from ai_conversation_memory m
    where m.user_id = :user_id and m.id = :from_id and m.conversation_id = :conversation_id
    union all
    select m.id, m.parent_id, b.step + 1
    from branch b
    join ai_conversation_memory m
        on m.user_id = :user_id and m.id = b.parent_id and m.conversation_id = :conversation_id
    where b.step < :limit::integer
)
select
    m.id as row_id,
    coalesce(m.client_id, m.id::text) as id,
    m.parent_id as parent_row,
    coalesce(p.client_id, p.id::text) as parent_id,
    m.message_role as role,
    m.author_name as author,
    case when m.status = 'streaming' then coalesce(t.content, '') else m.message_content end as text,
    m.status,
    m.finish_reason,
    m.deleted,
    m.feedback,
    case when m.status = 'streaming' then coalesce(t.context, '{}') else m.context_window end as context,
    m.conversation_date as said_at,
    case
        when m.parent_id is not null then array(
            select coalesce(s.client_id, s.id::text)
            from ai_conversation_memory s
            where s.user_id = m.user_id and s.parent_id = m.parent_id and s.message_role = m.message_role
            order by s.created_at, s.id
        )
        else array(
            select coalesce(s.client_id, s.id::text)
            from ai_conversation_memory s
            where s.user_id = m.user_id
                and s.conversation_id = m.conversation_id
                and s.parent_id is null
                and s.message_role = m.message_role
            order by s.created_at, s.id
        )
    end as siblings,
    i.id as interaction_id,
    i.model,
    i.feature_details ->> 'prompt' as prompt,
    i.input_tokens,
    i.output_tokens,
    i.first_token_ms,
    i.processing_time_ms as processing_ms
from branch b
join ai_conversation_memory m on m.user_id = :user_id and m.id = b.id
left join ai_conversation_memory p on p.user_id = :user_id and p.id = m.parent_id
left join turn_checkpoints t on t.user_id = :user_id and t.message_id = m.id
left join ai_interactions i on i.user_id = :user_id and i.message_id = m.id
order by b.step;

-- name: give_feedback(user_id, id, feedback)!
update ai_conversation_memory
set feedback = :feedback
where user_id = :user_id and id = :id;

-- name: claim_title(user_id, id, now, tried_before)^
-- Claims the title for one process: the row says when it was last tried. Returns the first question and answer. Primary
-- key.
with claimed as (
    update conversations
    set title_tried_at = :now
    where user_id = :user_id
        and id = :id
        and title_origin = 'question'
        and (title_tried_at is null or title_tried_at < :tried_before)
    returning id
)
select q.message_content as question, a.message_content as answer
from claimed c
join ai_conversation_memory a on a.user_id = :user_id and a.conversation_id = c.id
join ai_conversation_memory q on q.user_id = :user_id and q.id = a.parent_id
where a.message_role = 'assistant' and a.status = 'complete' and not a.deleted and not q.deleted
order by a.created_at, a.id
limit 1;

-- name: store_title(user_id, id, title)!
-- Does not replace a title that a user gave meanwhile.
update conversations
set title = :title, title_origin = 'model'
where user_id = :user_id and id = :id and title_origin = 'question';
