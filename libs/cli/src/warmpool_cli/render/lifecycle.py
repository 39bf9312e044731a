"""What workspaces do by themselves, in words."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from warmpool.control.v1.templates_pb2 import TemplatePolicy
from warmpool.control.v1.workspaces_pb2 import WorkspaceLifecycle
from warmpool_cli.render.words import local_time, moment, since

__all__ = ["lifecycle_facts", "policy_facts"]

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def lifecycle_facts(lifecycle: WorkspaceLifecycle, now: datetime) -> list[tuple[str, str]]:
    """Names and values, in reading order."""
    autostart = "never"
    if lifecycle.autostart_cron:
        autostart = f"{lifecycle.autostart_cron} ({lifecycle.autostart_timezone or 'UTC'})"
    facts = [("autostart", autostart)]
    if lifecycle.HasField("next_start_at"):
        facts.append(("next start", _when(lifecycle.next_start_at, now)))
    facts.append(("stops", _limit(lifecycle.ttl_seconds, "after a start")))
    moments = (
        ("next stop", lifecycle.HasField("deadline_at"), lifecycle.deadline_at),
        ("at the latest", lifecycle.HasField("max_deadline_at"), lifecycle.max_deadline_at),
        ("last used", lifecycle.HasField("last_used_at"), lifecycle.last_used_at),
        ("dormant since", lifecycle.HasField("dormant_at"), lifecycle.dormant_at),
        ("is deleted", lifecycle.HasField("deleting_at"), lifecycle.deleting_at),
    )
    facts.extend((name, _when(at, now)) for name, is_set, at in moments if is_set)
    return facts


def policy_facts(policy: TemplatePolicy) -> list[tuple[str, str]]:
    """Names and values, in reading order."""
    return [
        ("stops", _limit(policy.default_ttl_seconds, "after a start, unless its owner sets it")),
        ("use moves the stop", _limit(policy.activity_bump_seconds, "from then")),
        ("stops at the latest", _limit(policy.max_ttl_seconds, "after a start")),
        ("is dormant", _limit(policy.dormant_after_seconds, "after it was last used")),
        ("is deleted", _limit(policy.delete_dormant_after_seconds, "after it became dormant")),
        ("failed start stops", _limit(policy.failure_ttl_seconds, "after it failed")),
        ("autostart", "as people set it" if policy.allow_autostart else "not allowed"),
    ]


def _limit(seconds: int, words: str) -> str:
    if seconds == 0:
        return "never"
    parts: list[str] = []
    for name, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{name}")
    return f"{' '.join(parts)} {words}"


def _when(timestamp: Timestamp, now: datetime) -> str:
    ago = " ago" if moment(timestamp) <= now else ""
    return f"{local_time(timestamp)} ({since(timestamp, now)}{ago})"
