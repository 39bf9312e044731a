"""The dashboard: a row a question, and a panel for every metric of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metric_catalogue import Metric

__all__ = ["ROWS", "Panel", "draw_dashboard"]

POOL = "by (template_name, preset_name)"
POOL_NAME = "{{template_name}}/{{preset_name}}"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3


@dataclass(frozen=True)
class Panel:
    """One picture: queries with what names their lines."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"


def _quantiles(name: str, by: str = "") -> tuple[tuple[str, str], ...]:
    labels = f"le, {by}" if by else "le"
    shown = f"{{{{{by}}}}} " if by else ""
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({name}_bucket[$__rate_interval])))",
            f"{shown}p{q * 100:.0f}",
        )
        for q in (0.5, 0.99)
    )


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Are the pools warm?",
        (
            Panel(
                "Eligible of desired",
                (
                    (f"max {POOL} (coderd_prebuilt_workspaces_eligible)", f"{POOL_NAME} eligible"),
                    (f"max {POOL} (coderd_prebuilt_workspaces_desired)", f"{POOL_NAME} desired"),
                ),
            ),
            Panel("Running", ((f"max {POOL} (coderd_prebuilt_workspaces_running)", POOL_NAME),)),
            Panel(
                "Stopped pools",
                (
                    (
                        f"max {POOL} (coderd_prebuilt_workspaces_preset_hard_limited)",
                        f"{POOL_NAME} hard limited",
                    ),
                    (
                        f"max {POOL} (coderd_prebuilt_workspaces_preset_validation_failed)",
                        f"{POOL_NAME} validation failed",
                    ),
                    ("max(coderd_prebuilt_workspaces_reconciliation_paused)", "all paused"),
                ),
            ),
            Panel(
                "Made, failed, claimed an hour",
                tuple(
                    (
                        f"sum(max {POOL} (increase(coderd_prebuilt_workspaces_{what}_total[1h])))",
                        what,
                    )
                    for what in ("created", "failed", "claimed", "resource_replacements")
                ),
            ),
            Panel(
                "Missed an hour",
                (
                    (
                        "max by (reason) (increase(warmpool_pool_misses_total[1h]))",
                        "{{reason}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "How long does a claim take?",
        (
            Panel("Request to applied", _quantiles("warmpool_claim_seconds"), "s"),
            Panel("Steps of a claim", _quantiles("warmpool_claim_step_seconds", "step"), "s"),
            Panel(
                "Claims applied",
                (
                    (
                        "sum(rate(warmpool_claim_seconds_count[$__rate_interval]))",
                        "applied",
                    ),
                ),
                "ops",
            ),
        ),
    ),
    (
        "Is there work, and who does it?",
        (
            Panel(
                "Jobs",
                (
                    ("max(warmpool_jobs_pending)", "pending"),
                    ("max(warmpool_jobs_running)", "running"),
                ),
            ),
            Panel(
                "Slots",
                (
                    ("sum(warmpool_provisioner_slots_in_use)", "in use"),
                    ("sum(warmpool_provisioner_slots)", "all"),
                ),
            ),
            Panel(
                "Jobs that ended",
                (
                    (
                        "sum by (kind, outcome)"
                        " (rate(warmpool_provisioner_jobs_total[$__rate_interval]))",
                        "{{kind}} {{outcome}}",
                    ),
                ),
                "ops",
            ),
            Panel("Length of jobs", _quantiles("warmpool_provisioner_job_seconds", "kind"), "s"),
        ),
    ),
    (
        "Do agents hear?",
        (
            Panel(
                "Agents",
                (
                    ("sum(warmpool_gateway_sessions)", "streams"),
                    ("sum(warmpool_gateway_waiters)", "waiting"),
                ),
            ),
            Panel(
                "Streams by gateway",
                (("sum by (pod, instance) (warmpool_gateway_sessions)", "{{pod}} {{instance}}"),),
            ),
            Panel("Agents a read", _quantiles("warmpool_gateway_read_agents")),
        ),
    ),
    (
        "Do the services work?",
        (
            Panel(
                "Calls",
                (
                    (
                        "sum by (grpc_method)"
                        " (rate(grpc_server_call_started_total[$__rate_interval]))",
                        "{{grpc_method}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Calls that did not succeed",
                (
                    (
                        "sum by (grpc_method, grpc_status)"
                        ' (rate(grpc_server_call_duration_seconds_count{grpc_status!="OK"}'
                        "[$__rate_interval]))",
                        "{{grpc_method}} {{grpc_status}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Pass over the pools",
                _quantiles("coderd_prebuilds_reconciliation_duration_seconds"),
                "s",
            ),
            Panel(
                "Age of the figures",
                (("time() - max(coderd_prebuilt_workspaces_metrics_last_updated)", "age"),),
                "s",
            ),
            Panel(
                "Notifications",
                (
                    (
                        "sum by (channel, outcome)"
                        " (rate(warmpool_notifications_sent_total[$__rate_interval]))",
                        "{{channel}} {{outcome}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Notifications that wait or are dead",
                (
                    ("max by (channel) (warmpool_notifications_pending)", "{{channel}} waiting"),
                    ("max by (channel) (warmpool_notifications_dead)", "{{channel}} dead"),
                ),
            ),
        ),
    ),
)


def draw_dashboard(catalogue: Sequence[Metric]) -> dict[str, Any]:
    """What Grafana imports. Metrics without a panel of their own are in the last row."""
    queries = " ".join(query for _, row in ROWS for panel in row for query, _ in panel.queries)
    shown = {re.sub("_(bucket|count|sum)$", "", word) for word in re.findall(r"\w+", queries)}
    rest = tuple(_plain(metric) for metric in catalogue if metric.name not in shown)
    panels = list(_place([*ROWS, ("Everything else", rest)]))
    return {
        "uid": "warmpool",
        "title": "Warmpool",
        "tags": ["warmpool"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _plain(metric: Metric) -> Panel:
    match metric.kind:
        case "counter":
            query = f"sum by (job) (rate({metric.name}[$__rate_interval]))"
            return Panel(metric.help, ((query, metric.name),), "ops")
        case "gauge":
            return Panel(metric.help, ((f"sum by (job) ({metric.name})", metric.name),))
        case "histogram":
            return Panel(metric.help, _quantiles(metric.name))


def _place(rows: Iterable[tuple[str, Sequence[Panel]]]) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, panels in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": WIDTH * COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        for index, panel in enumerate(panels):
            number += 1
            place = {"x": index % COLUMNS * WIDTH, "y": top + index // COLUMNS * HEIGHT}
            yield _drawn(number, panel, {**place, "w": WIDTH, "h": HEIGHT})
        top += -(-len(panels) // COLUMNS) * HEIGHT


def _drawn(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }
