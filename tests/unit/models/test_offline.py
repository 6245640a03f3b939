"""The offline model: grounded, honest, the same every time."""

from __future__ import annotations

import re

import pytest

from coach.chat.delimiters import render_question
from coach.models.base import ChatMessage, ModelOptions
from coach.models.offline import OfflineModel
from coach.models.offline_answer import NOTHING, STAND_IN, TOLD
from coach.models.offline_reading import Excerpt
from coach.models.offline_words import best_sentences
from tests.stub.answers import ask

STATE = (
    "overdue: Book the knee MRI (due 2026-11-20, project Fix the knee)",
    "today: Send the CV to Ana (project New job)",
    "alignment this week: Health 0.62 against 0.30 allocated",
)
SOURCES = (
    '<source n="1" kind="task" title="Book the knee MRI" date="2026-11-20">\n'
    "Ask Dr. Vogel for the referral first. Status: todo.\n</source>",
    '<source n="2" kind="journal_entry" title="Stairs &amp; shoes" date="2026-10-02">\n'
    "The knee hurt on the stairs after 7 km [9]. Mum called.\n</source>",
    '<source n="3" kind="conversation" title="Portuguese" date="2026-09-02">\nWe agreed on a mock exam.\n</source>',
)


def prompt(question: str, state=STATE, sources=SOURCES, earlier=()) -> tuple[ChatMessage, ...]:
    asked = render_question("Monday 23 November 2026, 20:31 (Europe/Berlin)", state, sources, question)
    return (ChatMessage("system", "You are a coach."), *earlier, ChatMessage("user", asked))


async def answer(question: str, **parts) -> str:
    return (await ask(OfflineModel(), prompt(question, **parts))).text


async def test_it_quotes_the_sources_that_bear_on_the_question_and_cites_them():
    text = await answer("What should I do about my knee?")

    assert "“Ask Dr. Vogel for the referral first. Status: todo.” [1]" in text
    assert "The knee hurt on the stairs" in text
    assert set(re.findall(r"\[(\d+)\]", text)) == {"1", "2"}


async def test_what_a_source_quotes_cannot_pass_for_a_citation():
    assert "[9]" not in await answer("What about my knee and the stairs?")


async def test_it_ends_with_one_next_step_and_one_question_back():
    text = await answer("What should I do about my knee?")

    assert text.count("One next step:") == 1
    assert text.endswith("?")


@pytest.mark.parametrize("question", ["What should I focus on today?", "What is urgent?", "My priorities?"])
async def test_a_question_about_the_day_is_led_by_what_stands_in_the_rows(question):
    text = await answer(question)

    assert text.index(STATE[0]) < text.index(STATE[1]) < text.index(STATE[2]) < text.index("One next step")
    assert "“Book the knee MRI”" in text.split("One next step")[1]


@pytest.mark.parametrize("question", ["What is overdue?", "What do I keep postponing?", "Where have I fallen behind?"])
async def test_a_question_about_what_is_overdue_gets_that_alone(question):
    text = await answer(question)

    assert text.split("\n\n")[1] == "This is overdue:\n- Book the knee MRI (due 2026-11-20, project Fix the knee) [1]"
    assert "CV" not in text


async def test_days_ahead_come_before_days_gone_by():
    sources = (
        '<source n="1" kind="task" title="First choir concert" date="2026-05-01">\nDone on 1 May 2026.\n</source>',
        '<source n="2" kind="task" title="Choir concert" date="2026-05-01">\nOpen, due 6 December 2026.\n</source>',
    )

    ahead = await answer("When is the choir concert?", sources=sources, state=())
    gone = await answer("When was the last choir concert?", sources=sources, state=())

    assert ahead.split("\n\n")[1] == "Your task “Choir concert”: open, due 6 December 2026 [2]."
    assert "The latest that I find: your task “First choir concert”: done on 1 May 2026 [1]." in gone


async def test_what_only_sounds_alike_is_offered_as_no_answer():
    text = await answer("When is my violin exam?")

    assert "Nothing of yours names “violin”. What comes nearest:" in text


async def test_of_two_figures_the_one_in_the_asked_unit_is_taken():
    sources = (
        '<source n="1" kind="journal_entry" title="New oven" date="2026-05-01">\nThe oven has 3 shelves. '
        "It was 900 euros.\n</source>",
    )

    assert "“It was 900 euros.” [1]" in await answer("What did the oven cost?", sources=sources, state=())


async def test_many_overdue_tasks_do_not_hide_todays():
    state = [*(f"overdue: Task {n} (due 2026-11-1{n}, high priority)" for n in range(5)), STATE[1]]

    text = await answer("What are my priorities?", state=state)

    assert "today: Send the CV to Ana" in text
    assert text.count("- overdue:") == 3


async def test_it_quotes_whole_sentences_and_no_heading():
    entry = (
        '<source n="1" kind="journal_entry" title="Stairs again" date="2026-05-04">\n'
        "Journal, 4 May 2026: Stairs again (tired). The knee hurt, says Dr. Vogel. Mum called.\n</source>",
    )

    text = await answer("What did Dr. Vogel say about my knee?", state=(), sources=entry)

    assert "“The knee hurt, says Dr. Vogel. Mum called.” [1]" in text


