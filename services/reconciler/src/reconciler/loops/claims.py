"""Claims that come together are made together: one transaction, one durable commit for many.

While one batch is in the database the next gathers, so that a lone claim waits for nobody and a
burst costs a few statements. One connection makes all claims of this replica; replicas race for
prebuilds by row locks.

A caller that goes away leaves the others alone. Its claim may be under way and be made all the
same, as if it had gone a moment later; it goes when that is known, and keeps until then what it
holds for the claim.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from reconciler.store.claims import Claimed, NewIds, Wanted, WorkspaceMaker
from svckit.errors import Unavailable
from svckit.log import get_logger
from svckit.nudge import Nudge
from svckit.system import Clock

__all__ = ["ClaimBatches"]

LOG = get_logger(__name__)
BATCH_MAX = 64
LINGER_SECONDS = 0.001
"""After a batch of many its callers come back at about the same time; whoever takes the first of
them alone makes the rest wait for it.
"""
IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    wanted: Wanted
    ids: NewIds
    answer: asyncio.Future[Claimed | None]


class ClaimBatches:
    """Implements `Claimer`; `run` makes the claims, forever."""

    def __init__(self, maker: WorkspaceMaker, clock: Clock) -> None:
        self._maker = maker
        self._clock = clock
        self._waiting: deque[_Asked] = deque()
        self._nudge = Nudge()

    async def claim(self, wanted: Wanted, ids: NewIds) -> Claimed | None:
        """Moves the oldest eligible prebuild of the preset; None if there is none.

        Raises AlreadyExists for a name the owner uses, or a request id that has been served.
        """
        asked = _Asked(wanted, ids, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._nudge.set()
        try:
            return await asyncio.shield(asked.answer)
        except asyncio.CancelledError:
            if asked in self._waiting:
                asked.answer.cancel()
            await _settle(asked.answer)
            raise

    async def run(self) -> None:
        """Makes claims, forever."""
        last_count = 0
        try:
            while True:
                if last_count > 1:
                    await self._clock.sleep(LINGER_SECONDS)
                batch = self._take()
                last_count = len(batch)
                if batch:
                    await self._serve(batch)
                else:
                    await self._nudge.wait(IDLE_SECONDS)
        finally:
            _refuse(self._waiting)

    async def _serve(self, batch: list[_Asked]) -> None:
        try:
            results = await self._maker.claim_many(
                [(asked.wanted, asked.ids) for asked in batch], self._clock.now()
            )
        except asyncio.CancelledError:
            _refuse(batch)
            raise
        except Exception as error:
            results = [error] * len(batch)
        for asked, result in zip(batch, results, strict=True):
            if asked.answer.done():
                LOG.debug("nobody waits for a claim any more", owner_id=str(asked.wanted.owner_id))
            elif isinstance(result, Exception):
                asked.answer.set_exception(result)
            else:
                asked.answer.set_result(result)

    def _take(self) -> list[_Asked]:
        """The next batch, in the order of arrival. Requests that might be each other's wait for the
        answer of the first.
        """
        batch: list[_Asked] = []
        left: deque[_Asked] = deque()
        keys: set[tuple[UUID, str, str]] = set()
        while self._waiting and len(batch) < BATCH_MAX:
            asked = self._waiting.popleft()
            if asked.answer.done():
                continue
            own = set(_keys(asked.wanted))
            if keys.isdisjoint(own):
                batch.append(asked)
            else:
                left.append(asked)
            keys |= own
        self._waiting.extendleft(reversed(left))
        return batch


async def _settle(answer: asyncio.Future[Claimed | None]) -> None:
    """Waits for the end of a claim, which nobody asks for any more, however often that is said."""
    while not answer.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([answer])
    if not answer.cancelled():
        answer.exception()  # is nobody's any more


def _keys(wanted: Wanted) -> list[tuple[UUID, str, str]]:
    keys = [(wanted.owner_id, "name", wanted.name)]
    if wanted.request_id is not None:
        keys.append((wanted.owner_id, "request", wanted.request_id))
    return keys


def _refuse(asked: list[_Asked] | deque[_Asked]) -> None:
    for each in asked:
        if not each.answer.done():
            each.answer.set_exception(
                Unavailable("the claim was cut short; repeat it with the same request id")
            )
