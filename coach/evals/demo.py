"""Whether the search finds what the demo user asks for: forty questions over her year, twice, each with its rows.

``evals/datasets/demo_retrieval.yaml`` is the measure; ``demo_retrieval_paraphrased.yaml`` asks for the same with her
own names paraphrased away, and is reported beside it. Both have the shape of pydantic-evals' datasets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from coach.database.pool import Database
from coach.demo.generate import DEMO_SEED, generate
from coach.demo.life import Life
from coach.demo.load import load
from coach.errors import InvalidInput
from coach.evals.past import ranked
from coach.evals.ranking import METRICS, Scores, score
from coach.resources import EVALS
from coach.retrieval.base import Embedder

MAIN, PARAPHRASED = (EVALS / "datasets" / f"demo_retrieval{suffix}.yaml" for suffix in ("", "_paraphrased"))
DATASETS = (MAIN, PARAPHRASED)
DEPTH = 20


class Metadata(Struct, frozen=True, forbid_unknown_fields=True):
    thread: str
    note: str


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """A question (``inputs``) and the keys of the rows that answer it."""

    name: str
    inputs: str
    expected_output: tuple[str, ...]
    metadata: Metadata


class Dataset(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    cases: tuple[Case, ...]


class Asked(Struct, frozen=True):
    """One question with its figures and what was found, as keys, best first."""

    name: str
    thread: str
    question: str
    scores: Scores
    found: tuple[str, ...]


class Result(Struct, frozen=True):
    """Of one dataset: mean figures of all questions (``all``) and of each thread, and the questions."""

    name: str
    means: dict[str, Scores]
    asked: tuple[Asked, ...]


async def run(
    db: Database,
    embedder: Embedder,
    today: date,
    *,
    files: Sequence[Path] = DATASETS,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Result]:
    """Load the demo life as a new user of ``db``, ask the questions of each file, forget the user again.

    :raises InvalidInput: a dataset names a row that the life does not have.
    """
    life, datasets, user_id = generate(DEMO_SEED, today), [read(file) for file in files], uuid4()
    expected = [answers(life, dataset) for dataset in datasets]
    async with db.as_operator() as tx:
        await tx.execute("insert into auth.users (id) values (%s)", (user_id,))
    try:
        progress(f"loading {len(life.tasks)} tasks, {len(life.journal_entries)} journal entries")
        await load(db, embedder, user_id, life)
        search, results = _Search(db, embedder, user_id, {id_: key for key, id_ in life.sources()}), []
        for dataset, rows in zip(datasets, expected, strict=True):
            progress(f"asking the {len(dataset.cases)} questions of {dataset.name}")
            results.append(_summed(dataset.name, [await search.ask(case, rows[case.name]) for case in dataset.cases]))
        return results
    finally:
        async with db.as_operator() as tx:
            await tx.execute("delete from auth.users where id = %s", (user_id,))


def read(file: Path) -> Dataset:
    """:raises InvalidInput: the file is no such dataset."""
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(file.read_text("utf-8")), Dataset)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidInput("file", f"{file} is not a dataset of questions: {error}") from error


def answers(life: Life, dataset: Dataset) -> dict[str, frozenset[str]]:
    """By the case's name, the ids of the sources that answer it.

    :raises InvalidInput: an unknown key.
    """
    known = dict(life.sources())
    for case in dataset.cases:
        if unknown := [key for key in case.expected_output if key not in known]:
            raise InvalidInput(case.name, f"no such row in the demo life: {', '.join(unknown)}")
    return {case.name: frozenset(known[key] for key in case.expected_output) for case in dataset.cases}


class _Search(NamedTuple):
    """The real retrieval, as this user; ``keys`` are the rows' names in the story."""

    db: Database
    embedder: Embedder
    user_id: UUID
    keys: Mapping[str, str]

    async def ask(self, case: Case, rows: frozenset[str]) -> Asked:
        found = await ranked(self.db, self.user_id, case.inputs, self.embedder, DEPTH)
        ids = [source.source_id for source in found]
        best = tuple(self.keys.get(id_, id_) for id_ in ids[:10])
        return Asked(case.name, case.metadata.thread, case.inputs, score(ids, rows), best)


def _summed(name: str, asked: Sequence[Asked]) -> Result:
    groups: dict[str, list[Scores]] = defaultdict(list)
    for each in asked:
        groups["all"].append(each.scores)
        groups[each.thread].append(each.scores)
    return Result(name, {thread: Scores.mean(group) for thread, group in groups.items()}, tuple(asked))


def table(results: Sequence[Result]) -> str:
    """The results as text: a line a thread, and each question whose answer was not among the first ten."""
    return "\n\n".join("\n".join(_lines(result)) for result in results)


def _lines(result: Result) -> Iterator[str]:
    missed = [each for each in result.asked if not each.scores.hit_10]
    yield f"{result.name}: {len(result.asked) - len(missed)} of {len(result.asked)} questions answered in ten"
    yield f"{'':12}" + "".join(f"{name:>9}" for name in METRICS)
    for thread, means in result.means.items():
        yield f"{thread:12}" + "".join(f"{value:9.3f}" for value in msgspec.structs.astuple(means))
    yield from (f"missed: {each.question}" for each in missed)
