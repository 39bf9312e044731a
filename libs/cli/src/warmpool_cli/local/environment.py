"""The environment each service of a local system is started with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from warmpool_cli.local.layout import Layout

__all__ = [
    "LocalSettings",
    "agent_command",
    "agentgw_environment",
    "base_environment",
    "provisionerd_environment",
    "reconciler_environment",
]

LOOPBACK = "127.0.0.1"
_OURS = ("WARMPOOL_ADDRESS", "WARMPOOL_TOKEN", "WARMPOOL_TOKEN_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What a local system is made of. Ports are the services' own, fixed, so that one that is
    started again is found at the same address."""

    port: int
    agent_port: int
    slots: int = 4
    """How many jobs run at once."""
    terraform: Path | None = None
    """The binary; None runs process templates alone."""
    log_level: str = "INFO"
    metrics: bool = True

    @property
    def address(self) -> str:
        """Of the control plane."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def agent_url(self) -> str:
        """Of the gateway, as agents are told."""
        return f"http://{LOOPBACK}:{self.agent_port}"

    @property
    def provisioner_types(self) -> tuple[str, ...]:
        """What can be built here."""
        return ("terraform", "process") if self.terraform else ("process",)


def base_environment() -> dict[str, str]:
    """What every service gets besides our own environment, without our own token."""
    return {**dict.fromkeys(_OURS, ""), "GRPC_ENABLE_FORK_SUPPORT": "0", "PYTHONUNBUFFERED": "1"}


def reconciler_environment(
    layout: Layout, settings: LocalSettings, nats_url: str
) -> dict[str, str]:
    """The control plane: it owns the database and makes the first user and keys."""
    return _with_prefix(
        "RECONCILER",
        layout,
        settings,
        {
            "LISTEN": settings.address,
            "DATABASE_URL_FILE": str(layout.database_url_file),
            "NATS_URL": nats_url,
            "AGENT_URL": settings.agent_url,
            "MIGRATE": "true",
            "MIGRATE_POST": "true",
            "STATE_KEY_FILE": str(layout.state_key_file),
            "BOOTSTRAP_OWNER_TOKEN_FILE": str(layout.owner_token_file),
            "BOOTSTRAP_PROVISIONER_KEY_FILE": str(layout.provisioner_key_file),
            "BOOTSTRAP_GATEWAY_KEY_FILE": str(layout.gateway_key_file),
        },
    )


def provisionerd_environment(
    layout: Layout, settings: LocalSettings, environ: Mapping[str, str]
) -> dict[str, str]:
    """The provisioner: what it starts runs below the layout, with our own agent."""
    command = agent_command(sys.executable)
    own = _with_prefix(
        "PROVISIONERD",
        layout,
        settings,
        {
            "LISTEN": f"{LOOPBACK}:0",
            "RECONCILER_ADDRESS": settings.address,
            "KEY_FILE": str(layout.provisioner_key_file),
            "NAME": "local",
            "SLOTS": str(settings.slots),
            "PROVISIONERS": ",".join(settings.provisioner_types),
            "DATA_DIR": str(layout.provisioner),
        },
    )
    if settings.terraform:
        own["WARMPOOL_PROVISIONERD_TERRAFORM_PATH"] = str(settings.terraform)
    return {
        **own,
        "WARMPOOL_AGENT_COMMAND": command,
        "WARMPOOL_WORKSPACES_DIR": str(layout.workspaces),
        # beside our own interpreter is where `warmpool-agent` is installed
        "PATH": f"{Path(sys.executable).parent}:{environ.get('PATH', '/usr/bin:/bin')}",
    }


def agentgw_environment(layout: Layout, settings: LocalSettings, nats_url: str) -> dict[str, str]:
    """The gateway: a fixed port, because agents have its address for good."""
    return _with_prefix(
        "AGENTGW",
        layout,
        settings,
        {
            "LISTEN": f"{LOOPBACK}:{settings.agent_port}",
            "RECONCILER_ADDRESS": settings.address,
            "KEY_FILE": str(layout.gateway_key_file),
            "NATS_URL": nats_url,
            "DRAIN_WINDOW_SECONDS": "0",  # there is no other gateway to spread its agents over
        },
    )


def agent_command(python: str) -> str:
    """What a workspace's init script runs. The shell splits it at blanks, so a path with one
    cannot be in it; then the installed script is found by its name. -P keeps a workspace's own
    files from being imported in place of the agent's.
    """
    return "warmpool-agent" if any(c.isspace() for c in python) else f"{python} -P -m agentsdk"


def _with_prefix(
    service: str, layout: Layout, settings: LocalSettings, own: Mapping[str, str]
) -> dict[str, str]:
    shared = {
        "PORT_FILE": str(layout.port_file(service.lower())),
        "METRICS_LISTEN": f"{LOOPBACK}:0" if settings.metrics else "",
        "LOG_LEVEL": settings.log_level,
    }
    return {f"WARMPOOL_{service}_{name}": value for name, value in {**shared, **own}.items()}
