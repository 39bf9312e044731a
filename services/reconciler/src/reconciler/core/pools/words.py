"""What people are told about pools."""

from __future__ import annotations

__all__ = ["describe_hard_limit"]


def describe_hard_limit(failure_count: int, *, is_by_losses: bool) -> str:
    """Why a pool stopped."""
    times = "once" if failure_count == 1 else f"{failure_count} times in a row"
    what = (
        f"prebuilds became ready and were lost soon after, {times}"
        if is_by_losses
        else f"builds failed {times}"
    )
    return f"{what}; the pool stopped until it is resumed"
