"""One way to search, in a backend whose CPU time is counted."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Self

from msgspec import Struct

from coach.database.pool import Transaction
from coach.retrieval.base import Vector

Ask = Callable[[Transaction, Vector], Awaitable[list[str]]]


class Cost(Struct, frozen=True):
    """Of one query: CPU of its backend (of this process for numpy) and median wall time, in milliseconds."""

    cpu_ms: float
    wall_ms: float


class Contender:
    """One way to search, in a transaction whose backend it has to itself."""

    def __init__(self, tx: Transaction, ask: Ask) -> None:
        self._tx, self._ask = tx, ask
        self._process = Path(f"/proc/{tx.info.backend_pid}")
        self._walls: list[float] = []
        self._cpu_before = 0.0

    @classmethod
    async def of(cls, tx: Transaction, ask: Ask) -> Self:
        """Planned once, as within ``search_combined_context``; and on one core, for a parallel worker's CPU would not
        be counted."""
        tx.prepare_threshold = 0
        await tx.execute("set local plan_cache_mode = force_generic_plan")
        await tx.execute("set local max_parallel_workers_per_gather = 0")
        return cls(tx, ask)

    async def warm_up(self, questions: Vector) -> list[list[str]]:
        """What it answers; and from here on its CPU time counts."""
        answers = [await self._ask(self._tx, question) for question in questions]
        self._cpu_before = self._cpu()
        return answers

    async def take(self, question: Vector) -> None:
        began = perf_counter()
        await self._ask(self._tx, question)
        self._walls.append(perf_counter() - began)

    def cost(self) -> Cost:
        return Cost(1e3 * (self._cpu() - self._cpu_before) / len(self._walls), 1e3 * median(self._walls))

    def _cpu(self) -> float:
        """In seconds, by the nanosecond where the kernel keeps that, else by its clock's ticks."""
        precise = self._process / "schedstat"
        if precise.exists():
            return int(precise.read_text().split()[0]) / 1e9
        fields = (self._process / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
