"""What an operator may decide about running Terraform, and where the binary is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from provisionerd.core.errors import ProvisionError

__all__ = ["ENV_ALLOWED", "TerraformMissing", "TerraformSettings", "find_terraform"]

ENV_ALLOWED: tuple[str, ...] = (
    "PATH",
    "HOME",
    "USER",
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
    "TF_VAR_*",
    "TF_TOKEN_*",
    "WARMPOOL_INSTANCE",
    "WARMPOOL_AGENT_COMMAND",
    "WARMPOOL_WORKSPACES_DIR",
)


class TerraformMissing(ProvisionError):
    """No terraform or tofu binary was found; another worker may have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerraformSettings:
    """How Terraform is run.

    `cache_dir` holds what may be shared between jobs: downloaded providers and modules. `binary` is
    a path or a name; empty looks for `terraform`, then `tofu`. `env_allowed` adds names or `*`
    patterns of our own environment that templates may see, such as `AWS_*`. `cli_config_file`
    is put in front of the CLI configuration we generate; `plugin_mirror_dir` makes `init` take
    providers from a directory alone.
    """

    cache_dir: Path
    binary: str = ""
    env_allowed: tuple[str, ...] = ()
    env_set: dict[str, str] = field(default_factory=dict[str, str])
    cli_config_file: Path | None = None
    plugin_mirror_dir: Path | None = None
    parallelism: int = 10
    init_timeout_seconds: float = 600.0
    plan_timeout_seconds: float = 600.0
    apply_timeout_seconds: float = 3600.0
    interrupt_grace_seconds: float = 300.0  # after a job's graceful cancel
    shutdown_grace_seconds: float = 30.0  # after the task itself was cancelled
    tfstate_keep_seconds: float = 2.0  # how often a growing tfstate is handed on
    line_bytes_max: int = 262_144


def find_terraform(binary: str = "") -> Path:
    """Returns the binary to run, or raises `TerraformMissing` saying what to do."""
    for name in (binary,) if binary else ("terraform", "tofu"):
        if found := shutil.which(name):
            return Path(found).absolute()
    if binary:
        raise TerraformMissing(f"{binary!r} is not an executable; set the terraform binary's path")
    raise TerraformMissing(
        "neither terraform nor tofu is on PATH; install one of them"
        " (https://developer.hashicorp.com/terraform/install, https://opentofu.org/docs/intro/install)"
        " or set the binary's path",
        retryable=True,
    )
