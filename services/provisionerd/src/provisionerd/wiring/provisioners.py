"""The provisioners of a worker, made from its settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from provisionerd.core.provisioner import Provisioner
from provisionerd.process import ProcessProvisioner, ProcessSettings
from provisionerd.terraform import (
    TerraformMissing,
    TerraformProvisioner,
    TerraformSettings,
    find_terraform,
    salvage_tfstate,
)
from provisionerd.wiring.settings import ProvisionerdSettings
from svckit.errors import StartFailed
from svckit.log import get_logger

__all__ = ["Provisioners", "build_provisioners"]

_LOG = get_logger(__name__)
# templates whose machines are processes of this host put them here
_WORKSPACES_VARIABLE = "WARMPOOL_WORKSPACES_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioners:
    """By type; and what they leave behind if this process is ended by force: the names of the
    executables they run in a job's directory, and how to find a tfstate in it.
    """

    by_type: dict[str, Provisioner]
    programs: frozenset[str]
    salvage: Callable[[Path], bytes | None]


def build_provisioners(settings: ProvisionerdSettings) -> Provisioners:
    """Makes what the settings name. Terraform is left out, with a warning, if it is not installed
    and something else is left; otherwise raises StartFailed.
    """
    data_dir = settings.data_dir.absolute()
    workspaces_dir = (settings.workspaces_dir or data_dir / "workspaces").absolute()
    environment = {_WORKSPACES_VARIABLE: str(workspaces_dir), **os.environ}
    by_type: dict[str, Provisioner] = {}
    programs: set[str] = set()
    for name in settings.provisioners:
        match name:
            case "terraform":
                try:
                    binary = find_terraform(settings.terraform_path)
                except TerraformMissing as error:
                    if len(settings.provisioners) == 1 or settings.terraform_path:
                        raise StartFailed(error.message) from error
                    _LOG.warning(
                        "terraform is not installed; this worker does without",
                        action="start",
                        reason=error.message,
                    )
                    continue
                programs |= {binary.name, binary.resolve().name}
                by_type[name] = TerraformProvisioner(
                    _terraform_settings(settings, data_dir), environment=environment
                )
            case "process":
                by_type[name] = ProcessProvisioner(
                    ProcessSettings(
                        workspaces_dir=workspaces_dir, env_allowed=settings.env_allowed
                    ),
                    environment=environment,
                )
    return Provisioners(by_type=by_type, programs=frozenset(programs), salvage=salvage_tfstate)


def _terraform_settings(settings: ProvisionerdSettings, data_dir: Path) -> TerraformSettings:
    return TerraformSettings(
        cache_dir=data_dir / "cache",
        binary=settings.terraform_path,
        env_allowed=settings.env_allowed,
        cli_config_file=settings.terraform_cli_config_file,
        plugin_mirror_dir=settings.terraform_plugin_mirror_dir,
    )
