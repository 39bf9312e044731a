"""Where the job of a claim stands in the queue, without counting the queue for every claim.

What a claim's answer says of the queue is `KEPT_SECONDS` old at most, and has the claims made here
since. To count for each would take longer than the claim where thousands of jobs wait. Whoever
looks at the workspace later is told what is counted then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from reconciler.core.jobs import expect_wait
from reconciler.store.db import Connection
from reconciler.store.queries import load_queries

__all__ = ["KEPT_SECONDS", "Outlooks"]

SQL = load_queries("claims")
KEPT_SECONDS: Final = 1.0
KEPT_MAX: Final = 1000  # templates; the one that was counted first goes first


@dataclass(slots=True)
class _Outlook:
    read_at: datetime
    position: int
    ahead: int
    took_seconds: float | None
    in_hand: int


class Outlooks:
    """The queue as the next job of each template will find it."""

    def __init__(self) -> None:
        """Nothing has been counted yet."""
        self._kept: OrderedDict[UUID, _Outlook] = OrderedDict()

    async def load(
        self, connection: Connection, template_ids: Iterable[UUID], now: datetime
    ) -> None:
        """Counts for those of the templates that were not counted lately."""
        stale = {each for each in template_ids if not self._is_fresh(each, now)}
        if not stale:
            return
        for row in await connection.fetch(SQL.load_outlooks, list(stale)):
            self._kept[row["id"]] = _Outlook(
                now, row["position"], row["ahead"], row["seconds"], row["in_hand"]
            )
            self._kept.move_to_end(row["id"])
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def take_place(self, template_id: UUID) -> tuple[int, int]:
        """The next place in the queue, which is taken by that: how many jobs are before it, and how
        many seconds it may wait.
        """
        outlook = self._kept.get(template_id)
        if outlook is None:
            return 0, 0
        wait_seconds = expect_wait(
            ahead=outlook.ahead, took_seconds=outlook.took_seconds, in_hand=outlook.in_hand
        )
        place = outlook.position, wait_seconds
        outlook.position += 1
        outlook.ahead += 1
        return place

    def _is_fresh(self, template_id: UUID, now: datetime) -> bool:
        outlook = self._kept.get(template_id)
        return outlook is not None and abs(now - outlook.read_at) < timedelta(seconds=KEPT_SECONDS)
