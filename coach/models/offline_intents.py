"""What a question is after: a table of intents, each with how it is asked, what answers it and how that is opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from coach.models import offline_criteria as criteria
from coach.models.offline_criteria import Question
from coach.models.offline_statements import Statement, days_in
from coach.models.offline_words import read_topic


class Intent(Struct, frozen=True):
    """``criterion`` weighs a statement of a source, 0 is no answer; ``live`` weighs live facts by their kind.

    ``opening`` stands before what is found, ``lacks`` says what was not. ``lists`` shows several as equals instead of
    one and what supports it; ``falls_back`` shows the live facts where none of them names the topic.
    """

    asks: re.Pattern[str]
    criterion: Callable[[Statement, Question], float]
    lacks: str = ""
    live: Mapping[str, float] = {}
    opening: str = ""
    lists: bool = False
    falls_back: bool = False
    latest_first: bool = False
    soonest_first: bool = False

    def weigh(self, said: Statement, asked: Question) -> float:
        if said.line and self.criterion not in (criteria.is_dated, criteria.is_counted):
            return self.live.get(said.kind, 0)
        return self.criterion(said, asked)


def _any(*ways: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(ways)})\b", re.IGNORECASE)


INTENTS = (
    Intent(
        _any(
            r"(?:which|what) (?:pillars?|areas?|parts?)(?= .{0,40}\b(?:neglect|short|too little|least|forg|ignor))",
            r"(?:time|attention)(?= .{0,40}\b(?:each|every|my) (?:pillars?|areas?|parts?))|(?:in|out of) balance",
            r"too (?:little|much) (?:time|attention)|alignment|aligned|balanced?",
            r"(?:neglect|ignor|forg)\w+(?= .{0,20}\b(?:pillar|area|part))",
        ),
        criteria.measures_balance,
        lacks="nothing measured",
        live={"alignment": 2},
        opening="This is your week, first what gets least of the time that you meant for it",
        lists=True,
        falls_back=True,
    ),
    Intent(
        _any(
            r"(?:put(?:ting)?|push(?:ed|ing)?|kick\w*) (?:\w+ ){0,3}?(?:off|back|aside|down the road)",
            r"over-?due|past due|late (?:with|on|for)|running late|procrastinat\w+|postpon\w+|delay\w*|defer\w*",
            r"neglect\w*|avoid\w*|ignor\w+|behind (?:on|with|in)|(?:fall\w*|fell) behind|slip\w*|dragg?\w* my feet",
            r"should (?:i )?(?:\w+ )?have (?:\w+ )?done|haven['’]?t i (?:\w+ )?(?:done|finished|started|got\w*)",
            r"(?:not|never) (?:got\w*|gotten) (?:a?round )?to|miss(?:ed|ing) (?:a |any |my )?(?:deadline|due date)s?",
            r"left (?:undone|lying)|lying around|gathering dust|by now|(?:been )?meaning to|stall\w*|forgot\w*",
        ),
        criteria.is_overdue,
        lacks="nothing overdue",
        live={"overdue": 3},
        opening="This is overdue",
        lists=True,
        falls_back=True,
    ),
    Intent(
        _any(
            r"(?:did|have|had) i last|last time|most recent(?:ly)?|latest|how long (?:ago|is it since|has it been)",
            r"when (?:was|were) (?:my|the|our) last|since when|(?:was|were) (?:i|we) last",
            r"last (?:saw|met|spoke|did|went|wrote)",
        ),
        criteria.has_happened,
        lacks="no time",
        opening="The latest that I find",
        latest_first=True,
    ),
    Intent(
        _any(
            r"when(?:'s|’s)?|(?:what|which) (?:day|date|time|month|week)|by when|how soon",
            r"how (?:long|many \w+) (?:until|till|before|do i have)",
            r"deadlines?|due(?: dates?)?|scheduled?",
        ),
        criteria.is_dated,
        lacks="no day",
        live={"overdue": 3, "today": 3, "deadline": 3},
        opening="These days stand in your rows",
    ),
    Intent(
        _any(r"how (?:did|was|is|has) (?:my |the |this |last )?(?:week|day|month)"),
        criteria.tells_progress,
        lacks="nothing measured",
        live={"flow": 3, "alignment": 2, "overdue": 1.5},
        opening="This is your week so far",
        lists=True,
    ),
    Intent(
        _any(
            r"on (?:track|course|schedule)|progress(?:ing)?|coming (?:along|on)",
            r"how far (?:along|am i|have i)|how close",
            r"how(?: is| are| am| was| has|'s|’s)(?= (?:.{1,60} )?(?:going|doing|getting on|shaping up|look\w*)\b)",
            r"get(?:ting)? (?:anywhere|closer|there)|status|make it (?:in|on) time|up to date|ahead of",
        ),
        criteria.tells_progress,
        lacks="nothing on how it stands",
        live={"deadline": 3, "alignment": 2, "overdue": 1.5},
        opening="This is how it stands",
        lists=True,
    ),
    Intent(
        _any(
            r"how (?:much|many|long|far|often|old|heavy|high|big|fast|tall|deep|cold|hot|warm|expensive)",
            r"what (?:percentage|share|number|amount|score|price)",
            r"what (?:does|do|did|would|will)(?= .{1,60} (?:cost|pay|earn|weigh))|(?:cost|price)s?",
        ),
        criteria.is_counted,
        lacks="no figure",
        live={"flow": 0.5, "alignment": 0.5},
        opening="These figures stand in your rows",
    ),
    Intent(_any(r"who(?:'s|’s| is| was| are| were)(?= (?-i:[A-ZÀ-Þ]))"), criteria.introduces),
    Intent(
        _any("who(?:'s|’s|m|se)?|with whom|which (?:person|people|friends?|colleagues?)|names?"),
        criteria.names_somebody,
        lacks="no name",
    ),
    Intent(
        _any(
            r"(?:what(?:'s|’s| is| are| comes)? )?(?:the )?next(?: steps?)?|what now",
            r"still (?:open|to do|have to|need to|left|missing)",
            r"(?:do i|have i got|have) (?:still )?(?:have |need )?(?:anything )?(?:left )?to (?:do|book|buy|call)",
            r"not (?:\w+ )?(?:done|finished|booked|bought|started|begun)|yet to|outstanding|unfinished",
            r"open tasks?|left to do|remain\w*|to-?do",
        ),
        criteria.is_open,
        lacks="nothing open",
        live={"overdue": 3, "today": 3, "deadline": 0.5},
        opening="This is open",
        soonest_first=True,
        lists=True,
        falls_back=True,
    ),
    Intent(_any("why|what for|how come|reasons?"), criteria.gives_a_reason, lacks="no reason"),
    Intent(
        _any(
            r"today|tonight|tomorrow|priorit(?:y|ies)|urgent(?:ly)?|focus|agenda|plan(?:ning)?",
            r"plate|attention|(?:this )?week",
        ),
        criteria.is_open,
        lacks="nothing open",
        live={"overdue": 3, "today": 3, "deadline": 0.5, "alignment": 0, "flow": 0, "changed": 0},
        opening="This is where things stand right now",
        lists=True,
        falls_back=True,
    ),
)


def read_question(text: str, now: str) -> tuple[Intent | None, Question]:
    """The first intent that the wording shows, and what else the question names."""
    intent = next((intent for intent in INTENTS if intent.asks.search(text)), None)
    topic = read_topic(intent.asks.sub(" ", text) if intent else text)
    return intent, Question(text, topic, next(days_in(now), None))
