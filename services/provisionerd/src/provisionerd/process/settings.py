"""What an operator may decide about workspaces that are processes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from provisionerd.core.errors import ProvisionError

__all__ = ["COMMAND_VARIABLE", "ENV_ALLOWED", "ProcessSettings", "inherit", "read_agent_command"]

COMMAND_VARIABLE = "WARMPOOL_AGENT_COMMAND"
ENV_ALLOWED: tuple[str, ...] = (
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "LANG",
    "LC_*",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "WARMPOOL_INSTANCE",
    "WARMPOOL_AGENT_COMMAND",
    "WARMPOOL_AGENT_CA_FILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Where workspaces live and how long things may take.

    `workspaces_dir` holds one directory per workspace and outlives this process. `env_allowed` adds
    names or `*` patterns of our own environment that workspaces may see.
    """

    workspaces_dir: Path
    env_allowed: tuple[str, ...] = ()
    stop_grace_seconds: float = 30.0  # for an agent's stop scripts
    sweep_grace_seconds: float = 5.0  # for what the agent left running
    interrupt_grace_seconds: float = 10.0  # for a setup that is canceled
    line_bytes_max: int = 262_144


def inherit(ours: Mapping[str, str], more: tuple[str, ...]) -> dict[str, str]:
    """What workspaces see of our environment: an allow-list, so never our own credentials."""
    patterns = (*ENV_ALLOWED, *more)
    return {
        name: value
        for name, value in ours.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def read_agent_command(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The agent's command: the operator's, or the agent installed beside us."""
    given = environment.get(COMMAND_VARIABLE, "")
    try:
        words = tuple(shlex.split(given))
    except ValueError as error:
        raise ProvisionError(
            f"{COMMAND_VARIABLE} is {given!r}; it must be a command line with closed quotes"
        ) from error
    return words or (sys.executable, "-m", "agentsdk")
