"""The demo life: the same each time, believable on any day, and without a sentence told twice."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from coach.demo.calendar import Calendar
from coach.demo.generate import DEMO_SEED, generate, streak
from coach.demo.life import Life
from coach.demo.story import casts, read_story
from coach.errors import InvalidInput

TODAY = date(2026, 11, 23)
BERLIN = ZoneInfo("Europe/Berlin")
# A Monday, a Sunday, a leap day, both changes of the clock, and New Year.
DAYS = [TODAY, date(2026, 11, 22), date(2028, 2, 29), date(2027, 3, 28), date(2026, 10, 25), date(2027, 1, 1)]


@pytest.fixture(scope="module")
def maya() -> Life:
    return generate(DEMO_SEED, TODAY)


def test_the_same_seed_and_day_give_the_same_life(maya: Life) -> None:
    assert generate(DEMO_SEED, TODAY) == maya


def test_a_demo_users_ids_stay_as_the_days_pass(maya: Life) -> None:
    later = generate(DEMO_SEED, TODAY + timedelta(days=40))
    assert [task.id for task in later.tasks] == [task.id for task in maya.tasks]
    assert [task.due_date for task in later.tasks] != [task.due_date for task in maya.tasks]


def test_two_demo_users_share_no_id_and_no_name(maya: Life) -> None:
    other = generate(1, TODAY)
    ids = [
        {row.id for row in (*life.pillars, *life.tasks, *life.conversations, *life.flow_events)}
        for life in (maya, other)
    ]
    assert not ids[0] & ids[1]
    assert other.person.first_name != maya.person.first_name
    texts = " ".join(entry.content for entry in other.journal_entries)
    assert not re.findall(r"\b(?:Aylin|Tobi|Priya|Jakub|Sanne|Lucía|Henrik)\b", texts)


def test_every_cast_has_a_name_for_every_role_and_none_twice() -> None:
    for cast in casts():
        assert len(set(cast)) == len(casts()[0])


def test_a_year_is_as_large_as_promised(maya: Life) -> None:
    messages = [len(talk.messages) for talk in maya.conversations]
    assert (len(maya.pillars), len(maya.areas), len(maya.projects)) == (5, 14, 30)
    assert 290 <= len(maya.tasks) <= 330
    assert len(maya.journal_entries) == 150
    assert 40 <= len(messages) <= 45
    assert all(4 <= count <= 12 for count in messages)
    assert all(len(row.behavior_metrics) == 364 for row in (*maya.pillars, *maya.areas))
    assert len(maya.flow_events) > 1_000


@pytest.mark.parametrize(
    "words", ["meniscus", "notice", "valve", "DELE", "emergency fund", "Aylin", "tahdig", "insomnia"]
)
def test_every_thread_runs_through_tasks_journal_and_conversations(maya: Life, words: str) -> None:
    tasks = [f"{task.name} {task.description}" for task in maya.tasks]
    entries = [entry.content for entry in maya.journal_entries]
    said = [f"{talk.title} {message.content}" for talk in maya.conversations for message in talk.messages]
    told = [any(words.lower() in text.lower() for text in texts) for texts in (tasks, entries, said)]
    assert sum(told) >= 2


def test_no_sentence_occurs_twice(maya: Life) -> None:
    texts = [entry.content for entry in maya.journal_entries]
    texts += [
        message.content for talk in maya.conversations for message in talk.messages if message.role == "assistant"
    ]
    sentences = Counter(
        sentence.strip().lower()
        for text in texts
        for sentence in re.split(r"(?<=[.!?])\s+", text)
        if len(sentence.split()) >= 4
    )
    assert [sentence for sentence, count in sentences.items() if count > 1] == []


def test_no_two_rows_of_a_kind_have_the_same_name(maya: Life) -> None:
    for names in (
        [task.name for task in maya.tasks],
        [entry.title for entry in maya.journal_entries],
        [talk.title for talk in maya.conversations],
    ):
        assert [name for name, count in Counter(names).items() if count > 1] == []


def test_nothing_is_left_to_fill_in_and_nothing_is_too_long(maya: Life) -> None:
    for entry in maya.journal_entries:
        assert 100 <= len(entry.content) <= 2_000, entry.key
    for talk in maya.conversations:
        assert all(2 <= len(message.content) <= 1_000 for message in talk.messages), talk.key
    texts = [entry.content for entry in maya.journal_entries]
    texts += [f"{task.name} {task.description}" for task in maya.tasks]
    texts += [message.content for talk in maya.conversations for message in talk.messages]
    assert [text for text in texts if re.search(r"[{}\0]", text)] == []


def test_every_row_hangs_on_one_that_is_there(maya: Life) -> None:
    pillars, areas = {row.id for row in maya.pillars}, {row.id for row in maya.areas}
    projects, tasks = {row.id for row in maya.projects}, {row.id for row in maya.tasks}
    assert {row.pillar_id for row in maya.areas} == pillars
    assert {row.area_id for row in maya.projects} == areas
    assert {row.project_id for row in maya.tasks} == projects
    assert {row.parent_task_id for row in maya.tasks if row.parent_task_id} <= tasks
    assert {id_ for row in maya.tasks for id_ in row.dependency_task_ids} <= tasks
    for talk in maya.conversations:
        assert [message.parent_id for message in talk.messages] == [None, *(m.id for m in talk.messages[:-1])]
        assert talk.current_message_id == talk.messages[-1].id


def test_user_and_coach_alternate_and_the_coach_is_last(maya: Life) -> None:
    for talk in maya.conversations:
        roles = [message.role for message in talk.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2), talk.key
        assert talk.messages[0].said_at < talk.messages[-1].said_at


@pytest.mark.parametrize("today", DAYS)
def test_on_any_day_the_past_has_happened_and_the_day_has_its_tasks(today: date) -> None:
    life = generate(DEMO_SEED, today)
    midnight = datetime.combine(today, time(), BERLIN).astimezone(UTC)
    happened = [entry.created_at for entry in life.journal_entries] + [event.timestamp for event in life.flow_events]
    happened += [message.said_at for talk in life.conversations for message in talk.messages]
    happened += [row.created_at for row in (*life.projects, *life.tasks)]
    happened += [row.updated_at for row in (*life.projects, *life.tasks)]
    assert max(happened) < midnight
    assert min(happened) > midnight - timedelta(days=373)
    waiting = [task.due_date for task in life.tasks if not task.completed and task.due_date]
    assert 10 <= sum(due < today for due in waiting) <= 30
    assert 5 <= sum(due == today for due in waiting) <= 12
    assert sum(today < due <= today + timedelta(days=7) for due in waiting) >= 10


def test_a_task_is_planned_before_it_is_done_and_done_means_completed(maya: Life) -> None:
    for task in maya.tasks:
        assert (task.status == "completed") == task.completed == (task.completed_at is not None), task.key
        assert task.completed_at is None or task.created_at < task.completed_at, task.key
        assert (task.recurrence == "none") == (task.next_due_date is None), task.key


def test_metrics_stay_in_their_ranges_and_in_order(maya: Life) -> None:
    for row in (*maya.pillars, *maya.areas):
        points = row.behavior_metrics
        assert [p.timestamp for p in points] == sorted(p.timestamp for p in points)
        for p in points:
            assert min(p.alignment_score, p.habit_strength, p.energy_level) >= 0
            assert max(p.alignment_score, p.habit_strength, p.energy_level) <= 1
            assert -1 <= p.sentiment <= 1
            assert p.focus_time_minutes >= 0


def test_one_pillar_is_neglected_and_work_takes_more_than_its_share(maya: Life) -> None:
    minutes = {p.key: sum(point.focus_time_minutes for point in p.behavior_metrics[-28:]) for p in maya.pillars}
    shares = {p.key: float(p.time_allocation_percentage) for p in maya.pillars}
    total = sum(minutes.values())
    assert sum(shares.values()) == 100
    assert minutes["making"] / total < 0.01 < shares["making"] / 100
    assert minutes["work"] / total > 1.2 * shares["work"] / 100


def test_the_metrics_follow_the_story(maya: Life) -> None:
    running = next(area for area in maya.areas if area.key == "running").behavior_metrics
    weeks = {-(week + 1): running[len(running) - 7 * (week + 1) :][:7] for week in range(50)}

    def mean(week: int) -> float:
        return sum(point.alignment_score for point in weeks[week]) / 7

    assert mean(-30) < 0.35 < 0.65 < mean(-8)


def test_a_streak_ends_at_the_first_empty_day() -> None:
    calendar = Calendar(TODAY, BERLIN)
    active = [calendar.at(TODAY - timedelta(days=back), time(23, 30)) for back in (1, 2, 3, 5)]
    assert streak(active, calendar) == 3
    assert streak(active[1:], calendar) == 0


@pytest.mark.parametrize("when", ["yesterday", "-37 sunday", "3", "-3d 7:00", "-37 sun 18:20 sharp", ""])
def test_a_date_of_no_known_notation_is_named(when: str) -> None:
    with pytest.raises(InvalidInput, match="is no date"):
        Calendar(TODAY, BERLIN).day(when)


def test_weeks_are_counted_from_the_one_that_holds_today() -> None:
    for today in (TODAY, TODAY + timedelta(days=6)):
        calendar = Calendar(today, BERLIN)
        assert calendar.day("-1 sun") == date(2026, 11, 22)
        assert calendar.day("2 thu") == date(2026, 12, 10)
        assert calendar.tell("on {date:2 thu}!") == "on 10 December 2026!"
    assert calendar.moment("-1 sun 18:20") == datetime(2026, 11, 22, 17, 20, tzinfo=UTC)


def test_the_rhythm_knows_every_area_and_mood() -> None:
    story = read_story()
    areas = {area.key for pillar in story.tree.pillars for area in pillar.areas}
    assert set(story.rhythm.areas) == areas
    assert set(story.rhythm.tags.values()) <= areas
    assert {entry.mood for entry in story.journal} <= set(story.rhythm.moods)


def test_a_project_was_last_touched_on_the_day_of_its_last_done_task(maya: Life) -> None:
    for project in maya.projects:
        done = [task.completed_at for task in maya.tasks if task.project_id == project.id and task.completed_at]
        last = max([*done, project.created_at]).astimezone(BERLIN).date()
        assert project.updated_at.astimezone(BERLIN).date() == last, project.key
