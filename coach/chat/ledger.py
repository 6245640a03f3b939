"""What a turn writes when it begins, in one transaction. How it ends is in ``chat/settling.py``.

Both lock in one order: quota month, conversation, messages, interaction. Two orders deadlocked 137 of 160 transactions
in a trial.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from msgspec import Struct, structs
from psycopg.types.json import Jsonb

from coach.chat import quota
from coach.chat.events import QuotaTold
from coach.chat.meaning import Answer, Ask, Busy, Meaning, Replay, interpret
from coach.chat.schemas import ChatRequest
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.database.round_trips import COMMIT, Asked, asked, together
from coach.errors import Conflict
from coach.models.base import Role
from coach.stages.stages import Standing
from coach.stages.steps import apply

_sql = load("chat")

KEY_LIFETIME = timedelta(hours=24)
"""How long an Idempotency-Key is remembered."""

HISTORY_DEPTH = 40
"""Messages of a conversation that a prompt can show, where they find room."""

Labelled = Callable[[str], str]
"""From a prompt's name to its label."""

OWNER = f"{socket.gethostname()}:{os.getpid()}"


class Reservation(Struct, frozen=True):
    """The rows of a turn that has begun, and the unit it holds: what ending it needs to know."""

    user_id: UUID
    conversation_id: UUID
    answer_id: UUID
    interaction_id: UUID
    month: date
    limit: int


class Opened(Struct, frozen=True):
    """A turn that may run: its question is stored, its unit reserved. Keys are ids on the wire.

    ``history`` is the branch that leads to the question, newest first.
    """

    reservation: Reservation
    conversation_key: str
    question_id: UUID
    question_key: str
    answer_key: str
    feature: str
    model: str
    prompt: str
    text: str
    quota: QuotaTold
    timezone: ZoneInfo
    incognito: bool
    started: datetime
    session: Standing | None = None
    history: Sequence[tuple[UUID, Role, str]] = ()

    @property
    def persona(self) -> str:
        """The name of the prompt that answers: of the session's stage where the conversation is in one."""
        return self.session.prompt if self.session is not None else self.feature

    @property
    def user_id(self) -> UUID:
        return self.reservation.user_id

    @property
    def conversation_id(self) -> UUID:
        return self.reservation.conversation_id

    @property
    def answer_id(self) -> UUID:
        return self.reservation.answer_id


