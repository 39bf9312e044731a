"""Which template the demonstration builds, and where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from warmpool_cli.errors import NotFound, UsageInvalid
from warmpool_cli.local.terraform import find_terraform

__all__ = ["Example", "ProvisionerChoice", "choose_example"]

_MARKS = {"terraform": "main.tf", "process": "warmpool.toml"}


class ProvisionerChoice(StrEnum):
    """What the person asked for."""

    AUTO = "auto"
    TERRAFORM = "terraform"
    PROCESS = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A template of this repository. `terraform` is None where none is needed."""

    provisioner_type: str
    directory: Path
    terraform: Path | None
    reason: str


def choose_example(
    choice: ProvisionerChoice, terraform: str, environ: Mapping[str, str], directory: Path
) -> Example:
    """The example to run; UsageInvalid or NotFound if it cannot be."""
    binary = None
    if choice is not ProvisionerChoice.PROCESS:
        binary = find_terraform(terraform, environ)
    if choice is ProvisionerChoice.TERRAFORM and binary is None:
        raise UsageInvalid(
            "neither terraform nor tofu is on PATH",
            "install one, name one with --terraform PATH, or use --provisioner process",
        )
    if binary is not None:
        return Example(
            provisioner_type="terraform",
            directory=_find("terraform", directory),
            terraform=binary,
            reason=f"real Terraform: {binary}",
        )
    return Example(
        provisioner_type="process",
        directory=_find("process", directory),
        terraform=None,
        reason="the process provisioner, as asked"
        if choice is ProvisionerChoice.PROCESS
        else "the process provisioner: neither terraform nor tofu is on PATH",
    )


def _find(kind: str, directory: Path) -> Path:
    for root in _roots(directory):
        candidate = root / "examples" / kind
        if (candidate / _MARKS[kind]).is_file():
            return candidate
    raise NotFound(
        f"examples/{kind} was not found near this program or above {directory}",
        "run the demo in a checkout of the repository",
    )


def _roots(directory: Path) -> Iterator[Path]:
    """Beside this program first: the working directory may belong to something else."""
    yield from Path(__file__).resolve().parents
    yield from (directory, *directory.parents)
