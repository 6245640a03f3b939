"""What a search brings back, and above all what it does not."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from coach.bench.vector_space import Space
from coach.kinds.text import searched
from coach.retrieval.base import halfvec
from tests.integration.retrieval.conftest import EMBEDDER, NOW, NewRetrievalUser, RetrievalUser, clustered, texts_of

KNEE = "My knee hurts whenever I run downhill"


async def test_life_data_and_memory_are_found_together_and_cited(ann: RetrievalUser) -> None:
    task = await ann.wrote("Book the knee MRI", "Task: call the clinic about the knee scan")
    await ann.said(KNEE, "Ice it, and tell your physio on Tuesday", conversation="running")
    await ann.wrote("Tax return", "Task: send the tax return to the office")

    found = await ann.finds("What is going on with my knee?", limit=3)

    by_domain = {source.domain: source for source in found}
    assert by_domain["task"].source_id == f"task:{task}"
    assert by_domain["task"].title == "Book the knee MRI"
    said = next(source for source in found if source.text == KNEE)
    assert said.source_id == f"conversation:{said.id}"
    assert (said.title, said.conversation_id, said.message_id) == ("About running", "running", "m0")
    assert said.updated_at == NOW
    assert [source.score for source in found] == sorted((source.score for source in found), reverse=True)


async def test_meaning_finds_what_shares_no_word(ann: RetrievalUser) -> None:
    await ann.wrote("Physiotherapy", "Appointment for the injured leg")
    for number in range(30):
        await ann.wrote(f"Invoice {number}", "Pay the electricity bill of the flat")

    assert (await ann.finds("my knee aches", limit=1))[0].title == "Physiotherapy"


async def test_a_rare_word_finds_what_meaning_does_not_tell_apart(ann: RetrievalUser) -> None:
    for name in ("Ilse", "Marta", "Jonas", "Xaver", "Petra", "Olga"):
        await ann.wrote(f"Call {name}", f"Task: call {name} back about the meeting")

    assert (await ann.finds("What did I want from Xaver?", limit=1))[0].title == "Call Xaver"


async def test_words_alone_decide_without_a_vector(ann: RetrievalUser) -> None:
    await ann.wrote("Knee", "Book the scan")
    await ann.wrote("Taxes", "Send the return")

    assert [source.title for source in await ann.finds("the scan of my knee", words_only=True)] == ["Knee"]
    assert await ann.finds("astronomy", words_only=True) == []


async def test_who_said_it_and_when_can_be_asked_for(ann: RetrievalUser) -> None:
    await ann.said("I saw the doctor", "And?", author="Melanie", when=NOW.replace(month=5), conversation="may")
    await ann.said("I saw the doctor", "And?", author="Melanie", when=NOW.replace(month=8), conversation="august")

    assert (await ann.finds("When in August did Melanie see the doctor?", limit=1))[0].conversation_id == "august"


async def test_an_answer_is_found_by_the_question_it_follows(ann: RetrievalUser) -> None:
    await ann.said("Which restaurant did we like in Lisbon?", "Ponto Final, by the river.", conversation="lisbon")
    for number in range(8):
        await ann.said(f"Note {number} on spreadsheets", "Fine, it is kept.", conversation=f"n{number}")

    found = await ann.finds("the restaurant in Lisbon", limit=2)

    assert found[1].text == "Ponto Final, by the river."


async def test_only_the_asked_for_domains_are_searched(ann: RetrievalUser) -> None:
    await ann.said(KNEE, "Rest it")
    await ann.wrote("Knee", "the knee", domain="task")
    await ann.wrote("Knee", "the knee", domain="journal_entry")

    async def domains(*asked: str) -> set[str]:
        return {source.domain for source in await ann.finds("knee", domains=frozenset(asked))}

    assert await domains("conversation") == {"conversation"}
    assert await domains("task") == {"task"}
    assert await domains("journal_entry", "conversation") == {"journal_entry", "conversation"}
    assert await domains() == set()


async def test_the_chunks_of_one_entry_are_one_source(ann: RetrievalUser) -> None:
    entry = uuid4()
    for chunk, text in enumerate(("The knee hurt again", "The knee was fine after the ice", "Dinner with Tom")):
        await ann.wrote("Monday", text, domain="journal_entry", entity=entry, chunk=chunk)

    found = await ann.finds("when did the knee hurt again?")

    assert [source.source_id for source in found] == [f"journal_entry:{entry}"]
    assert found[0].text == "The knee hurt again"


async def test_nothing_of_another_user_is_found(anyone: RetrievalUser, bob: RetrievalUser) -> None:
    await bob.said(KNEE, "Rest it")
    await bob.wrote("Knee", KNEE)

    assert await anyone.finds(KNEE) == []
    assert len(await bob.finds(KNEE)) == 3


async def test_withdrawn_consent_finds_nothing_not_even_what_is_still_stored(anyone: RetrievalUser) -> None:
    await anyone.said(KNEE, "Rest it")
    await anyone.consents(record_rag_snippets=True)
    assert await anyone.finds(KNEE)

    await anyone.run("alter table user_analytics_preferences disable trigger user")
    await anyone.run("update user_analytics_preferences set record_rag_snippets = false where user_id = $user")
    await anyone.run("alter table user_analytics_preferences enable trigger user")

    assert await anyone.finds(KNEE) == []
    assert await anyone.finds(KNEE, words_only=True) == []


@pytest.mark.parametrize(
    "change",
    [
        "update ai_conversation_memory set deleted = true where user_id = $user",
        "update conversations set incognito = true where user_id = $user",
        "update ai_conversation_memory set status = 'streaming' where user_id = $user",
        "update ai_conversation_memory set status = 'failed' where user_id = $user",
        "update ai_conversation_memory set message_role = 'system' where user_id = $user",
        "update ai_conversation_memory set model_used = 'offline' where user_id = $user",
    ],
)
async def test_what_is_no_memory_is_not_found(anyone: RetrievalUser, change: str) -> None:
    await anyone.said(KNEE, "Rest it")

    await anyone.run(change)

    assert await anyone.finds(KNEE) == []


async def test_a_question_asked_before_is_left_out_where_it_would_answer_itself(anyone: RetrievalUser) -> None:
    await anyone.said(f"  {KNEE}\n", "Rest it")

    assert KNEE in {text.strip() for text in texts_of(await anyone.finds(KNEE))}
    assert texts_of(await anyone.finds(KNEE, is_ranking=False)) == ["Rest it"]


async def test_the_running_turn_does_not_find_its_own_question(anyone: RetrievalUser) -> None:
    await anyone.said(KNEE, "Rest it")
    [(question,)] = await anyone.run(
        "select id from ai_conversation_memory where user_id = $user and message_role = 'user'"
    )

    found = await anyone.finds(KNEE, exclude={question})

    assert texts_of(found) == ["Rest it"]


async def test_vectors_of_another_model_are_never_compared(anyone: RetrievalUser) -> None:
    question = clustered(1)[0]
    await anyone.wrote("theirs", "no word of it", model="other-model", vector=question)
    await anyone.wrote("ours", "no word of it", vector=-question)

    assert [source.title for source in await anyone.finds("", vector=question)] == ["ours"]


async def test_what_is_found_by_its_words_is_not_compared_across_models(anyone: RetrievalUser) -> None:
    question = await EMBEDDER.embed_query(KNEE)
    await anyone.wrote("ours", KNEE)
    await anyone.wrote("theirs", KNEE, model="other-model", vector=question)

    async with anyone.db.as_user(anyone.id) as tx:
        rows = await tx.execute(
            "select title, similarity from search_combined_context(%s, %s, %s, %s)",
            (anyone.id, KNEE, halfvec(question), EMBEDDER.model),
        )
        similarity = dict(await rows.fetchall())

    assert similarity["theirs"] is None
    assert similarity["ours"] is not None


async def test_a_message_that_waits_for_its_vector_is_found_by_its_words(anyone: RetrievalUser) -> None:
    await anyone.said(KNEE, "Rest it")
    await anyone.run(
        "update ai_conversation_memory set message_embedding = null, embedding_model = null where user_id = $user"
    )

    assert texts_of(await anyone.finds("knee downhill", limit=1)) == [KNEE]


HOSTILE = [
    *("", " ", "?", "the of and", "\0", "knee\0", "\ud83d", "膝が痛い", "%s %(x)s %", "<b>knee</b>"),
    *("'; drop table tasks; --", "' | ''", "\\", "a\\'b", "/etc/x\\'y", "http://a.example/'b'?c=\\d"),
    *("&", "| ! & : * ( ) < ->", ":*", "!knee", "knee & !run", "'knee' <-> \\", "knee:*A"),
    *("x" * 32_000, "knee " * 6_400, "\n".join(f"w{n} ü{n}" for n in range(4_000))),
]


@pytest.mark.parametrize("question", HOSTILE)
async def test_any_question_is_only_a_question(ann: RetrievalUser, question: str) -> None:
    await ann.wrote("Knee", "the knee")

    found = await ann.finds(question)

    assert [source.title for source in found] == ["Knee"]
    await ann.finds(question, words_only=True)
    assert await ann.finds("the knee")


async def test_nothing_stored_finds_nothing(ann: RetrievalUser) -> None:
    assert await ann.finds("knee") == []
    assert await ann.finds("knee", words_only=True) == []


async def test_a_single_row_is_found(ann: RetrievalUser) -> None:
    await ann.wrote("Knee", "the knee")

    assert len(await ann.finds("knee")) == 1


async def test_the_signs_choose_and_more_rows_get_more_candidates(ann: RetrievalUser, bob: RetrievalUser) -> None:
    """One row has the question's direction, but signs that are nearly all wrong: it is compared only where all are."""
    question = np.full(1536, 1e-3, np.float32)
    question[0] = 1
    hidden = -question
    hidden[0] = 1
    few, many = clustered(40), clustered(2_100)
    few[5] = many[5] = hidden

    await ann.has_rows(few)
    await bob.has_rows(many)

    assert (await ann.finds("", vector=question, limit=1))[0].title == "5"
    assert "5" not in {source.title for source in await bob.finds("", vector=question, limit=10)}
    assert "5" in {source.title for source in await bob.finds("", vector=question, limit=600)}


