"""Whether an upgrade was noticed: a decision about what was counted."""

from __future__ import annotations

from dataclasses import dataclass

from warmpool_cli.bluegreen.agents import Notes
from warmpool_cli.bluegreen.people import People

__all__ = ["GatewayStep", "find_faults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStep:
    """How the agents fared while their gateway was replaced."""

    waiting: int
    """How many had a stream to the old one."""
    reconnects: int
    """How often one was sent to another stream."""
    claims_heard: int
    """How often one got its claim instead."""
    drain_seconds: float
    """From SIGTERM to the end of the old one: within it, every agent is to have moved."""

    @property
    def left_behind(self) -> int:
        """How many were neither sent elsewhere nor claimed."""
        return max(0, self.waiting - self.reconnects - self.claims_heard)


def find_faults(total: Notes, people: People, gateway: GatewayStep) -> list[str]:
    """Everything that somebody noticed, in words; empty if nobody noticed anything."""
    doubled = people.doubled + sum(count - 1 for count in total.applied.values())
    claims, applied = set(people.claimed.values()), set(total.applied)
    counted = {
        "claims lost": people.lost,
        "claims doubled": doubled,
        "claims that nobody made": len(applied - claims),
        "claims that no agent applied": len(claims - applied),
        "agents without a stream at the end": total.missing,
        "agents not sent elsewhere by the old gateway": gateway.left_behind,
    }
    faults = [f"{count} {name}" for name, count in counted.items() if count]
    return (
        faults + [f"{count} x {error}" for error, count in total.errors.items()] + people.failures
    )
