"""Past conversations are stored once, in order, and with vectors only where that is consented to."""

from __future__ import annotations

from datetime import timedelta

from coach.evals.past import PastConversation, PastMessage, remember
from tests.integration.retrieval.conftest import EMBEDDER, NOW, RetrievalUser

MESSAGES = tuple(
    PastMessage(f"m{number}", "assistant" if number % 2 else "user", f"text {number}", NOW + timedelta(minutes=number))
    for number in range(4)
)
PAST = PastConversation("c1", "Running", NOW, MESSAGES)
THREAD = """
    select m.client_id, p.client_id, m.message_embedding is not null
    from ai_conversation_memory m
    left join ai_conversation_memory p on p.user_id = m.user_id and p.id = m.parent_id
    where m.user_id = $user
    order by m.conversation_date
"""


async def keep(ann: RetrievalUser, past: PastConversation, *, embedded: bool = True) -> int:
    vectors = await EMBEDDER.embed_documents([message.text for message in past.messages]) if embedded else None
    async with ann.db.as_user(ann.id) as tx:
        return await remember(tx, ann.id, past, vectors, EMBEDDER.model)


async def test_each_message_follows_the_one_before_it(ann: RetrievalUser) -> None:
    assert await keep(ann, PAST) == 4

    assert await ann.run(THREAD) == [("m0", None, True), ("m1", "m0", True), ("m2", "m1", True), ("m3", "m2", True)]
    [(leaf, updated)] = await ann.run(
        "select m.client_id, c.updated_at from conversations c"
        " join ai_conversation_memory m on m.id = c.current_message_id where c.user_id = $user"
    )
    assert (leaf, updated) == ("m3", MESSAGES[3].said_at)


async def test_storing_it_again_changes_nothing_and_more_of_it_is_added(ann: RetrievalUser) -> None:
    await keep(ann, PastConversation("c1", "Running", NOW, MESSAGES[:2]))

    assert await keep(ann, PAST) == 2
    assert await keep(ann, PAST) == 0
    assert [row[:2] for row in await ann.run(THREAD)] == [("m0", None), ("m1", "m0"), ("m2", "m1"), ("m3", "m2")]


async def test_the_same_ids_in_two_conversations_and_of_two_users_are_different_messages(
    ann: RetrievalUser, bob: RetrievalUser
) -> None:
    await keep(ann, PAST)
    await keep(bob, PAST)

    assert await keep(ann, PastConversation("c2", "Other", NOW, MESSAGES)) == 4
    assert len(await ann.run(THREAD)) == 8
    assert len(await bob.run(THREAD)) == 4


async def test_without_vectors_the_messages_wait_for_the_worker(ann: RetrievalUser) -> None:
    await keep(ann, PAST, embedded=False)

    assert not any(embedded for _, _, embedded in await ann.run(THREAD))


async def test_without_consent_no_vector_is_kept(ann: RetrievalUser) -> None:
    await ann.consents(record_rag_snippets=False)

    assert await keep(ann, PAST) == 4
    assert not any(embedded for _, _, embedded in await ann.run(THREAD))


async def test_an_empty_conversation_is_a_conversation(ann: RetrievalUser) -> None:
    assert await keep(ann, PastConversation("c1", "Nothing", NOW, ())) == 0
    assert await ann.run("select title from conversations where user_id = $user") == [("Nothing",)]
