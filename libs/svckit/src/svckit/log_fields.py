"""Every field a log line may carry, and its type.

One name for one thing over all services, so that a search over the logs of all of them needs one
name. Ids are written as text. Add a line here before using a new field; the type checker refuses
names that are not listed.
"""

from __future__ import annotations

from typing import TypedDict

__all__ = ["LogFields"]


class LogFields(TypedDict, total=False):
    """The fields of a log line. Durations are seconds; `action` is what the loop or method was
    doing.
    """

    action: str
    # Whom and what it is about.
    workspace_id: str
    owner_id: str
    claim_id: str
    build_id: str
    job_id: str
    worker_id: str
    template_id: str
    template_version_id: str
    template_name: str
    preset_id: str
    preset_name: str
    organization_id: str
    agent_id: str
    session_id: str
    user_id: str
    key_id: str
    replica_id: str
    attempt: int
    step: str
    name: str
    state: str
    phase: str
    version: str
    provisioner_type: str
    # Messages and calls.
    channel: str
    kind: str
    subject: str
    method: str
    permission: str
    code: str
    peer: str
    address: str
    port: int
    url: str
    path: str
    signal: str
    setting: str
    reason: str
    exit_code: int
    pid: int
    generation: int
    # How many and how long.
    count: int
    total: int
    limit: int
    size_bytes: int
    dropped: int
    elapsed_seconds: float
    delay_seconds: float
    timeout_seconds: float
    grace_seconds: float
    # What the reconciler saw and did.
    presets_total: int
    presets_reconciled: int
    created: int
    started: int
    stopped: int
    dormant: int
    woken: int
    deleted: int
    cancelled: int
    failed: int
    desired: int
    running: int
    eligible: int
    expired: int
