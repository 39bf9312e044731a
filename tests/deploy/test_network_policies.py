"""Who may reach whom, computed from the policies as Kubernetes does: the union of what selects a
pod, and nothing for a pod that a policy selects without a rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

Installation = Any  # tests/deploy/conftest.py
Document = Mapping[str, Any]

ANYWHERE = "anywhere"
DNS = ("namespace kubernetes.io/metadata.name=kube-system", 53)
TRACES = ("namespace warmpool.dev/collects-traces=true", 4317)
METRICS = ("namespace warmpool.dev/scrapes-metrics=true", 9090)
POSTGRES, NATS, HTTPS = 5432, 4222, 443

EGRESS = {
    "migrate": {DNS, (ANYWHERE, POSTGRES)},
    "reconciler": {DNS, TRACES, (ANYWHERE, POSTGRES), (ANYWHERE, NATS)},
    "agentgw": {DNS, TRACES, ("pod reconciler", 7080), (ANYWHERE, NATS)},
    "provisionerd": {DNS, TRACES, ("pod reconciler", 7080), (ANYWHERE, HTTPS)},
}
INGRESS: dict[str, set[tuple[str, int]]] = {
    "migrate": set(),
    "reconciler": {
        METRICS,
        ("pod agentgw", 7080),
        ("pod provisionerd", 7080),
        ("namespace warmpool.dev/reaches-api=true", 7080),
    },
    "agentgw": {METRICS, (ANYWHERE, 7443)},
    "provisionerd": {METRICS},
}


def _selects(selector: Document, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        wanted = wanted and labels.get(expression["key"]) in expression["values"]
    return wanted


def _peers(rule: Document, side: str, installation: Installation) -> set[str]:
    if side not in rule:
        return {ANYWHERE}
    found: set[str] = set()
    for peer in rule[side]:
        match peer:
            case {"podSelector": selector}:
                found |= {
                    f"pod {name}"
                    for name in installation.workloads()
                    if _selects(selector, installation.pod(name)["metadata"]["labels"])
                }
            case {"namespaceSelector": {"matchLabels": labels}}:
                found |= {f"namespace {key}={value}" for key, value in labels.items()}
            case _:
                raise AssertionError(peer)
    return found


def _allowed(installation: Installation, workload: str, way: str) -> set[tuple[str, int]]:
    """Every (peer, port), and at least one policy that makes the rest refused."""
    labels = installation.pod(workload)["metadata"]["labels"]
    policies = [
        policy["spec"]
        for policy in installation.of_kind("NetworkPolicy").values()
        if way.capitalize() in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], labels)
    ]
    assert policies, "without a policy everything is allowed"
    side = {"egress": "to", "ingress": "from"}[way]
    return {
        (peer, port["port"])
        for policy in policies
        for rule in policy.get(way, [])
        for peer in _peers(rule, side, installation)
        for port in rule["ports"]  # a rule without ports would be all of them
    }


@pytest.mark.parametrize("workload", list(EGRESS))
def test_a_workload_reaches_what_it_needs_and_nothing_else(
    installation: Installation, workload: str
) -> None:
    assert _allowed(installation, workload, "egress") == EGRESS[workload]


@pytest.mark.parametrize("workload", list(INGRESS))
def test_a_workload_is_reached_by_whom_it_serves(installation: Installation, workload: str) -> None:
    assert _allowed(installation, workload, "ingress") == INGRESS[workload]


def test_the_ports_that_are_let_in_are_those_of_the_pods(installation: Installation) -> None:
    for workload, allowed in INGRESS.items():
        ports = {p["containerPort"] for p in installation.container(workload).get("ports", [])}
        assert {port for _, port in allowed} <= ports
