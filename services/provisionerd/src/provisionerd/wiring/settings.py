"""What an operator may decide about a worker."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from svckit.settings import ServiceSettings
from svckit.tls import ClientTls

__all__ = ["ProvisionerdSettings"]


_SLOTS_MAX = 256  # the control plane remembers no larger wish


def _count_cpus() -> int:
    return min(os.cpu_count() or 1, _SLOTS_MAX)


class ProvisionerdSettings(ServiceSettings):
    """The settings of provisionerd."""

    service: ClassVar[str] = "provisionerd"

    reconciler_address: str = Field(
        description="the control plane: host:port, http://host:port or https://host:port"
    )
    key_file: Path = Field(
        description="file that holds this worker's key; read again when it changes"
    )
    data_dir: Path = Field(
        description="directory for jobs under way and for caches; one per worker, made if missing"
    )
    name: str = Field(
        default_factory=socket.gethostname, max_length=200, description="this worker, for people"
    )
    slots: int = Field(
        default_factory=_count_cpus,
        ge=1,
        le=_SLOTS_MAX,
        description="jobs at once; by default the CPUs",
    )
    provisioners: tuple[Literal["terraform", "process"], ...] = Field(
        ("terraform", "process"), min_length=1, description="what this worker can run"
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="key=value pairs; a job's tags must be among them"
    )
    env_allowed: tuple[str, ...] = Field(
        (),
        description="more names, or patterns such as AWS_*, of this worker's environment that"
        " templates may see",
    )
    terraform_path: str = Field(
        "", description='the terraform or tofu binary; "" looks for them on PATH'
    )
    terraform_cli_config_file: Path | None = Field(
        None, description="put in front of the CLI configuration that terraform gets"
    )
    terraform_plugin_mirror_dir: Path | None = Field(
        None, description="take terraform's providers from this directory alone"
    )
    workspaces_dir: Path | None = Field(
        None,
        description="where workspaces that are processes live; by default workspaces in data_dir",
    )
    reconciler_ca_file: Path | None = Field(
        None, description="PEM roots to trust for the control plane; by default the system's"
    )
    reconciler_cert_file: Path | None = Field(
        None, description="PEM certificate to show to the control plane (mTLS)"
    )
    reconciler_key_file: Path | None = Field(None, description="PEM key of that certificate")

    @field_validator("provisioners")
    @classmethod
    def _check_provisioners(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("each may be named once")
        return value

    def reconciler_tls(self) -> ClientTls | None:
        """How to encrypt the way to the control plane; None leaves it to the address."""
        if self.reconciler_ca_file is None and self.reconciler_cert_file is None:
            return None
        return ClientTls(
            ca_file=self.reconciler_ca_file,
            cert_file=self.reconciler_cert_file,
            key_file=self.reconciler_key_file,
        )
