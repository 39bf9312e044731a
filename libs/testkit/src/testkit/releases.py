"""The code of an earlier release, to be run beside today's.

It is taken from the repository's history, by its tag or by the commit a table names. A process runs
it because its source comes first on PYTHONPATH; third-party packages are those of today's
environment, unless the release pins another major version of one: then it gets its own.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["TODAY", "Code", "Release", "ReleaseMissing", "check_out", "read_previous"]

ROOT: Final = Path(__file__).resolve().parents[4]
MARK: Final = "+previous"
LOCK: Final = "requirements.lock"
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\d+)", re.MULTILINE)


class ReleaseMissing(Exception):
    """The history that is here does not reach back to the release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What was released, and the commit it was made of."""

    version: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What a process runs. `python_path` is its PYTHONPATH; empty is today's code."""

    name: str
    python_path: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs besides its usual environment to run this."""
        return {"PYTHONPATH": self.python_path}


TODAY: Final = Code(name="today", python_path="")


def read_previous(table: Path) -> Release:
    """The newest release of a table such as `tests/skew/releases.toml`."""
    releases = tomllib.loads(table.read_text(encoding="utf-8"))["releases"]
    version, commit = list(releases.items())[-1]
    return Release(version=version, commit=commit)


def check_out(release: Release, directory: Path, *, repository: Path = ROOT) -> Code:
    """Writes the release's source into the directory. Raises ReleaseMissing if it is not to be had.

    Its packages call themselves by the release's version with "+previous" after it, so that what a
    process says of itself tells which code it runs.
    """
    reference = _find(release, repository)
    archive = _git(repository, "archive", reference, "libs", "services", LOCK)
    if archive.returncode != 0:
        raise ReleaseMissing(f"git archive {reference}: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(directory, filter="data")
    paths = [_write_versions(directory), *sorted(directory.glob("*/*/src"))]
    if changes := compare_pins(
        (directory / LOCK).read_text(encoding="utf-8"),
        (repository / LOCK).read_text(encoding="utf-8"),
    ):
        paths.append(_install(directory, changes))
    return Code(name=f"v{release.version}", python_path=":".join(map(str, paths)))


def compare_pins(old: str, new: str) -> Mapping[str, tuple[str, str | None]]:
    """Packages of the old lock whose major version is another one in the new lock, or that it does
    not have, with both.
    """
    then, now = (dict(_PIN.findall(text)) for text in (old, new))
    return {name: (then[name], now.get(name)) for name in then if then[name] != now.get(name)}


def _find(release: Release, repository: Path) -> str:
    for reference in (f"v{release.version}", release.commit):
        found = _git(repository, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
        if found.returncode == 0:
            return found.stdout.decode().strip()
    raise ReleaseMissing(
        f"release {release.version} is not in this repository's history: there is neither a tag"
        f" v{release.version} nor the commit {release.commit}. Fetch them: git fetch --tags"
        " --unshallow"
    )


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ("git", "-C", str(repository), *arguments)
    try:
        return subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise ReleaseMissing("git is not installed, and history is read with it") from error


def _write_versions(directory: Path) -> Path:
    """What `importlib.metadata` reads, for each of the release's packages."""
    versions = directory / "versions"
    for member in directory.glob("*/*/pyproject.toml"):
        project = tomllib.loads(member.read_text(encoding="utf-8"))["project"]
        name, version = project["name"], project["version"] + MARK
        written = versions / f"{name.replace('-', '_')}-{version}.dist-info"
        written.mkdir(parents=True)
        (written / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    return versions


def _install(directory: Path, changes: Mapping[str, object]) -> Path:
    """The release's own third-party packages."""
    target = directory / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    what = ["--no-deps", "--require-hashes", "--target", str(target), "-r", str(directory / LOCK)]
    done = subprocess.run([*pip, *what], capture_output=True, check=False)
    if done.returncode != 0:
        raise ReleaseMissing(
            f"the packages of the release cannot be installed, and today's differ ({changes}): "
            + done.stderr.decode(errors="replace")[-2000:]
        )
    return target
