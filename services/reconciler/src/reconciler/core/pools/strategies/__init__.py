"""The policy of the pool: one reason to act per file, in the order in which they are asked.

Promise: no member is named twice, because each strategy looks at groups of the census of its own,
and the groups do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from reconciler.core.pools.actions import Action
from reconciler.core.pools.state import PresetState
from reconciler.core.pools.strategies.extraneous import trim_extraneous
from reconciler.core.pools.strategies.failed import clear_failed
from reconciler.core.pools.strategies.health import mark_health
from reconciler.core.pools.strategies.lapsed import replace_lapsed
from reconciler.core.pools.strategies.lost import replace_lost
from reconciler.core.pools.strategies.missing import create_missing
from reconciler.core.pools.strategies.never_ready import recycle_never_ready
from reconciler.core.pools.strategies.undeleted import retry_deletions

__all__ = ["STRATEGIES", "Strategy"]

Strategy = Callable[[PresetState], Iterable[Action]]

STRATEGIES: Final[tuple[Strategy, ...]] = (
    mark_health,  # first, so that a recovered pool may create in the same pass
    replace_lapsed,  # nobody may get these any more
    recycle_never_ready,  # they pretend to be supply
    replace_lost,  # so do they, and they will not be ready again
    trim_extraneous,  # they cost and are not wanted
    clear_failed,  # they cost and are of no use
    retry_deletions,  # after fresh deletions, so that a stuck one does not hold them up
    create_missing,  # last: deletions come first
)
