"""Messages without a vector: the turn embeds its own, and what it leaves behind is the worker's."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from coach.pipeline.worker import Worker
from tests.integration.pipeline.conftest import PipelineUser


async def says(person: PipelineUser, text: str, *, incognito: bool = False) -> UUID:
    conversation, message = uuid4(), uuid4()
    await person.does(
        "insert into conversations (user_id, id, client_id, incognito) values (%(me)s, %(c)s, %(key)s, %(incognito)s)",
        c=conversation,
        key=conversation.hex,
        incognito=incognito,
    )
    await person.does(
        "insert into ai_conversation_memory (user_id, id, conversation_id, client_id, message_role, message_content)"
        " values (%(me)s, %(m)s, %(c)s, 'm1', 'user', %(text)s)",
        m=message,
        c=conversation,
        text=text,
    )
    return message


async def grown_old(person: PipelineUser) -> None:
    """The half minute that belongs to the turn itself is over."""
    await person.does("update embedding_queue set not_before = now()")


async def vectors(person: PipelineUser) -> list[Any]:
    return await person.rows(
        "select embedding_model, message_embedding is not null, code is not null from ai_conversation_memory"
        " where user_id = %(me)s order by created_at"
    )


async def test_a_message_whose_server_died_is_embedded_half_a_minute_later(ann: PipelineUser, worker: Worker) -> None:
    await says(ann, "My knee hurts.")
    assert not await worker.work()

    await grown_old(ann)
    await worker.work()

    assert await vectors(ann) == [("wordllama", True, True)]
    assert await ann.queued() == []


async def test_an_incognito_message_is_never_queued(ann: PipelineUser) -> None:
    await says(ann, "Nobody must know.", incognito=True)

    assert await ann.queued() == []


async def test_a_changed_text_loses_its_vector_until_it_has_one_of_its_own(ann: PipelineUser, worker: Worker) -> None:
    id_ = await says(ann, "My knee hurts.")
    await grown_old(ann)
    await worker.work()

    await ann.does("update ai_conversation_memory set message_content = 'My elbow.' where id = %(id)s", id=id_)

    assert await vectors(ann) == [(None, False, False)]
    await grown_old(ann)
    await worker.work()
    assert await vectors(ann) == [("wordllama", True, True)]


async def test_a_tombstone_has_neither_vector_nor_queue_row(ann: PipelineUser, worker: Worker) -> None:
    id_ = await says(ann, "My knee hurts.")
    await grown_old(ann)
    await worker.work()

    await ann.does("update ai_conversation_memory set message_content = '', deleted = true where id = %(id)s", id=id_)

    assert await vectors(ann) == [(None, False, False)]
    assert await ann.queued() == []


async def test_consent_given_again_embeds_every_message(ann: PipelineUser, worker: Worker) -> None:
    await says(ann, "My knee hurts.")
    await grown_old(ann)
    await worker.work()
    consent = (
        "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%(me)s, %(given)s)"
        " on conflict (user_id) do update set record_rag_snippets = excluded.record_rag_snippets"
    )

    await ann.does(consent, given=False)
    await says(ann, "And my elbow.")
    assert await vectors(ann) == [(None, False, False)] * 2
    assert await ann.queued() == []

    await ann.does(consent, given=True)
    await worker.work()
    assert await vectors(ann) == [("wordllama", True, True)] * 2
