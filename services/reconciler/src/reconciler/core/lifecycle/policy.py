"""What a template says of the workspaces people make of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from svckit.errors import InvalidArgument

__all__ = ["TTL_SECONDS_MAX", "TemplatePolicy", "check_policy", "check_seconds", "deletion_due_at"]

SECONDS_MIN: Final = 60
TTL_SECONDS_MAX: Final = 30 * 86_400
IDLE_SECONDS_MAX: Final = 365 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePolicy:
    """Every time is in seconds; 0 means never. See `warmpool.control.v1.TemplatePolicy`."""

    default_ttl_seconds: int = 0
    activity_bump_seconds: int = 0
    max_ttl_seconds: int = 0
    dormant_after_seconds: int = 0
    delete_dormant_after_seconds: int = 0
    failure_ttl_seconds: int = 0
    is_autostart_allowed: bool = True


def check_policy(policy: TemplatePolicy) -> None:
    """Raises InvalidArgument that names the first field that is out of bounds."""
    for name, maximum in (
        ("default_ttl_seconds", TTL_SECONDS_MAX),
        ("activity_bump_seconds", TTL_SECONDS_MAX),
        ("max_ttl_seconds", TTL_SECONDS_MAX),
        ("dormant_after_seconds", IDLE_SECONDS_MAX),
        ("delete_dormant_after_seconds", IDLE_SECONDS_MAX),
        ("failure_ttl_seconds", TTL_SECONDS_MAX),
    ):
        check_seconds(getattr(policy, name), f"policy.{name}", maximum)
    if 0 < policy.max_ttl_seconds < policy.default_ttl_seconds:
        raise InvalidArgument(
            f"policy.default_ttl_seconds: {policy.default_ttl_seconds} is more than max_ttl_seconds"
            f" allows; at most {policy.max_ttl_seconds}, or 0",
            reason="TTL_ABOVE_MAXIMUM",
            field="policy.default_ttl_seconds",
        )


def check_seconds(seconds: int, field: str, maximum: int) -> None:
    """Raises InvalidArgument unless it is 0 or a minute to the maximum."""
    if seconds != 0 and not SECONDS_MIN <= seconds <= maximum:
        raise InvalidArgument(
            f"{field}: {seconds} seconds; {SECONDS_MIN} to {maximum} are allowed, or 0 for never",
            reason="SECONDS_OUT_OF_BOUNDS",
            field=field,
        )


def deletion_due_at(policy: TemplatePolicy, dormant_at: datetime) -> datetime | None:
    """When a workspace that is dormant since then goes; None if it stays."""
    if policy.delete_dormant_after_seconds == 0:
        return None
    return dormant_at + timedelta(seconds=policy.delete_dormant_after_seconds)
