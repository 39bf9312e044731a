"""How long a claim took from one step to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

__all__ = ["CLAIM_STEPS", "ClaimStep", "find_claim_steps"]

CLAIM_STEPS: Final = ("requested", "claimed", "built", "delivered", "applied")


@dataclass(frozen=True, slots=True)
class ClaimStep:
    """One step, named after where it led, how long it took since the one before, and how long
    ago the claim was then requested.
    """

    step: str
    seconds: float
    since_requested_seconds: float


def find_claim_steps(
    moments: Sequence[datetime | None], *, after: datetime, until: datetime
) -> Iterator[ClaimStep]:
    """The steps a claim took within a span of time. `moments` are those of `CLAIM_STEPS`, None for
    what has not happened.
    """
    pairs = zip(CLAIM_STEPS[1:], moments, moments[1:], strict=False)
    for step, begun_at, ended_at in pairs:
        if begun_at is None or ended_at is None or not after < ended_at <= until:
            continue
        requested_at = moments[0] or begun_at
        yield ClaimStep(
            step,
            max(0.0, (ended_at - begun_at).total_seconds()),
            max(0.0, (ended_at - requested_at).total_seconds()),
        )
