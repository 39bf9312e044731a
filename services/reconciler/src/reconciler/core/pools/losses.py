"""How often a pool lost its members, counted in waves.

A machine that dies takes every member on it, and a zone takes half a pool: that is one misfortune,
however many it hits. What comes in their place and is lost again is a second one. So losses are
counted along the line of replacements: a loss adds to the count only if the member was created
after the loss counted before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reconciler.core.pools.snapshot import Loss

__all__ = ["count_waves"]


def count_waves(losses: Iterable[Loss]) -> int:
    """The longest line of losses each of which was created after the one before was lost."""
    waves = 0
    last: datetime | None = None
    for loss in sorted(losses, key=lambda loss: (loss.lost_at, loss.created_at)):
        if last is None or loss.created_at >= last:
            waves += 1
            last = loss.lost_at
    return waves
