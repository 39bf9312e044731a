"""Encrypts manifests that lie in clear and need not.

They do for the release before, until an operator says that nothing is left of it; and if they were
stored while there was no key. Either may change at any time, so this looks again and again.

Promises: one replica at a time, in batches.
"""

from __future__ import annotations

from typing import Final

from reconciler.loops.leadership import SEALING_LOCK
from reconciler.store.db import Database
from reconciler.store.manifests import Manifests
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.system import Clock, Entropy

__all__ = ["SealingLoop"]

LOG = get_logger(__name__)
TICK_SECONDS: Final = 60.0


class SealingLoop:
    """The loop. Its first pass is at once."""

    def __init__(
        self, database: Database, manifests: Manifests, clock: Clock, entropy: Entropy
    ) -> None:
        self._database = database
        self._manifests = manifests
        self._clock = clock
        self._entropy = entropy

    async def run(self) -> None:
        """Looks, forever."""
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                LOG.warning("manifests that lie in clear could not be encrypted", error=error)
            await self._clock.sleep(TICK_SECONDS * (0.5 + self._entropy.random()))

    async def run_once(self) -> int:
        """Encrypts all there are; how many."""
        async with self._database.try_lock(SEALING_LOCK) as is_leader:
            total = await self._manifests.seal_all() if is_leader else 0
        if total:
            LOG.info("manifests that lay in clear were encrypted", action="seal", total=total)
        return total
