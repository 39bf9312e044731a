"""Alerts, dashboard and collector ask for metrics that exist, in expressions that Prometheus can
read, and every alert leads to a section that helps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from typer.main import get_command

from svckit.readiness import Readiness
from warmpool_cli.app import app

ROOT = Path(__file__).resolve().parents[2]
OBSERVABILITY = ROOT / "deploy" / "observability"
RUNBOOKS = ROOT / "docs" / "runbooks"
AT_SCRAPE = {"up"}
PARTS = ("Means", "Users feel", "Look at", "Do")
Installation = Any  # tests/deploy/conftest.py


def _catalogue() -> dict[str, str]:
    """Kind by name."""
    metrics = json.loads((OBSERVABILITY / "metrics.json").read_text("utf-8"))
    return {metric["name"]: metric["kind"] for metric in metrics}


def _series() -> set[str]:
    """Every series a scrape shows."""
    return {
        f"{name}{suffix}"
        for name, kind in _catalogue().items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


def _selectors(expression: str) -> set[str]:
    """The metrics an expression asks for."""
    return _read(expression)[0]


def _read(expression: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels in the tree that the parser makes of an expression."""
    found: set[str] = set()
    labels: set[str] = set()

    def walk(node: Any) -> None:
        match node:
            case promql_parser.VectorSelector():
                assert node.name, f"a selector without a name in {expression}"
                found.add(node.name)
                labels.update(matcher.name for matcher in node.matchers.matchers)
            case promql_parser.MatrixSelector():
                walk(node.vector_selector)
            case promql_parser.BinaryExpr():
                if node.modifier and node.modifier.matching:
                    labels.update(node.modifier.matching.labels)
                walk(node.lhs)
                walk(node.rhs)
            case promql_parser.Call():
                for argument in node.args:
                    walk(argument)
            case promql_parser.AggregateExpr():
                if node.modifier:
                    labels.update(node.modifier.labels)
                walk(node.expr)
            case (
                promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr()
            ):
                walk(node.expr)
            case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
                pass
            case _:
                raise AssertionError(f"{type(node).__name__} in {expression}")

    walk(promql_parser.parse(expression))
    return found, labels


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _panels() -> Iterator[dict[str, Any]]:
    dashboard = json.loads((OBSERVABILITY / "dashboard.json").read_text("utf-8"))
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def _queries() -> Iterator[str]:
    for panel in _panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


RULES = _rules()


def test_the_catalogue_is_the_table_of_the_operations_page() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `((?:coderd|grpc_server|warmpool)_[a-z_]+)` \|", page, re.M))
    assert set(_catalogue()) == listed, (
        "run tools/observability.py; a new class of instruments goes into tools/metric_catalogue.py"
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    asked = _selectors(rule["expr"])
    assert asked
    assert asked - _series() == set()


def test_each_check_of_readyz_is_watched_by_one_alert() -> None:
    """What a process says of itself, of its certificates, and of whatever else it needs."""
    watched: dict[str, list[str]] = {"serving": [], "certificates": [], "nats": []}
    for rule in RULES:
        for operator, value in re.findall(r'warmpool_ready\{check(=|!~)"([^"]+)"\}', rule["expr"]):
            for check, alerts in watched.items():
                if (re.fullmatch(value, check) is not None) == (operator == "="):
                    alerts.append(rule["alert"])

    assert watched == {
        "serving": ["WarmpoolNotReady"],
        "certificates": ["WarmpoolCertificates"],
        "nats": ["WarmpoolDegraded"],
    }
    own = {condition.name for condition in Readiness().conditions}
    assert own <= set(watched)


def test_the_dashboard_asks_for_metrics_that_exist_and_shows_every_one() -> None:
    asked = {name for query in _queries() for name in _selectors(query)}
    histograms = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}

    assert asked - _series() == set()
    assert set(_catalogue()) - asked - histograms == set()


