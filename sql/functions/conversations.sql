-- after: access
-- A word as it stands in a tsquery.
create function coach.lexeme(p_word text) returns text
language sql immutable parallel safe
set search_path = ''
as $$ select '''' || replace(replace(p_word, '\', '\\'), '''', '''''') || '''' $$;

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
    if not coach.may_act_for(p_user_id) then
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

grant execute on function coach.lexeme, coach.conversations_with_words to authenticated, service_role;

-- Conversations as the API shows them; the joins are by key. With the caller's rights.
create view coach.shown_conversations with (security_invoker = true) as
select
    c.user_id, c.client_id as id, c.title, c.feature_type as feature, c.archived, c.incognito,
    m.client_id as current_message_id,
    exists (
        select
        from public.ai_conversation_memory r
        where r.user_id = c.user_id and r.conversation_id = c.id and r.status = 'streaming'
    ) as running,
    c.created_at, c.updated_at, c.id as row_id
from public.conversations c
left join public.ai_conversation_memory m on m.user_id = c.user_id and m.id = c.current_message_id;

revoke all on coach.shown_conversations from public, anon, authenticated;
grant select on coach.shown_conversations to coach_session, service_role;
