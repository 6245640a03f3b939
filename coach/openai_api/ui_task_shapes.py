"""How the calls of chat UIs for titles, tags, follow-ups, queries and the like look. In doubt a call is a turn.

A call is recognised by its whole shape: how it begins, what it asks for, and what it ends with. A beginning alone
would not do: Open WebUI puts its documents before a person's question under the heading of its own tasks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD, TAIL = 12_000, 400
"""Characters at the beginning and at the end in which a template is looked for; the chat stands between them."""

CHAT_ENDS = "</chat_history>"


class Shape(NamedTuple):
    """Of one template: its beginning, what its head holds, its end. Patterns, without regard to case."""

    begins: str
    asks: str
    ends: str


_LIBRECHAT = (
    r"(?:please )?(?:provide|generate|write) a concise,? (?:5-word-or-less )?title for (?:the|this) conversation"
)
_SHAPES = (
    # Open WebUI: a task, the format of its answer, the chat in tags. Translated templates keep the marks.
    Shape(r"#{2,4} \S.*\n", r"json|# \W{0,9}output", CHAT_ENDS),
    # Its completion of what is being typed, which stands behind the chat.
    Shape(r"#{2,4} \S.*\n", r"\A(?>[\s\S]*?autocomplet)[\s\S]*json", r"</text>\s*(?:#+ \W*output\W*)?"),
    Shape(r"your task is to reflect the speaker's likely facial expression", "emoji", "```"),
    Shape(r"you have been provided with a set of responses from various models", r"\nresponses from models:", ""),
    Shape(r"here is the query:", "", r"respond only with the title text\W*"),
    Shape(r"create a concise, 3-5 word title with an emoji", r"only with the title text[\s\S]*\nprompt:", ""),
    Shape(r"create a concise, 3-5 word phrase", r"\nquery:|previous query", ""),
    # LibreChat
    Shape(_LIBRECHAT, r"\n(?:conversation:|\|\|>)", ""),
    Shape(
        r"(?:detect user language and )?write (?:in the same|an extremely concise)[^\n]*title",
        r"\n *\|\|>",
        r"\|\|>title:",
    ),
    Shape(r"analyze this conversation and provide", r"concise title|detected language", ""),
    Shape(r"please generate a concise title \(max \d+ characters\) for a conversation that starts with", "", "title:"),
    # Chatbox, of several years
    Shape(
        r"based on the chat history, give this conversation a name",
        r"just provide the name[\s\S]*\n```",
        "(?:the name is:|```)",
    ),
    # LobeChat: a system message, with the chat as the user's
    Shape(r"you are a professional conversation summarizer", r"only the title text[\s\S]*\n(?:user|assistant): ", ""),
)
_COMPILED = tuple(
    (re.compile(begins, re.I), re.compile(asks, re.I), re.compile(rf"(?:{ends})\Z", re.I))
    for begins, asks, ends in _SHAPES
)
_SOURCES = re.compile(r"<(?:context|source|user_query)\b", re.I)
"""Documents before a person's question: never a task."""


def looks_like_ui_task(text: str) -> bool:
    """Whether a message that stands alone is a chat UI's own call."""
    text = text.strip()
    head, tail = text[:HEAD].partition("<chat_history>")[0], text[-TAIL:]
    if _SOURCES.search(head):
        return False
    return any(begins.match(head) and asks.search(head) and ends.search(tail) for begins, asks, ends in _COMPILED)
