"""A person's preferences on the wire: consents, how long data are kept, and when nobody is nudged."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from coach.errors import InvalidInput

CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
"""A time of day, to the minute."""

RetentionDays = Annotated[int, Meta(ge=90, le=365)]
AnonymizeDays = Annotated[int, Meta(ge=30, le=365)]


class Preferences(Struct):
    """The four general consents, the eleven granular ones, and the rest. What each stops stands in docs/privacy.md.

    ``quiet_from`` and ``quiet_until`` are times by the person's own clock, as ``21:00``; equal: there are no quiet
    hours. ``updated_at`` is null while nothing was ever chosen, and all is as by default.
    """

    analytics_consent: bool
    ai_behavior_tracking: bool
    performance_tracking: bool
    error_reporting: bool
    track_ai_insights_usage: bool
    track_ai_actions_usage: bool
    track_goal_planner_usage: bool
    track_navigation_patterns: bool
    track_search_queries: bool
    share_anonymous_stats: bool
    track_pillar_metrics: bool
    record_rag_snippets: bool
    store_task_context: bool
    track_flow_states: bool
    store_behavioral_embeddings: bool
    data_retention_days: int
    anonymize_after_days: int
    quiet_from: str
    quiet_until: str
    updated_at: datetime | None


class PreferencesChange(Struct, forbid_unknown_fields=True):
    """What is left out stays."""

    analytics_consent: bool | UnsetType = UNSET
    ai_behavior_tracking: bool | UnsetType = UNSET
    performance_tracking: bool | UnsetType = UNSET
    error_reporting: bool | UnsetType = UNSET
    track_ai_insights_usage: bool | UnsetType = UNSET
    track_ai_actions_usage: bool | UnsetType = UNSET
    track_goal_planner_usage: bool | UnsetType = UNSET
    track_navigation_patterns: bool | UnsetType = UNSET
    track_search_queries: bool | UnsetType = UNSET
    share_anonymous_stats: bool | UnsetType = UNSET
    track_pillar_metrics: bool | UnsetType = UNSET
    record_rag_snippets: bool | UnsetType = UNSET
    store_task_context: bool | UnsetType = UNSET
    track_flow_states: bool | UnsetType = UNSET
    store_behavioral_embeddings: bool | UnsetType = UNSET
    data_retention_days: RetentionDays | UnsetType = UNSET
    anonymize_after_days: AnonymizeDays | UnsetType = UNSET
    quiet_from: str | UnsetType = UNSET
    quiet_until: str | UnsetType = UNSET

    def checked(self) -> dict[str, Any]:
        """What is to change, by column.

        :raises InvalidInput: a time of day that is none.
        """
        wanted: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("quiet_from", "quiet_until"):
            if name in wanted and not re.fullmatch(CLOCK, wanted[name]):
                raise InvalidInput(name, "must be a time of day from 00:00 to 23:59, such as 21:00.")
        return wanted
