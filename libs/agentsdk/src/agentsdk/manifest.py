"""What the agent has to run, and for whom."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Manifest", "Script", "build_script_env", "resolve_directory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script of a template."""

    display_name: str
    text: str = field(repr=False)
    run_on_start: bool = False
    run_on_stop: bool = False
    timeout_seconds: float = 0.0
    """Longest run; 0 means no limit."""
    log_path: str = ""
    """A file its output is appended to; empty means the agent's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What to run for the workspace's owner of the moment."""

    agent_id: str
    agent_name: str
    workspace_id: str
    workspace_name: str
    owner_id: str
    owner_name: str
    is_prebuild: bool
    claim_id: str = ""
    """The claim it belongs to; empty before a claim."""
    directory: str = ""
    """Where scripts run; empty means the agent's own directory."""
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    scripts: tuple[Script, ...] = ()


def build_script_env(
    manifest: Manifest, inherited: Mapping[str, str], session_id: str
) -> dict[str, str]:
    """A script's environment: what the agent was started with, then who and where it is, then what
    the template says. The agent's token is not in there: whoever needs the gateway as this agent
    must be handed the token by the template, knowingly, through the manifest's environment.
    """
    return {
        **inherited,
        "CODER": "true",
        "CODER_WORKSPACE_NAME": manifest.workspace_name,
        "CODER_WORKSPACE_OWNER_NAME": manifest.owner_name,
        "CODER_WORKSPACE_AGENT_NAME": manifest.agent_name,
        "WARMPOOL_AGENT_SESSION_ID": session_id,
        **manifest.env,
    }


def resolve_directory(manifest: Manifest, own_directory: Path) -> Path:
    """Where the manifest's scripts run; `~` and variables in it mean the agent's own."""
    if not manifest.directory:
        return own_directory
    return own_directory / Path(os.path.expandvars(manifest.directory)).expanduser()
