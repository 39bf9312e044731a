"""Writes deploy/observability and its copies for Kubernetes from the metrics of the services;
`--check` fails if they are not current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from alerts import rule_groups
from dashboard import draw_dashboard
from generated import ROOT, write_or_check
from metric_catalogue import Metric, load_catalogue

TOOL = ".venv/bin/python tools/observability.py"
MADE = f"# Made by `{TOOL}`.\n"
OBSERVABILITY = ROOT / "deploy" / "observability"
MONITORING = ROOT / "deploy" / "kubernetes" / "components" / "monitoring"
HISTOGRAM_SERIES = ("_bucket", "_sum", "_count")


def main() -> int:
    return write_or_check(draw(), tool=TOOL, check=sys.argv[1:] == ["--check"])


def draw() -> dict[Path, str]:
    """Every file."""
    catalogue = load_catalogue()
    dashboard = json.dumps(draw_dashboard(catalogue), indent=1) + "\n"
    groups = rule_groups()
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "warmpool"},
        "spec": {"groups": groups},
    }
    metrics = [metric.as_json() for metric in catalogue]
    return {
        OBSERVABILITY / "metrics.json": json.dumps(metrics, indent=1) + "\n",
        OBSERVABILITY / "alerts.yaml": MADE + _yaml({"groups": groups}),
        OBSERVABILITY / "dashboard.json": dashboard,
        OBSERVABILITY / "otel-collector.yaml": MADE + COLLECTOR_NOTE + _yaml(collector(catalogue)),
        MONITORING / "rules.yaml": MADE + _yaml(rule),
        MONITORING / "dashboard.json": dashboard,
    }


COLLECTOR_NOTE = """\
# For the collector's contrib distribution. TRACES_ENDPOINT and METRICS_ENDPOINT are OTLP/gRPC
# addresses of what keeps traces and metrics. Leave the pipeline of metrics out if Prometheus
# scrapes the services itself.
"""


def collector(catalogue: Sequence[Metric]) -> dict[str, Any]:
    """Takes traces, scrapes metrics, sends both on. Only metrics of the catalogue pass."""
    names = [
        f"{metric.name}{suffix}"
        for metric in catalogue
        for suffix in (HISTOGRAM_SERIES if metric.kind == "histogram" else ("",))
    ]
    targets = {"reconciler": 9091, "agentgw": 9092, "provisionerd": 9093}  # as in deploy/systemd
    scrape = [
        {
            "job_name": service,
            "scrape_interval": "30s",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            "metric_relabel_configs": [
                {
                    "source_labels": ["__name__"],
                    "regex": "|".join([*names, "up"]),
                    "action": "keep",
                }
            ],
        }
        for service, port in targets.items()
    ]
    return {
        "receivers": {
            "otlp": {"protocols": {"grpc": {"endpoint": "0.0.0.0:4317"}}},
            "prometheus": {"config": {"scrape_configs": scrape}},
        },
        "processors": {
            "memory_limiter": {
                "check_interval": "1s",
                "limit_percentage": 80,
                "spike_limit_percentage": 20,
            },
            "batch": {"timeout": "5s", "send_batch_size": 8192},
        },
        "exporters": {
            "otlp/traces": {"endpoint": "${env:TRACES_ENDPOINT}"},
            "otlp/metrics": {"endpoint": "${env:METRICS_ENDPOINT}"},
        },
        "extensions": {"health_check": {"endpoint": "127.0.0.1:13133"}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "traces": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "batch"],
                    "exporters": ["otlp/traces"],
                },
                "metrics": {
                    "receivers": ["prometheus"],
                    "processors": ["memory_limiter", "batch"],
                    "exporters": ["otlp/metrics"],
                },
            },
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(content: object) -> str:
    return yaml.dump(content, Dumper=_Plain, sort_keys=False, width=120)


if __name__ == "__main__":
    sys.exit(main())
