"""How a prompt holds retrieved text: as data, between delimiters that the text cannot forge."""

from __future__ import annotations

from collections.abc import Sequence

from coach.retrieval.base import Source
from coach.values.text import escape


def render_source(number: int, source: Source) -> str:
    """One source as the model reads it; ``[number]`` in the answer cites it."""
    title = escape(source.title).replace('"', "&quot;").replace("\n", " ")
    head = f'<source n="{number}" kind="{source.domain}" title="{title}" date="{source.updated_at:%Y-%m-%d}">'
    return f"{head}\n{escape(source.text)}\n</source>"


def render_question(
    now: str, state: Sequence[str], sources: Sequence[str], question: str, notes: Sequence[str] = ()
) -> str:
    """The user-role message of a turn. ``sources`` are rendered already; ``state`` are plain lines.

    ``notes`` are what the caller's application said in a role that is not the user's: wishes, and data like the rest.
    """
    lines = ["<context>", f"<now>{escape(now)}</now>", "<state>", *map(escape, state), "</state>"]
    lines += ["<sources>", *sources, "</sources>"]
    lines += [f"<application_note>\n{escape(note)}\n</application_note>" for note in notes]
    lines += ["</context>", "", "<question>", escape(question), "</question>"]
    return "\n".join(lines)
