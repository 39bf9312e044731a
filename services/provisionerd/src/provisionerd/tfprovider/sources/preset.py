"""`coder_workspace_preset`: named parameter values, and the pool of prebuilds they keep.

Promises: a preset that passes has readable, non-overlapping schedules in a known time zone, a TTL
the pool accepts and no negative size, so the control plane meets no surprise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from zoneinfo import ZoneInfo

from provisionerd.tfprovider.checks import (
    at_least,
    between,
    length_max,
    map_values_not_empty,
    not_empty,
    quote,
    url,
)
from provisionerd.tfprovider.cron import CronInvalid, check_pool_cron, find_overlap
from provisionerd.tfprovider.cty import MapOf, Value
from provisionerd.tfprovider.kinds import DataSource
from provisionerd.tfprovider.schema import (
    BOOL,
    NUMBER,
    STRING,
    Block,
    NestedBlock,
    Object,
    Problem,
    computed,
    optional,
    required,
)

__all__ = ["PRESET"]

_TTL_SECONDS_MIN = 3600  # an hour: shorter would rebuild the pool all the time
_TTL_SECONDS_MAX = 31536000  # a year


def _timezone(value: Value) -> str | None:
    name = str(value)
    try:
        ZoneInfo(name or "UTC")
    except (ValueError, OSError, LookupError):
        return f'is {quote(value)}; it must be an IANA time zone such as "Europe/Paris" or "UTC".'
    return None


_SCHEDULING = Block(
    attributes=(required("timezone", STRING, _timezone),),
    blocks=(
        NestedBlock(
            name="schedule",
            nesting="list",
            items_min=1,
            block=Block(
                attributes=(
                    required("cron", STRING, check_pool_cron),
                    required("instances", NUMBER, at_least(0)),
                )
            ),
        ),
    ),
)
_PREBUILDS = Block(
    attributes=(required("instances", NUMBER, at_least(0)),),
    blocks=(
        NestedBlock(
            name="expiration_policy",
            nesting="set",
            items_max=1,
            block=Block(
                attributes=(
                    required("ttl", NUMBER, between(_TTL_SECONDS_MIN, _TTL_SECONDS_MAX, 0)),
                )
            ),
        ),
        NestedBlock(name="scheduling", nesting="list", items_max=1, block=_SCHEDULING),
    ),
)


def _check(config: Object) -> Iterable[Problem]:
    for prebuilds in _blocks(config, "prebuilds"):
        for scheduling in _blocks(prebuilds, "scheduling"):
            crons = [schedule.get("cron") for schedule in _blocks(scheduling, "schedule")]
            try:
                overlap = find_overlap(tuple(cron for cron in crons if isinstance(cron, str)))
            except CronInvalid:
                continue  # the attribute's own check has said so
            if overlap is not None:
                yield Problem(
                    summary="Overlapping schedules",
                    detail=f"prebuilds.scheduling.schedule.cron {quote(overlap[0])} and"
                    f" {quote(overlap[1])} are open at the same time; schedules must not overlap.",
                    path=("prebuilds",),
                )


def _blocks(values: Object, name: str) -> Iterable[Object]:
    items = values.get(name)
    return [
        item for item in (items if isinstance(items, tuple) else ()) if isinstance(item, Mapping)
    ]


PRESET = DataSource(
    name="coder_workspace_preset",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            required("name", STRING, not_empty),
            optional("description", STRING, length_max(128)),
            optional("icon", STRING, url, length_max(256)),
            optional("default", BOOL, default=False),
            optional("parameters", MapOf(STRING), map_values_not_empty),
        ),
        blocks=(NestedBlock(name="prebuilds", nesting="set", items_max=1, block=_PREBUILDS),),
    ),
    check=_check,
    read=lambda _context, config: {"id": config.get("name")},
)
