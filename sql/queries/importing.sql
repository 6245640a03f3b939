-- name: open_import(user_id, client_id, title, origin, created_at, updated_at)$
-- Makes it or locks it; one that is there keeps its name. Unique (user_id, client_id).
insert into conversations as c (user_id, client_id, title, title_origin, created_at, updated_at)
values (:user_id, :client_id, :title, :origin, :created_at, :updated_at)
on conflict (user_id, client_id) do update
set updated_at = greatest(c.updated_at, excluded.updated_at)
returning id;

-- name: known_keys(user_id, conversation_id)
-- Unique (user_id, conversation_id, client_id), by itself.
select client_id
from ai_conversation_memory
where user_id = :user_id and conversation_id = :conversation_id and client_id is not null;

-- name: add_imported(user_id, id, conversation_id, client_id, role, author, content, said_at, context)*!
-- Without a parent yet, and without a vector: the trigger queues it.
insert into ai_conversation_memory (
    user_id, id, conversation_id, client_id, message_role, author_name, message_content, conversation_date, created_at,
    context_window
)
values (:user_id, :id, :conversation_id, :client_id, :role, :author, :content, :said_at, :said_at, :context)
on conflict do nothing;

-- name: set_named_parents(user_id, conversation_id)!
-- Messages that name their parent, once it is there. Only under an earlier one: so no circle can arise.
update ai_conversation_memory m
set parent_id = p.id
from ai_conversation_memory p
where m.user_id = :user_id
    and m.conversation_id = :conversation_id
    and m.parent_id is null
    and m.context_window ->> 'parent' is not null
    and m.context_window @> '{"imported": true}'
    and p.user_id = m.user_id
    and p.conversation_id = m.conversation_id
    and p.client_id = m.context_window ->> 'parent'
    and p.conversation_date < m.conversation_date;

-- name: set_parents_in_order(user_id, conversation_id)!
-- Each other message gets the one before it in time as its parent, even if that one was imported later.
with chain as (
    select id, parent_id, lag(id) over (order by conversation_date, id) as before
    from ai_conversation_memory
    where user_id = :user_id
        and conversation_id = :conversation_id
        and context_window @> '{"imported": true}'
        and not jsonb_exists(context_window, 'parent')
)
update ai_conversation_memory m
set parent_id = chain.before
from chain
where m.user_id = :user_id and m.id = chain.id and m.parent_id is distinct from chain.before;

-- name: set_current_message(user_id, conversation_id, leaf)!
-- The message that the export shows, else the newest; a conversation that went on here stays where it is.
update conversations c
set current_message_id = coalesce(
    (
        select m.id
        from ai_conversation_memory m
        where m.user_id = c.user_id and m.conversation_id = c.id and m.client_id = :leaf
    ),
    (
        select m.id
        from ai_conversation_memory m
        where m.user_id = c.user_id and m.conversation_id = c.id
        order by m.conversation_date desc, m.id desc
        limit 1
    )
)
where c.user_id = :user_id
    and c.id = :conversation_id
    and not exists (
        select
        from ai_conversation_memory m
        where m.user_id = c.user_id and m.id = c.current_message_id and not m.context_window @> '{"imported": true}'
    );
