"""What the model is asked: templates from ``prompts/``, composed within a token budget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from coach.chat.delimiters import render_question, render_source
from coach.errors import InvalidInput, Misconfigured
from coach.models.base import ChatMessage, ModelOptions, Role
from coach.resources import PROMPTS
from coach.retrieval.base import Context, Receipt, Source
from coach.values.text import escape

LIVE_FACTS_TOKENS = 800
SOURCE_TOKENS = 3_500
HISTORY_TOKENS = 6_000
"""Ceilings of the parts; a small model's parts shrink with its context."""

NO_BEGINNING = "(The beginning of this conversation is left out.)"
"""Before an answer whose question did not fit, or which came without one."""

CountTokens = Callable[[str], int]


class FrontMatter(Struct, frozen=True, forbid_unknown_fields=True):
    """The head of a prompt file. ``feature`` makes a feature type of it (``chat/features.py``)."""

    description: str
    feature: bool = False
    inputs: dict[str, str] = {}
    model: ModelOptions = ModelOptions()


class Template(Struct, frozen=True):
    """A persona, rendered. It holds nothing of a user's, so it is rendered once."""

    name: str
    version: str
    system: str
    options: ModelOptions

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"

    def tuned(self, options: ModelOptions, context_tokens: int) -> Template:
        """The same persona, with what a caller asks for and no more. An answer gets half of the context at most."""
        if options.max_tokens is not None:
            options = msgspec.structs.replace(options, max_tokens=min(options.max_tokens, context_tokens // 2))
        return msgspec.structs.replace(self, options=options)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.system.encode()).hexdigest()[:16]


class Prompt(Struct, frozen=True):
    """What one turn sends, and the part of its context that fits."""

    messages: tuple[ChatMessage, ...]
    sources: tuple[Source, ...]
    receipt: Receipt
    options: ModelOptions

    @property
    def given(self) -> list[str]:
        """Every text that the model may take a figure from."""
        return [message.content for message in self.messages if message.role != "system"]


class Prompts:
    """The newest version of each prompt under a folder ``<name>/<version>.md``.

    :raises Misconfigured: a file that cannot be read, naming it.
    """

    def __init__(self, folder: Path = PROMPTS) -> None:
        self._templates = {path.name: _newest(path) for path in sorted(folder.iterdir()) if path.is_dir()}

    def __getitem__(self, name: str) -> Template:
        return self._templates[name]

    def names(self) -> Iterable[str]:
        return self._templates.keys()


class Budget(Struct, frozen=True):
    """How many tokens each part may take."""

    state: int
    sources: int
    history: int

    @classmethod
    def split(cls, room: int) -> Budget:
        """Share out what persona, question and answer leave of a model's context."""
        state = min(LIVE_FACTS_TOKENS, room * 15 // 100)
        sources = min(SOURCE_TOKENS, room * 50 // 100)
        return cls(state, sources, min(HISTORY_TOKENS, room - state - sources))


def room_for_context(template: Template, question: str, count: CountTokens, context_tokens: int) -> int:
    """Tokens left beside persona, question and answer.

    :raises InvalidInput: the question alone is too long for this model.
    """
    answer = template.options.max_tokens or min(1_500, context_tokens // 4)
    room = context_tokens - answer - count(template.system) - count(escape(question)) - 200
    if room < 0:
        raise InvalidInput("messages", f"the message is too long for this model ({context_tokens:,} tokens in all).")
    return room


def compose(  # noqa: PLR0917 - one argument a part
    template: Template,
    context: Context,
    history: Sequence[tuple[Role, str]],
    question: str,
    now: str,
    count: CountTokens,
    room: int,
    notes: Sequence[str] = (),
) -> Prompt:
    """Compose the prompt. ``history`` is newest first; ``notes`` are a caller's and count with the question. A part
    that does not fit is dropped whole, least relevant first: the last sources, the oldest messages.
    """
    budget = Budget.split(room)
    state = _fitting(context.state.splitlines(), budget.state, count)
    rendered = [render_source(n, source) for n, source in enumerate(context.sources, 1)]
    texts = _fitting(rendered, budget.sources, count)
    kept = context.sources[: len(texts)]
    # A user's text may come to stand in one message with the delimiters, so it is escaped like the question.
    past = [ChatMessage(role, escape(text) if role == "user" else text) for role, text in history]
    said = past[: len(_fitting([message.content for message in past], budget.history, count))][::-1]
    said.append(ChatMessage("user", render_question(now, state, texts, question, notes)))
    messages = [ChatMessage("system", template.system), *alternating(said)]
    dropped = {source.source_id for source in context.sources[len(kept) :]}
    used = tuple(name for name in context.receipt.used if name not in dropped)
    receipt = msgspec.structs.replace(context.receipt, used=used)
    return Prompt(tuple(messages), kept, receipt, template.options)


def alternating(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """The same words as strict chat templates take them: user and assistant by turns, the user first.

    Neighbours of one role are merged: the questions around a failed turn, an import with a tool between, two messages
    of a caller.
    """
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            merged[-1] = ChatMessage(message.role, f"{merged[-1].content}\n\n{message.content}")
        else:
            merged.append(message)
    if merged and merged[0].role == "assistant":
        merged.insert(0, ChatMessage("user", NO_BEGINNING))
    return merged


def _fitting(parts: Sequence[str], tokens: int, count: CountTokens) -> list[str]:
    """As many of the first parts as fit together."""
    kept: list[str] = []
    for part in parts:
        tokens -= count(part)
        if tokens < 0:
            break
        kept.append(part)
    return kept


def _newest(folder: Path) -> Template:
    try:
        path = max(folder.glob("*.md"), key=lambda file: int(file.stem))
    except ValueError:
        raise Misconfigured(f"prompts/{folder.name}: needs files named <number>.md, for example 1.md.") from None
    return _load(path)


def _load(path: Path) -> Template:
    import jinja2
    import yaml
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    label = f"prompts/{path.parent.name}/{path.name}"
    try:
        _, head, body = path.read_text().split("---\n", 2)
        front = msgspec.convert(yaml.safe_load(head), FrontMatter)
        environment = ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(path.parent.parent), undefined=jinja2.StrictUndefined, autoescape=False
        )
        values: dict[str, Any] = dict(front.inputs)
        system = environment.from_string(body).render(values).strip()
    except (ValueError, msgspec.ValidationError, jinja2.TemplateError, yaml.YAMLError) as error:
        raise Misconfigured(f"{label}: {error}") from error
    return Template(path.parent.name, path.stem, system, msgspec.structs.replace(front.model, is_ours=True))