@pytest.mark.parametrize(
    ("late", "wanted"), [(0, 40), (20, 40), (21, 41), (80, 100), (180, 200), (181, 200), (1249, 200), (1250, 400)]
)
async def test_how_many_candidates_a_table_gets(owner: Any, late: int, wanted: int) -> None:
    assert await (await owner.execute("select coach.candidates(%s)", (late,))).fetchone() == (wanted,)


@pytest.mark.parametrize("count", [900, 3_000])
async def test_ten_of_ten_nearest_are_found(new_retrieval_user: NewRetrievalUser, count: int) -> None:
    person, dice = await new_retrieval_user(), np.random.default_rng(5)
    space = Space(20, dice)
    rows = space.about(dice.integers(0, 16, count))
    await person.has_rows(rows)

    hits = 0
    for question in space.about(np.array([0, 5, 15, 16, 17, 19])):  # the last three are topics of nobody
        exact = np.argsort(-(rows @ question))[:10]
        found = await person.finds("", vector=question, limit=10)
        hits += len({int(source.title) for source in found} & set(exact.tolist()))

    assert hits >= (60 if count <= 1_300 else 58)


async def test_words_reach_what_the_nearest_200_leave_out(ann: RetrievalUser) -> None:
    rows = clustered(1500)
    texts = ["nothing in particular"] * 1500
    texts[700] = "The zeppelin flies on Thursday"
    await ann.has_rows(rows, texts)

    assert (await ann.finds("When does the zeppelin fly?", vector=clustered(1, seed=99)[0], limit=1))[0].title == "700"


async def test_what_lies_above_a_rows_parent_is_read_and_not_searched(ann: RetrievalUser) -> None:
    await ann.wrote("Buy tape", "Buy tape. Task of the project Fix the leg.\n↑ Part of Running and the knee, Health.")
    await ann.wrote("The knee", "It locked on the bend.")

    assert [source.title for source in await ann.finds("knee", words_only=True)] == ["The knee"]
    (tape,) = await ann.finds("leg", words_only=True)
    assert tape.text.endswith("\n↑ Part of Running and the knee, Health.")


@pytest.mark.parametrize("text", ["", "↑ Up.", "One.\n↑ Up.\nTwo.", "One. ↑ Up.", "One.\n↑ Up.\n", "One.\n↑ Up."])
async def test_words_are_searched_of_just_what_is_embedded(owner: Any, text: str) -> None:
    query = "select coach.snippet_document('', %s) = coach.search_document('', %s)"
    assert await (await owner.execute(query, (text, searched(text)))).fetchone() == (True,)
