"""The combined context of a question: the user's rows that bear on it, the live facts, and the receipt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from time import perf_counter
from uuid import UUID

import structlog
from msgspec import Struct
from msgspec.structs import replace

from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import EmbedderUnavailable
from coach.retrieval.base import Context, Embedder, Receipt, Vector, Withheld
from coach.retrieval.breaker import Breaker
from coach.retrieval.live_facts import Facts, Person, facts_of_rows, live_facts_statement
from coach.retrieval.relevance import is_relevant
from coach.retrieval.search import WIDE, Found, Scope, search_statement
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.values.clock import utc_now

_sql = load("retrieval")
_log = structlog.get_logger(__name__)

CONSENT_OF = {
    "pillar_metrics": "track_pillar_metrics",
    "flow": "track_flow_states",
    "task_context": "store_task_context",
}
"""Parts of the live facts that a consent of their own may keep out."""


class Question(Struct, frozen=True):
    """A question and its vector. Without one the words decide alone, and ``unembedded`` says why there is none."""

    text: str
    vector: Vector | None = None
    unembedded: str = "embedder-unavailable"


class Retrieved(Struct, frozen=True):
    """What was retrieved for a question, best first, before messages that the prompt shows are left out.

    ``model`` is that of the vectors that were compared.
    """

    question: Question
    model: str
    scope: Scope
    found: Sequence[Found]
    facts: Facts
    took_ms: int

    def context(self, limit: int, shown: Collection[UUID] = ()) -> Context:
        """The ``limit`` best of what is not ``shown``; none where they are mere noise, but in a ranking."""
        state = self.facts.block()
        found = self._besides(shown)[:limit]
        sources = [row.source for row in found] if self.scope.is_ranking or is_relevant(found, self.model) else []
        receipt = Receipt(
            used=(*(source.source_id for source in sources), *(["state"] if state else [])),
            withheld=tuple(withheld_sources(self.facts.person, self.question)),
            stale=self.facts.stale - len(self.facts.waiting.intersection(shown)),
            retrieval_ms=self.took_ms,
        )
        return Context(tuple(sources), state, receipt)

    def is_enough(self, limit: int, shown: Collection[UUID]) -> bool:
        """False if shown messages took the places of sources that were not read."""
        return len(self.found) < self.scope.limit or len(self._besides(shown)) >= limit

    def _besides(self, shown: Collection[UUID]) -> list[Found]:
        return [row for row in self.found if not (row.domain == "conversation" and row.id in shown)]


class Retriever:
    """Reads, in one transaction of the user's, everything that a turn is answered from."""

    def __init__(self, embedder: Embedder, build: Callable[[str], Embedder | None] = lambda model: None) -> None:
        """``build`` returns the embedder of another serving model, or None."""
        self.model = embedder.model
        self._embedder, self._build = embedder, build
        self._breakers: dict[str, Breaker] = {}

    async def question(self, text: str, *, may_embed: bool) -> Question:
        """``text``, with its vector if it may reach the embedder and the embedder answers."""
        if not may_embed:
            return Question(text, unembedded="incognito")
        try:
            return Question(text, await self._vector(self._embedder, text))
        except EmbedderUnavailable as error:
            _log.warning("question_not_embedded", error=type(error).__name__)
            return Question(text)

    async def _vector(self, embedder: Embedder, text: str) -> Vector:
        """What is computed in this process needs no breaker, but seconds to load at its first use."""
        if isinstance(embedder, WordllamaEmbedder):
            return await embedder.embed_query(text)
        return await self._breakers.setdefault(embedder.model, Breaker(embedder)).embed_query(text)

    async def aclose(self) -> None:
        for breaker in self._breakers.values():
            await breaker.aclose()

    async def consented_question(self, db: Database, user_id: UUID, text: str) -> Question:
        """The same, reading the user's consents first.

        :raises DatabaseUnavailable: the consents cannot be read; nothing is embedded then.
        """
        (((has_consented,),),) = await db.once(user_id, _sql.has_consented.statement(user_id=user_id))
        return await self.question(text, may_embed=has_consented)

    async def combined_context(
        self, db: Database, user_id: UUID, question: Question, scope: Scope = WIDE, now: datetime | None = None
    ) -> Context:
        """Sources, live facts as of ``now``, and what was read, what was not and why."""
        retrieved = await self.retrieve(db, user_id, question, scope, now)
        return retrieved.context(scope.limit, scope.exclude)

    async def retrieve(
        self, db: Database, user_id: UUID, question: Question, scope: Scope, now: datetime | None = None
    ) -> Retrieved:
        """The same before it is known which messages the prompt shows: ask for as many more sources.

        One snapshot, in one round trip. During a change of model the question's vector may be of another one than
        serves this user: then it is embedded once more.
        """
        started = perf_counter()
        model = self._embedder.model
        while True:
            search = search_statement(user_id, question.text, question.vector, model, scope)
            found, told = await db.once(
                user_id, search, live_facts_statement(user_id, now or utc_now()), is_snapshot=True
            )
            facts = facts_of_rows(told)
            serving = facts.person.serving_model or self._embedder.model
            if serving == model:
                return Retrieved(question, model, scope, found, facts, round((perf_counter() - started) * 1000))
            model, question = serving, await self._embedded_by(serving, question)

    async def _embedded_by(self, model: str, question: Question) -> Question:
        """Without a vector if the serving model is no longer available: until the switch only words count. A question
        without a vector stays without one, since it may not be allowed to reach an embedder.
        """
        embedder = None if question.vector is None else self._build(model)
        try:
            vector = None if embedder is None else await self._vector(embedder, question.text)
        except EmbedderUnavailable:
            vector = None
        return replace(question, vector=vector)


def withheld_sources(person: Person, question: Question) -> Iterator[Withheld]:
    """What was withheld, with the name of the consent, and faults that narrowed the search."""
    if not person.record_rag_snippets:
        yield Withheld("memory", "record_rag_snippets")
        yield Withheld("life_data", "record_rag_snippets")
    elif question.vector is None:
        yield Withheld("vectors", question.unembedded)
    for source, consent in CONSENT_OF.items():
        if not getattr(person, consent):
            yield Withheld(source, consent)