async def test_every_figure_and_date_it_writes_was_given_to_it():
    given = " ".join((*STATE, *SOURCES))

    for question in ("What about my knee?", "What is due today?", "How is my alignment?", "And my violin?"):
        for figure in re.findall(r"\d[\d.-]*\d|\d", await answer(question)):
            assert figure in given


@pytest.mark.parametrize("question", ["How is my violin?", "Wie geht es?", "?", "🎻", "a" * 32_000])
async def test_it_does_not_pretend_to_know_what_was_not_found(question):
    assert NOTHING in await answer(question, state=(), sources=())
    assert "nothing of yours that names that" in await answer(question, state=())


async def test_a_kind_of_row_that_it_has_never_heard_of_is_called_by_its_name():
    habit = ('<source n="1" kind="daily_habit" title="Cold shower" date="2026-05-01">\nTwo minutes.\n</source>',)

    assert "Your daily habit “Cold shower”: “Two minutes.” [1]" in await answer("My shower?", state=(), sources=habit)


async def test_what_a_new_user_tells_is_no_question():
    assert TOLD in await answer("My most important goal is to open a bakery.", state=(), sources=())


@pytest.mark.parametrize("state", ["Done on 3 March 2026.", "Done, high priority.", "Status: completed."])
async def test_a_finished_task_is_never_the_next_step(state):
    done = (f'<source n="1" kind="task" title="Buy knee brace" date="2026-01-02">\nKnee. {state}\n</source>',)

    assert "Buy knee brace" not in (await answer("My knee?", state=(), sources=done)).split("One next step")[1]


async def test_only_the_first_answer_of_a_conversation_says_that_it_is_a_stand_in():
    earlier = (ChatMessage("user", "Hello"), ChatMessage("assistant", "Hello."))

    assert (await answer("My knee?")).startswith(STAND_IN)
    assert STAND_IN not in await answer("My knee?", earlier=earlier)
    assert "COACH_OPENAI_API_KEY" in STAND_IN


async def test_equal_prompts_get_equal_answers():
    first = await ask(OfflineModel(), prompt("What about my knee?"))

    assert first == await ask(OfflineModel(), prompt("What about my knee?"))


async def test_it_streams_word_by_word_and_its_usage_counts_what_it_streamed():
    events = [event async for event in OfflineModel().stream(prompt("My knee?"))]

    assert len(events) > 40
    assert events[-1].usage.output_tokens == len(events) - 1
    assert events[-1].usage.input_tokens == sum(OfflineModel().count_tokens(m.content) for m in prompt("My knee?"))
    assert events[-1].model == "offline"


async def test_it_obeys_max_tokens_and_stop():
    short = await ask(OfflineModel(), prompt("My knee?"), ModelOptions(max_tokens=5))
    stopped = await ask(OfflineModel(), prompt("My knee?"), ModelOptions(stop=("One next step", "rows")))

    assert short.completion.reason == "length"
    assert short.completion.usage.output_tokens == 5
    assert stopped.text.endswith("from your own ")
    assert stopped.completion.reason == "stop"


async def test_a_title_is_asked_for_and_comes_as_the_shape_that_was_shown():
    task = (
        '### Task:\nGenerate a title.\n### Output:\nJSON format: { "title": "your concise title here" }\n'
        "<chat_history>\nUSER: What should I do about my knee MRI?\nASSISTANT: Rest.\n</chat_history>"
    )

    assert (await ask(OfflineModel(), (ChatMessage("user", task),))).text == '{"title":"Knee MRI"}'


@pytest.mark.parametrize(
    "task", ["### Task:", "### Task:\nName this chat.", '### Task: { "tags": ["x"] }', "### Task: <chat_history>"]
)
async def test_a_ui_task_of_any_shape_gets_a_short_answer(task):
    text = (await ask(OfflineModel(), (ChatMessage("user", task),))).text

    assert 0 < len(text) < 100
    assert STAND_IN not in text


@pytest.mark.parametrize(
    "messages", [(), (ChatMessage("system", "x"),), (ChatMessage("user", ""),), (ChatMessage("user", "hi"),)]
)
async def test_a_prompt_without_context_is_answered_all_the_same(messages):
    assert (await ask(OfflineModel(), messages)).text


def test_a_quote_says_something_about_the_row_and_not_where_it_stands() -> None:
    text = (
        "Call Sanne. Ask about the brace. Task of the project Fix the knee (Running, Health). Open, due 3 May 2026. "
        "Needs about 15 minutes; low energy."
    )
    excerpt = Excerpt(1, "task", "Call Sanne", "2026-05-01", text)
    assert best_sentences(excerpt, frozenset({"kne"}), 2) == ["Ask about the brace.", "Open, due 3 May 2026."]


def test_a_row_that_says_nothing_else_is_quoted_as_it_stands() -> None:
    excerpt = Excerpt(1, "task", "X", "2026-05-01", "Task of the project Fix the knee (Running, Health).")
    assert best_sentences(excerpt, frozenset(), 2) == [excerpt.text]
