"""The pool's user joins the organizations it keeps pools in.

Promise: joining is idempotent and costs nothing once done; it comes before the first prebuild.
"""

from __future__ import annotations

from datetime import datetime

from reconciler.core.pools import PoolSnapshot
from reconciler.store.pools import Pools
from svckit.log import get_logger

__all__ = ["join_organizations"]

LOG = get_logger(__name__)


async def join_organizations(pools: Pools, snapshot: PoolSnapshot, now: datetime) -> int:
    """Joins where the snapshot says that the pool's user is a stranger; returns how many."""
    strangers = snapshot.foreign_organization_ids
    if not strangers:
        return 0
    count = await pools.join_organizations(strangers, now)
    LOG.info("the pool's user joined organizations with pools", action="join", count=count)
    return count
