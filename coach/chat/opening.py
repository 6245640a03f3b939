"""What a turn writes when it begins, in one transaction. How it ends is in ``chat/settling.py``.

Both lock in one order: quota month, conversation, messages, interaction. Two orders deadlocked 137 of 160 transactions
in a trial.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from msgspec import structs
from psycopg.types.json import Jsonb

from coach.chat import quota, repeats
from coach.chat.choice import Choice, Choices
from coach.chat.meaning import Answer, Ask, Busy, Meaning, Replay, Stored, interpret, stored_statements
from coach.chat.opened import Conversation, FirstLook, Opened, PastMessage, Reservation, Taken
from coach.chat.schemas import ChatRequest
from coach.database.pool import Transaction
from coach.database.queries import load
from coach.database.round_trips import COMMIT, Statement, send_together
from coach.errors import RateLimited
from coach.stages.stages import SessionState
from coach.stages.steps import apply

_sql = load("chat")

HISTORY_DEPTH = 40
"""Messages of a conversation that a prompt can show, where they find room."""

TURNS_AT_ONCE = 8
"""Of one user, where the settings do not say."""

BUSY_AGAIN = 2.0
"""Seconds after which a user with too many turns may try again."""

OWNER = f"{socket.gethostname()}:{os.getpid()}"


class Opening:
    """A turn's first transaction, after its first query was answered."""

    def __init__(  # noqa: PLR0917 - one argument a part
        self, tx: Transaction, user_id: UUID, request: ChatRequest, seen: FirstLook, now: datetime, at_once: int
    ) -> None:
        self._tx, self._user_id, self._request = tx, user_id, request
        self._seen, self._now, self._at_once = seen, now, at_once

    @property
    def may_embed(self) -> bool:
        """Whether the question may reach the embedder."""
        return self._seen.has_consented and not (self._seen.is_incognito or self._request.incognito)

    @property
    def has_room(self) -> bool:
        """False if as many of the user's turns run as may: it is refused, unless it repeats or replaces one."""
        return self._seen.running < self._at_once

    async def begin(self, choice: Choice, choices: Choices) -> Opened | Replay | Busy:
        """Store the question and reserve its unit, or return the existing answer to show instead.

        ``choice`` is the request's; ``choices`` give that of a session's persona.

        :raises QuotaExhausted: before anything is stored.
        :raises RateLimited: as many of the user's turns run as may, in whichever process.
        :raises Conflict: the message id or the idempotency key stands for something else.
        """
        seen, before = self._seen, Stored()
        if seen.conversation_id is not None or self._request.idempotency_key:
            before = await self._read(seen.conversation_id)
        meaning = self._meaning(before, seen.leaf_id)
        if isinstance(meaning, Replay):
            return meaning
        taken, conversation, stored = await self._reserve()
        # Decide again under the lock: of twenty equal requests one opens the turn, and the others find its answer.
        again: Meaning | Busy = self._meaning(stored, conversation.leaf_id)
        if stored.running and self._request.caller is None and not isinstance(again, Replay):
            again = Busy(stored.running)
        if isinstance(again, Replay | Busy):
            await self._tx.rollback()
            return again
        if taken.running > self._at_once:
            raise RateLimited(BUSY_AGAIN, f"{self._at_once} of your turns are running; ask again when one has ended.")
        session = await self._session(again, conversation.id)
        if session is not None:
            choice = choices.choose(self._request, session.prompt)
        return await self._store(self._turn(again, conversation, taken.units, choice, session), again)

    async def _reserve(self) -> tuple[Taken, Conversation, Stored]:
        """What is taken then, and what is stored once the conversation is locked."""
        limit, known_id = self._seen.monthly_limit, self._seen.conversation_id
        taken, (conversation,), *rows = await send_together(
            self._tx,
            quota.reservation(Taken, self._user_id, limit, self._now),
            self._conversation_statement(),
            *(self._stored_statements(known_id) if known_id else ()),
        )
        if not taken:
            raise await quota.exhausted(self._tx, self._user_id, limit, self._now)
        if conversation.id == known_id:
            return taken[0], conversation, Stored.of(rows)
        nothing = conversation.is_new and not self._request.idempotency_key
        return taken[0], conversation, Stored() if nothing else await self._read(conversation.id)

    async def _read(self, conversation_id: UUID | None) -> Stored:
        return Stored.of(await send_together(self._tx, *self._stored_statements(conversation_id)))

    def _stored_statements(self, conversation_id: UUID | None) -> tuple[Statement, ...]:
        since = repeats.since(self._request, self._now)
        return stored_statements(self._user_id, self._request, conversation_id, since)

    def _meaning(self, stored: Stored, leaf_id: UUID | None) -> Meaning:
        return repeats.meaning_of_key(stored.known, self._request) or interpret(self._request, stored, leaf_id)

    async def _session(self, meaning: Ask | Answer, conversation_id: UUID) -> SessionState | None:
        """The state of the conversation's coaching session in this turn. A caller's turn has no session. This runs in
        the turn's own transaction, so a refused turn takes no step, and a repeat takes none twice.
        """
        request, running = self._request, self._seen.session
        if request.caller is not None:
            return None
        if request.session is not None:
            key = meaning.question_key if isinstance(meaning, Answer) else request.message_id
            return await apply(self._tx, self._user_id, conversation_id, request.session, key, self._now)
        return None if running is None else SessionState(UUID(running[0]), running[1], running[2])

    def _turn(
        self,
        meaning: Ask | Answer,
        conversation: Conversation,
        taken: int,
        choice: Choice,
        session: SessionState | None,
    ) -> Opened:
        limit, month = self._seen.monthly_limit, quota.month_of(self._now)
        return Opened(
            reservation=Reservation(self._user_id, conversation.id, uuid4(), uuid4(), month, limit),
            choice=choice,
            conversation_key=self._request.conversation_id,
            question_id=meaning.question_id if isinstance(meaning, Answer) else uuid4(),
            question_key=meaning.question_key if isinstance(meaning, Answer) else _question_key(self._request, meaning),
            answer_key=_new_key(),
            feature=self._request.feature,
            text=self._request.text,
            quota=quota.told(taken, limit, month),
            timezone=ZoneInfo(self._seen.timezone),
            may_embed=self.may_embed and not conversation.is_incognito,
            started=self._now,
            session=session,
        )

    async def _store(self, turn: Opened, meaning: Ask | Answer) -> Opened:
        begun = self._beginning(turn, meaning)
        if meaning.parent_id is None:
            await send_together(self._tx, begun, COMMIT)
            return turn
        history = _sql.history.statement(
            PastMessage, user_id=turn.user_id, question_id=turn.question_id, depth=HISTORY_DEPTH
        )
        _, past, _ = await send_together(self._tx, begun, history, COMMIT)
        return structs.replace(turn, history=past)

    def _conversation_statement(self) -> Statement:
        return _sql.open_conversation.statement(
            Conversation,
            user_id=self._user_id,
            id=uuid4(),
            client_id=self._request.conversation_id,
            title=beginning_of(self._request.text),
            feature=self._request.feature,
            incognito=self._request.incognito,
            now=self._now,
        )

    def _beginning(self, turn: Opened, meaning: Ask | Answer) -> Statement:
        request, new = self._request, meaning if isinstance(meaning, Ask) else None
        label = turn.choice.template.label
        details = {
            "conversation": turn.conversation_key,
            "prompt": label,
            "trigger": request.trigger,
            "quota_limit": turn.reservation.limit,
        }
        return _sql.begin_turn.statement(
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
            model=turn.choice.name,
            owner=OWNER,
            interaction_id=turn.reservation.interaction_id,
            feature=turn.feature,
            details=Jsonb(details),
            month=turn.reservation.month,
            key=request.idempotency_key,
            request_hash=repeats.fingerprint(request) if request.idempotency_key else None,
            now=turn.started,
        )


def beginning_of(text: str) -> str:
    """A conversation's first title: the beginning of its first question, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:60].rsplit(" ", 1)[0] + " …"


def _new_key() -> str:
    return f"msg_{uuid4().hex}"


def _question_key(request: ChatRequest, meaning: Ask) -> str:
    """An edit gets an id from the server, since the client's id belongs to the first revision."""
    edited = meaning.revision_of is not None
    return _new_key() if edited or request.message_id is None else request.message_id
