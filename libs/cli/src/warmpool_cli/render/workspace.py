"""One workspace in full."""

from __future__ import annotations

from datetime import datetime

from warmpool.control.v1.workspaces_pb2 import Workspace
from warmpool_cli.render.tables import agent_words, build_words
from warmpool_cli.render.words import local_time, since

__all__ = ["workspace_facts"]

_CAUSES = {"initiator": "asked for", "claim": "by its claim", "prebuild": "for its pool"}


def workspace_facts(workspace: Workspace, now: datetime) -> list[tuple[str, str]]:
    """Names and values, in reading order."""
    build = workspace.latest_build
    facts = [
        ("workspace", f"{workspace.owner_name}/{workspace.name}"),
        ("id", workspace.id),
        ("template", f"{workspace.template_name} {build.template_version_name}".strip()),
        ("preset", workspace.preset_name or "-"),
        ("created", f"{local_time(workspace.created_at)} ({since(workspace.created_at, now)} ago)"),
        ("from pool", _origin(workspace)),
        ("last build", f"#{build.number} {build_words(workspace)}, {_cause(build.reason)}"),
    ]
    if build.job_error:
        facts.append(("build error", build.job_error))
    facts.extend(("agent", words) for words in agent_words(workspace))
    if workspace.claim.error:
        facts.append(("claim error", workspace.claim.error))
    if workspace.HasField("deleted_at"):
        facts.append(("deleted", local_time(workspace.deleted_at)))
    return facts


def _cause(reason: str) -> str:
    return _CAUSES.get(reason) or f"by {reason or '?'}"


def _origin(workspace: Workspace) -> str:
    if workspace.is_prebuild:
        return "still in it"
    return "claimed out of it" if workspace.HasField("claim") else "no, built from scratch"
