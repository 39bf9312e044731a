"""The cap on prebuild jobs in flight: what a pass may start, and who gets how much of it.

Promises: the jobs in flight plus those a plan starts never exceed the cap (if they did not
before), deletions are served before creations, and what is left for creations goes one by one to
the pool that is emptiest in proportion, so a large pool cannot starve a small one. What a
cancellation frees is used in the next pass, because a cancellation may lose its race.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from reconciler.core.pools.actions import Action, CreatePrebuild, DeletePrebuild, DeleteReason

__all__ = ["CreationWish", "grant_creations", "grant_deletions"]


@dataclass(frozen=True, slots=True)
class CreationWish:
    """How many members a pool wants, has and should have."""

    preset_id: UUID
    count: int
    supply: int
    desired: int


def grant_deletions(drafts: Sequence[Sequence[Action]], capacity: int) -> list[list[Action]]:
    """The drafts without the deletions beyond the capacity; retries of failed ones go last."""
    places = [
        (action.reason is DeleteReason.DELETE_FAILED, draft_index, action_index)
        for draft_index, draft in enumerate(drafts)
        for action_index, action in enumerate(draft)
        if isinstance(action, DeletePrebuild)
    ]
    places.sort()
    refused = {(draft, action) for _, draft, action in places[max(0, capacity) :]}
    return [
        [action for index, action in enumerate(draft) if (draft_index, index) not in refused]
        for draft_index, draft in enumerate(drafts)
    ]


def grant_creations(wishes: Sequence[CreationWish], capacity: int) -> dict[UUID, CreatePrebuild]:
    """The creations that fit into the capacity, by preset."""
    if sum(wish.count for wish in wishes) <= capacity:
        granted = {wish.preset_id: wish.count for wish in wishes}
    else:
        granted = _fill(wishes, capacity)
    return {
        preset_id: CreatePrebuild(preset_id=preset_id, count=count)
        for preset_id, count in granted.items()
    }


def _fill(wishes: Sequence[CreationWish], capacity: int) -> dict[UUID, int]:
    granted: dict[UUID, int] = {}
    queue = [(wish.supply / wish.desired, index, 0) for index, wish in enumerate(wishes)]
    heapq.heapify(queue)
    for _ in range(capacity):
        _, index, count = heapq.heappop(queue)
        wish = wishes[index]
        count += 1
        granted[wish.preset_id] = count
        if count < wish.count:
            heapq.heappush(queue, ((wish.supply + count) / wish.desired, index, count))
    return granted
