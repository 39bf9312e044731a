"""Which replica runs a loop: whoever holds its lock for the length of a pass.

The lock belongs to a transaction, so it works through any connection pooler and dies with its
connection. Losing it in the middle of a pass is harmless, because every change re-reads what it
changes.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "LIFECYCLE_LOCK",
    "NOTIFICATION_LOCK",
    "POOL_LOCK",
    "REAPER_LOCK",
    "RETENTION_LOCK",
    "SEALING_LOCK",
]

POOL_LOCK: Final = 0x5741_524D_0002
REAPER_LOCK: Final = 0x5741_524D_0003
LIFECYCLE_LOCK: Final = 0x5741_524D_0004
NOTIFICATION_LOCK: Final = 0x5741_524D_0005
RETENTION_LOCK: Final = 0x5741_524D_0017
SEALING_LOCK: Final = 0x5741_524D_0018
