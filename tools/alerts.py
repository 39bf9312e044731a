"""The alerts: when each fires, what it says, and the runbook that it leads to.

Figures that one replica of the control plane reads from the database are the same at all of them,
so the maximum is taken, never the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ALERTS", "RUNBOOKS", "Alert", "rule_groups"]

RUNBOOKS = "https://example.com/warmpool/docs/runbooks"
POOL = "by (organization_name, template_name, preset_name)"
PROCESS = "by (job, pod, instance)"
THE_POOL = "{{ $labels.template_name }}/{{ $labels.preset_name }}"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """`page` is the runbook's, the name of its section is the alert's."""

    name: str
    expr: str
    for_: str
    severity: Literal["critical", "warning", "info"]
    summary: str
    page: Literal["pools", "claims", "builds", "gateways", "services"]

    def as_rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.for_,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "runbook_url": f"{RUNBOOKS}/{self.page}.md#{self.name.lower()}",
            },
        }


ALERTS = (
    Alert(
        name="WarmpoolPoolEmpty",
        page="pools",
        severity="critical",
        for_="10m",
        expr=f"max {POOL} (coderd_prebuilt_workspaces_eligible) == 0"
        f" and max {POOL} (coderd_prebuilt_workspaces_desired) > 0",
        summary=f"Nothing to claim in the pool {THE_POOL}",
    ),
    Alert(
        name="WarmpoolPoolBelowDesired",
        page="pools",
        severity="warning",
        for_="30m",
        expr=f"max {POOL} (coderd_prebuilt_workspaces_eligible)"
        f" < max {POOL} (coderd_prebuilt_workspaces_desired)"
        " unless on () max(coderd_prebuilt_workspaces_reconciliation_paused) == 1",
        summary=f"The pool {THE_POOL} has not been full for half an hour",
    ),
    Alert(
        name="WarmpoolPresetHardLimited",
        page="pools",
        severity="warning",
        for_="1m",
        expr=f"max {POOL} (coderd_prebuilt_workspaces_preset_hard_limited) == 1",
        summary=f"The pool {THE_POOL} stopped after repeated failures",
    ),
    Alert(
        name="WarmpoolPresetValidationFailed",
        page="pools",
        severity="warning",
        for_="1m",
        expr=f"max {POOL} (coderd_prebuilt_workspaces_preset_validation_failed) == 1",
        summary=f"No retry can mend the template of the pool {THE_POOL}",
    ),
    Alert(
        name="WarmpoolReconciliationPaused",
        page="pools",
        severity="warning",
        for_="1h",
        expr="max(coderd_prebuilt_workspaces_reconciliation_paused) == 1",
        summary="All pools have been paused for an hour",
    ),
    Alert(
        name="WarmpoolReconciliationStopped",
        page="pools",
        severity="critical",
        for_="10m",
        expr="sum(increase(coderd_prebuilds_reconciliation_duration_seconds_count[10m])) == 0",
        summary="No pass over the pools for ten minutes",
    ),
    Alert(
        name="WarmpoolReconciliationSlow",
        page="pools",
        severity="warning",
        for_="15m",
        expr="histogram_quantile(0.99, sum by (le)"
        " (rate(coderd_prebuilds_reconciliation_duration_seconds_bucket[15m]))) > 10",
        summary="Passes over the pools take longer than 10 s",
    ),
    Alert(
        name="WarmpoolPoolMissed",
        page="pools",
        severity="info",
        for_="5m",
        expr="max by (reason) (increase(warmpool_pool_misses_total[1h])) > 10",
        summary="Pools were missed more than 10 times in an hour: {{ $labels.reason }}",
    ),
    Alert(
        name="WarmpoolClaimSlow",
        page="claims",
        severity="critical",
        for_="15m",
        expr="histogram_quantile(0.99, sum by (le)"
        " (rate(warmpool_claim_seconds_bucket[15m]))) > 120",
        summary="From request to applied, the slowest claims take longer than 2 minutes",
    ),
    Alert(
        name="WarmpoolDeliverySlow",
        page="claims",
        severity="warning",
        for_="15m",
        expr="histogram_quantile(0.99, sum by (le)"
        ' (rate(warmpool_claim_step_seconds_bucket{step="delivered"}[15m]))) > 5',
        summary="Agents hear of claims later than 5 s after they were built",
    ),
    Alert(
        name="WarmpoolClaimReplacesResources",
        page="claims",
        severity="info",
        for_="1m",
        expr=f"max {POOL}"
        " (increase(coderd_prebuilt_workspaces_resource_replacements_total[1h])) > 0",
        summary=f"Claims from {THE_POOL} replace resources",
    ),
    Alert(
        name="WarmpoolJobsNotTaken",
        page="builds",
        severity="critical",
        for_="10m",
        expr="min_over_time(max(warmpool_jobs_pending)[10m:1m]) > 0"
        " and max(warmpool_jobs_running) == 0",
        summary="Jobs wait and no provisioner takes one",
    ),
    Alert(
        name="WarmpoolJobsGrowing",
        page="builds",
        severity="warning",
        for_="15m",
        expr="max(warmpool_jobs_pending) > 20 and max(deriv(warmpool_jobs_pending[15m])) > 0",
        summary="The queue of jobs keeps growing",
    ),
    Alert(
        name="WarmpoolNoProvisioner",
        page="builds",
        severity="critical",
        for_="5m",
        expr="absent(warmpool_provisioner_slots)",
        summary="No provisioner is seen",
    ),
    Alert(
        name="WarmpoolProvisionersBusy",
        page="builds",
        severity="warning",
        for_="30m",
        expr="sum(warmpool_provisioner_slots_in_use) >= 0.9 * sum(warmpool_provisioner_slots)"
        " and on () max(warmpool_jobs_pending) > 0",
        summary="All provisioners are busy while jobs wait",
    ),
    Alert(
        name="WarmpoolBuildsFailing",
        page="builds",
        severity="warning",
        for_="15m",
        expr=f"max {POOL} (increase(coderd_prebuilt_workspaces_failed_total[30m])) > 2",
        summary=f"Builds of the pool {THE_POOL} fail",
    ),
    Alert(
        name="WarmpoolBuildLogsDropped",
        page="builds",
        severity="info",
        for_="1m",
        expr="sum(increase(warmpool_provisioner_log_lines_dropped_total[1h])) > 0",
        summary="Lines are missing in build logs",
    ),
    Alert(
        name="WarmpoolNoGateway",
        page="gateways",
        severity="critical",
        for_="2m",
        expr="absent(warmpool_gateway_sessions)",
        summary="No gateway is seen",
    ),
    Alert(
        name="WarmpoolAgentsLost",
        page="gateways",
        severity="critical",
        for_="2m",
        expr="sum(warmpool_gateway_sessions) < 0.5 * sum(warmpool_gateway_sessions offset 10m)"
        " and sum(warmpool_gateway_sessions offset 10m) > 20",
        summary="Half of the agents are gone within ten minutes",
    ),
    Alert(
        name="WarmpoolGatewayRefuses",
        page="gateways",
        severity="warning",
        for_="5m",
        expr='sum by (reason) (rate(warmpool_gateway_admission_refusals_total{reason!="DRAINING"}'
        "[5m])) > 0",
        summary="Gateways turn agents away: {{ $labels.reason }}",
    ),
    Alert(
        name="WarmpoolGatewayReadFailures",
        page="gateways",
        severity="critical",
        for_="10m",
        expr="sum by (code) (rate(warmpool_gateway_read_failures_total[5m])) > 0.1",
        summary="Gateways cannot read claims from the control plane: {{ $labels.code }}",
    ),
    Alert(
        name="WarmpoolHintsDisturbed",
        page="gateways",
        severity="warning",
        for_="5m",
        expr="sum(increase(warmpool_gateway_disturbances_total[30m])) > 5",
        summary="NATS loses connections or messages again and again",
    ),
    Alert(
        name="WarmpoolInvalidHints",
        page="gateways",
        severity="warning",
        for_="1m",
        expr="sum(increase(warmpool_gateway_invalid_hints_total[15m])) > 0",
        summary="Somebody writes what is no claim on the claims' subjects",
    ),
    Alert(
        name="WarmpoolRecordsDropped",
        page="gateways",
        severity="warning",
        for_="1m",
        expr="sum(increase(warmpool_gateway_records_dropped_total[15m])) > 0",
        summary="Gateways could not record deliveries",
    ),
    Alert(
        name="WarmpoolMetricsStale",
        page="services",
        severity="critical",
        for_="2m",
        expr="time() - max(coderd_prebuilt_workspaces_metrics_last_updated) > 120",
        summary="No control plane has read its figures for two minutes",
    ),
    Alert(
        name="WarmpoolNoControlPlane",
        page="services",
        severity="critical",
        for_="2m",
        expr="absent(coderd_prebuilt_workspaces_metrics_last_updated)",
        summary="No control plane is seen",
    ),
    Alert(
        name="WarmpoolNotReady",
        page="services",
        severity="warning",
        for_="10m",
        # A provisioner that drains finishes what it has in hand, which may take long.
        expr=f'min {PROCESS} (warmpool_ready{{check="serving"}}) == 0'
        " unless on (job, pod, instance) warmpool_provisioner_slots_in_use > 0",
        summary="{{ $labels.job }} {{ $labels.instance }} runs and has not been ready for ten"
        " minutes",
    ),
    Alert(
        name="WarmpoolCertificates",
        page="services",
        severity="warning",
        for_="10m",
        expr=f'min {PROCESS} (warmpool_ready{{check="certificates"}}) == 0',
        summary="A certificate of {{ $labels.job }} {{ $labels.instance }} ends soon, or is no"
        " good",
    ),
    Alert(
        name="WarmpoolDegraded",
        page="services",
        severity="warning",
        for_="5m",
        expr="min by (job, pod, instance, check)"
        ' (warmpool_ready{check!~"serving|certificates"}) == 0',
        summary="{{ $labels.job }} {{ $labels.instance }} is without {{ $labels.check }}",
    ),
    Alert(
        name="WarmpoolCallsFailing",
        page="services",
        severity="critical",
        for_="10m",
        expr="sum by (grpc_method) (rate(grpc_server_call_duration_seconds_count"
        '{grpc_status=~"UNKNOWN|INTERNAL|DATA_LOSS|DEADLINE_EXCEEDED"}[5m])) > 0.05',
        summary="Calls of {{ $labels.grpc_method }} fail",
    ),
    Alert(
        name="WarmpoolNotificationsDead",
        page="services",
        severity="warning",
        for_="1m",
        expr="sum by (channel)"
        ' (increase(warmpool_notifications_sent_total{outcome="dead"}[1h])) > 0',
        summary="In the last hour notifications by {{ $labels.channel }} were given up",
    ),
)


def rule_groups() -> list[dict[str, Any]]:
    """One group a page."""
    pages = dict.fromkeys(alert.page for alert in ALERTS)
    return [
        {
            "name": f"warmpool-{page}",
            "rules": [alert.as_rule() for alert in ALERTS if alert.page == page],
        }
        for page in pages
    ]