def test_labels_that_are_asked_for_are_given_by_the_code_or_by_the_scrape() -> None:
    code = [
        source
        for source in [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/svckit/src/**/*.py")]
        if "opentelemetry" in source.read_text("utf-8")
    ]
    literals = {
        literal.replace(".", "_")
        for source in code
        for literal in re.findall(r'"([a-z]+[._a-z]*)"', source.read_text("utf-8"))
    }
    at_scrape = {"le", "job", "instance", "pod", "namespace"}

    asked = {
        label for query in [*_queries(), *(r["expr"] for r in RULES)] for label in _read(query)[1]
    }

    assert {"template_name", "grpc_status", "step"} <= asked
    assert asked - literals - at_scrape == set()


def test_panels_do_not_overlap() -> None:
    taken = [
        (x, y)
        for panel in _panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_what_scales_asks_for_metrics_that_exist(installation: Installation) -> None:
    asked: set[str] = set()
    for scaler in installation.of_kind("HorizontalPodAutoscaler").values():
        asked |= {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]}
    for scaler in installation.of_kind("ScaledObject").values():
        for trigger in scaler["spec"]["triggers"]:
            asked |= _selectors(trigger["metadata"]["query"])
    assert asked - _series() == set()
    assert bool(asked) == (installation.name == "production")


def test_the_collector_is_whole_and_lets_the_catalogue_pass(
    load_yaml: Callable[[str], Any],
) -> None:
    collector = load_yaml("deploy/observability/otel-collector.yaml")
    for pipeline in collector["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(collector[part])
    for scrape in collector["receivers"]["prometheus"]["config"]["scrape_configs"]:
        [relabel] = scrape["metric_relabel_configs"]
        assert set(relabel["regex"].split("|")) == _series() | AT_SCRAPE


def test_the_rules_of_the_operator_are_those_of_prometheus(installation: Installation) -> None:
    for rules in installation.of_kind("PrometheusRule").values():
        said = [rule for group in rules["spec"]["groups"] for rule in group["rules"]]
        assert said == RULES
    assert bool(installation.of_kind("PrometheusRule")) == (installation.name == "production")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_a_section_with_all_its_parts(rule: dict[str, Any]) -> None:
    base, _, rest = rule["annotations"]["runbook_url"].partition("/docs/runbooks/")
    page, _, anchor = rest.partition("#")
    assert base == "https://example.com/warmpool"
    assert anchor == rule["alert"].lower()

    sections = re.split(r"^## ", (RUNBOOKS / page).read_text("utf-8"), flags=re.M)[1:]
    [section] = [s for s in sections if s.splitlines()[0] == rule["alert"]]
    parts = re.findall(r"^\*\*([A-Z][a-z ]+)\*\*", section, re.M)
    assert tuple(parts) == PARTS


def test_every_section_has_an_alert() -> None:
    headings = {
        heading
        for page in RUNBOOKS.glob("*.md")
        for heading in re.findall(r"^## (.+)$", page.read_text("utf-8"), re.M)
    }
    assert headings == {rule["alert"] for rule in RULES}


def _commands() -> Iterator[tuple[str, str]]:
    """Each command that a runbook names, with the page."""
    for page in sorted(RUNBOOKS.glob("*.md")):
        text = page.read_text("utf-8")
        code = re.findall(r"^    (.+)$", text, re.M) + re.findall(r"`([^`\n]+)`", text)
        yield from ((page.name, line) for line in code if line.startswith(("warmpool ", "kubectl")))


def test_commands_of_the_runbooks_exist(installation: Installation) -> None:
    commands = list(_commands())
    assert len(commands) > 30
    objects = {
        (kind.lower(), name)
        for kind in ("Deployment", "StatefulSet", "Job")
        for name in installation.of_kind(kind)
    }
    for page, line in commands:
        words = line.split()
        if words[0] == "kubectl":
            for word in words[1:]:
                if "/" in word:
                    assert tuple(word.split("/")) in objects, (page, line)
            continue
        command: Any = get_command(app)
        for word in words[1:]:
            known = {option for p in getattr(command, "params", []) for option in p.opts}
            if word.startswith("-"):
                assert word in known, (page, line)
            elif hasattr(command, "commands"):
                assert word in command.commands, (page, line)
                command = command.commands[word]
