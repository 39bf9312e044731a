"""Removes old log lines, audit entries and notifications, if the operator said how long to keep
them.

Promises: one replica at a time; in small batches with rests in between, so that nobody else waits;
nothing is removed that is not older than was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from reconciler.loops.leadership import RETENTION_LOCK
from reconciler.store.db import Database
from reconciler.store.retention import Retention
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["RetentionLoop"]

LOG = get_logger(__name__)
BATCH_MAX: Final = 5_000  # some ten milliseconds
REST_SECONDS: Final = 0.5  # after a batch that was full
TICK_SECONDS: Final = 3_600.0


class RetentionLoop:
    """The loop. `days` is for how long to keep, by kind; 0 is for ever."""

    def __init__(
        self,
        database: Database,
        retention: Retention,
        clock: Clock,
        entropy: Entropy,
        days: Mapping[str, int],
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock
        self._entropy = entropy
        self._days = {kind: count for kind, count in days.items() if count}

    async def run(self) -> None:
        """Looks, forever."""
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                LOG.warning("old rows could not be removed", error=error)
            await self._clock.sleep(TICK_SECONDS * (0.5 + self._entropy.random()))

    async def run_once(self) -> Mapping[str, int]:
        """Removes all that is too old; how many rows, by kind."""
        if not self._days:
            return {}
        removed: dict[str, int] = {}
        async with self._database.try_lock(RETENTION_LOCK) as is_leader:
            if not is_leader:
                return {}
            for kind, days in self._days.items():
                removed[kind] = await self._remove(kind, days)
        return removed

    async def _remove(self, kind: str, days: int) -> int:
        older_than = self._clock.now() - timedelta(days=days)
        total = 0
        while True:
            count = await self._retention.delete(kind, older_than, BATCH_MAX)
            total += count
            if count < BATCH_MAX:
                break
            await self._clock.sleep(REST_SECONDS)
        if total:
            LOG.info("old rows were removed", action="retention", name=kind, total=total)
        return total
