"""Dry runs, between protobuf and values."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.dryruns import CheckView, Findings
from reconciler.wire.jobs import decode_replacements
from reconciler.wire.values import JOB_STATUSES
from warmpool.control.v1 import templates_pb2 as control
from warmpool.provisioner.v1 import provisioner_pb2 as provisioner

__all__ = ["decode_findings", "encode_check"]


def decode_findings(result: provisioner.TemplateDryRunResult) -> Findings:
    """What a worker found."""
    return Findings(
        resources=tuple(result.resources),
        replacements=decode_replacements(result.replacements),
        owner_dependent=decode_replacements(result.owner_dependent),
    )


def encode_check(check: CheckView) -> control.TemplateCheck:
    """A dry run as its asker sees it."""
    return control.TemplateCheck(
        job_id=str(check.job_id),
        preset=check.preset,
        prebuild=check.prebuild,
        job_status=JOB_STATUSES[check.status],
        error=check.error,
        resources=check.findings.resources,
        replacements=_encode(check.findings.replacements),
        owner_dependent=_encode(check.findings.owner_dependent),
    )


def _encode(changes: Iterable[tuple[str, tuple[str, ...]]]) -> list[control.PlannedChange]:
    return [control.PlannedChange(address=address, paths=paths) for address, paths in changes]