class Ledger:
    """Opens and closes turns in the database. ``monthly_limit`` holds for users without a limit of their own."""

    def __init__(self, db: Database, monthly_limit: int) -> None:
        self._db, self._monthly_limit = db, monthly_limit

    async def open(
        self, user_id: UUID, request: ChatRequest, *, model: str, prompt: str, now: datetime, labelled: Labelled = str
    ) -> Opened | Replay | Busy:
        """Store the question and reserve its unit, or say which answer to show instead.

        ``prompt`` is the feature's label; ``labelled`` gives that of a session's prompt.

        :raises QuotaExhausted: before anything is stored.
        :raises Conflict: the message id or the idempotency key stands for something else.
        """
        async with self._db.asking(user_id, lambda tx: self._look(tx, user_id, request)) as (tx, looked):
            limit, zone, *known, standing = looked
            meaning = await self._meaning(tx, user_id, request, now, known)
            if isinstance(meaning, Replay):
                return meaning
            taken, (conversation,) = await together(
                tx, quota.asking_one(user_id, limit, now), self._asking_conversation(user_id, request, now)
            )
            if not taken:
                raise await quota.exhausted(tx, user_id, limit, now)
            # Asked again under the lock: of twenty equal requests one opens, the others find its answer.
            is_new = conversation[3] and not request.idempotency_key
            again = meaning if is_new else await self._meaning(tx, user_id, request, now, conversation[:2])
            is_alone = is_new or request.caller is not None or isinstance(again, Replay)
            running = [] if is_alone else await self._running(tx, user_id, conversation[0])
            if isinstance(again, Replay) or running:
                await tx.rollback()
                return again if isinstance(again, Replay) else Busy(running[0])
            session = await self._session(tx, user_id, request, again, conversation[0], standing, now)
            turn = Opened(
                reservation=Reservation(user_id, conversation[0], uuid4(), uuid4(), quota.month_of(now), limit),
                conversation_key=request.conversation_id,
                question_id=again.question_id if isinstance(again, Answer) else uuid4(),
                question_key=again.question_key if isinstance(again, Answer) else _question_key(request, again),
                answer_key=_new_key(),
                feature=request.feature,
                model=model,
                prompt=prompt if session is None else labelled(session.prompt),
                text=request.text,
                quota=quota.told(taken[0][0], limit, quota.month_of(now)),
                timezone=ZoneInfo(zone),
                incognito=conversation[2],
                started=now,
                session=session,
            )
            begun = self._beginning(turn, again, request)
            if again.parent_id is None:
                await together(tx, begun, COMMIT)
                return turn
            _, history, _ = await together(tx, begun, self._asking_history(turn), COMMIT)
            return structs.replace(turn, history=history)

    async def _session(  # noqa: PLR0917 - what a turn knows when it opens
        self,
        tx: Transaction,
        user_id: UUID,
        request: ChatRequest,
        meaning: Ask | Answer,
        conversation_id: UUID,
        standing: Any,
        now: datetime,
    ) -> Standing | None:
        """Where the conversation's coaching session stands in this turn; a caller's turns belong to none.

        In the turn's own transaction: a turn that is refused takes no step, and a repeat takes none twice.
        """
        if request.caller is not None:
            return None
        if request.session is not None:
            key = meaning.question_key if isinstance(meaning, Answer) else request.message_id
            return await apply(tx, user_id, conversation_id, request.session, key, now)
        return None if standing is None else Standing(UUID(standing[0]), standing[1], standing[2])

    def _asking_history(self, turn: Opened) -> Asked:
        return asked(_sql.history, user_id=turn.user_id, question_id=turn.question_id, depth=HISTORY_DEPTH)

    async def _look(self, tx: Transaction, user_id: UUID, request: ChatRequest) -> Sequence[Any]:
        row: Sequence[Any] = await _sql.opening(
            tx, user_id=user_id, default_limit=self._monthly_limit, client_id=request.conversation_id
        )
        return row

    def _asking_conversation(self, user_id: UUID, request: ChatRequest, now: datetime) -> Asked:
        """For its id, its leaf, whether it is incognito, and whether it is new; made or locked."""
        return asked(
            _sql.open_conversation,
            user_id=user_id,
            id=uuid4(),
            client_id=request.conversation_id,
            title=beginning_of(request.text),
            feature=request.feature,
            incognito=request.incognito,
            now=now,
        )

    def _beginning(self, turn: Opened, meaning: Meaning, request: ChatRequest) -> Asked:
        new = meaning if isinstance(meaning, Ask) else None
        details = {
            "conversation": turn.conversation_key,
            "prompt": turn.prompt,
            "trigger": request.trigger,
            "quota_limit": turn.reservation.limit,
        }
        return asked(
            _sql.begin_turn,
            user_id=turn.user_id,
            conversation_id=turn.conversation_id,
            question_id=turn.question_id,
            question_key=turn.question_key,
            parent_id=new.parent_id if new else None,
            revision_of=new.revision_of if new else None,
            text=turn.text if new else None,
            answer_id=turn.answer_id,
            answer_key=turn.answer_key,
            context=Jsonb({"trigger": request.trigger} | (request.caller.kept if request.caller else {})),
            model=turn.model,
            owner=OWNER,
            interaction_id=turn.reservation.interaction_id,
            feature=turn.feature,
            details=Jsonb(details),
            month=turn.reservation.month,
            key=request.idempotency_key,
            request_hash=_fingerprint(request) if request.idempotency_key else None,
            now=turn.started,
        )

    async def quota(self, user_id: UUID, now: datetime) -> QuotaTold:
        """This month's figures for a user."""
        async with self._db.as_user(user_id) as tx:
            (limit,) = await _sql.monthly_limit_of(tx, user_id=user_id, default_limit=self._monthly_limit)
            return await quota.current(tx, user_id, limit, now)

    async def request_stop(self, user_id: UUID, conversation_key: str) -> list[UUID]:
        """Ask whatever process runs a turn of this conversation to stop it; returns the answers concerned."""
        async with self._db.as_user(user_id) as tx:
            conversation = await _sql.conversation(tx, user_id=user_id, client_id=conversation_key)
            if conversation is None:
                return []
            rows = _sql.request_stop(tx, user_id=user_id, conversation_id=conversation[0])
            return [row[0] async for row in rows]

    async def _meaning(
        self, tx: Transaction, user_id: UUID, request: ChatRequest, now: datetime, conversation: Sequence[UUID | None]
    ) -> Meaning:
        """``conversation`` is its row's id and its leaf; no id, no conversation yet."""
        if request.idempotency_key and (found := await self._by_key(tx, user_id, request, now)):
            return found
        id_, leaf = conversation
        return Ask(None) if id_ is None else await interpret(tx, user_id, request, id_, leaf)

    async def _by_key(self, tx: Transaction, user_id: UUID, request: ChatRequest, now: datetime) -> Meaning | None:
        lifetime = KEY_LIFETIME if request.caller is None else request.caller.repeats_within
        if lifetime is None:
            return None
        row = await _sql.idempotent(tx, user_id=user_id, key=request.idempotency_key, since=now - lifetime)
        if row is None:
            return None
        if row[0] != _fingerprint(request):
            raise Conflict("This Idempotency-Key was used for another request.")
        answer = await _sql.answer_by_id(tx, user_id=user_id, id=row[2])
        if answer is None:
            return None
        if request.caller is not None and answer[2] in ("failed", "interrupted"):
            # Whoever tries again wants an answer: half of one is of no use to a caller that shows nothing else.
            question = await _sql.answer_by_id(tx, user_id=user_id, id=answer[4])
            return Answer(question[0], question[1], question[4])
        return None if answer[2] == "failed" else Replay(answer[0])

    async def _running(self, tx: Transaction, user_id: UUID, conversation_id: UUID) -> list[UUID]:
        rows = _sql.running_answers(tx, user_id=user_id, conversation_id=conversation_id)
        return [row[0] async for row in rows]


def beginning_of(text: str) -> str:
    """A conversation's first name: the beginning of its first question, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:60].rsplit(" ", 1)[0] + " …"


def _new_key() -> str:
    return f"msg_{uuid4().hex}"


def _question_key(request: ChatRequest, meaning: Meaning) -> str:
    """An edit gets an id of the server's, since its own is the first revision's."""
    edited = isinstance(meaning, Ask) and meaning.revision_of is not None
    return _new_key() if edited or request.message_id is None else request.message_id


def _fingerprint(request: ChatRequest) -> str:
    """What must be equal for a key to mean the same request; not the conversation, which the server may have named."""
    parts = [request.message_id or "", request.trigger, request.feature, request.text]
    if request.caller is not None:
        parts.append(request.caller.digest)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
