"""What a person sets of a workspace, judged before it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.lifecycle.autostart import next_start, parse_autostart
from reconciler.core.lifecycle.policy import TTL_SECONDS_MAX, TemplatePolicy, check_seconds
from svckit.errors import FailedPrecondition, InvalidArgument

__all__ = ["LifecycleChange", "Settings", "change_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleChange:
    """What to set; None leaves it. `autostart_cron` "" and `ttl_seconds` 0 mean never."""

    autostart_cron: str | None = None
    autostart_timezone: str | None = None
    ttl_seconds: int | None = None
    is_dormant: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a workspace has of its owner's; `autostart_cron` None means never."""

    autostart_cron: str | None
    autostart_timezone: str | None
    next_start_at: datetime | None
    ttl_seconds: int


def change_settings(
    policy: TemplatePolicy, before: Settings, change: LifecycleChange, now: datetime
) -> Settings:
    """The settings after the change. Raises InvalidArgument for a value that is not allowed,
    FailedPrecondition if the template allows no autostart.
    """
    ttl_seconds = before.ttl_seconds
    if change.ttl_seconds is not None:
        ttl_seconds = change.ttl_seconds
        _check_ttl(policy, ttl_seconds)
    if change.autostart_cron is None and change.autostart_timezone is None:
        return Settings(
            autostart_cron=before.autostart_cron,
            autostart_timezone=before.autostart_timezone,
            next_start_at=before.next_start_at,
            ttl_seconds=ttl_seconds,
        )
    cron, timezone = change.autostart_cron, change.autostart_timezone
    cron = (before.autostart_cron or "") if cron is None else " ".join(cron.split())
    timezone = (before.autostart_timezone or "") if timezone is None else timezone
    if not cron:
        if change.autostart_timezone:
            raise InvalidArgument(
                "autostart_timezone: there is no autostart it could be of; set autostart_cron, too",
                reason="AUTOSTART_INVALID",
                field="autostart_timezone",
            )
        return Settings(
            autostart_cron=None,
            autostart_timezone=None,
            next_start_at=None,
            ttl_seconds=ttl_seconds,
        )
    autostart = parse_autostart(cron, timezone)
    if not policy.is_autostart_allowed:
        raise FailedPrecondition(
            "autostart_cron: the template allows no autostart; its admins can with"
            " `warmpool template policy TEMPLATE --allow-autostart`",
            reason="AUTOSTART_NOT_ALLOWED",
            field="autostart_cron",
        )
    return Settings(
        autostart_cron=cron,
        autostart_timezone=timezone,
        next_start_at=next_start(autostart, now),
        ttl_seconds=ttl_seconds,
    )


def _check_ttl(policy: TemplatePolicy, ttl_seconds: int) -> None:
    maximum = min(policy.max_ttl_seconds or TTL_SECONDS_MAX, TTL_SECONDS_MAX)
    check_seconds(ttl_seconds, "ttl_seconds", maximum)
