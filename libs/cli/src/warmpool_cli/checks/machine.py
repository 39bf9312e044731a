"""Looks at this machine: can `warmpool up` and `warmpool demo` run here?"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import platform
import resource
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from embedded import find_free_port
from warmpool_cli.checks.finding import Finding, Verdict
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.local.terraform import find_terraform

__all__ = [
    "judge_disk",
    "judge_open_files",
    "judge_python",
    "judge_terraform_version",
    "look_at_machine",
]

PYTHON_MIN = (3, 11)
DISK_FAIL_BYTES = 512 * 1024**2  # a database, its log, and a provider or two
DISK_WARN_BYTES = 4 * 1024**3
OPEN_FILES_WARN = 1024  # one a held agent, one a database connection
TERRAFORM_MIN = (1, 4)  # terraform_data, which the example uses
TERRAFORM_SECONDS = 20.0
MODULES = ("reconciler", "provisionerd", "agentgw", "agentsdk")


async def look_at_machine(environ: Mapping[str, str], directory: Path) -> list[Finding]:
    """Everything that can be seen without a control plane."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [
        judge_python(sys.version_info[:3]),
        _modules(),
        await _terraform(environ),
        judge_disk(directory, shutil.disk_usage(directory).free),
        _ports(),
        judge_open_files(soft),
    ]


def judge_python(version: Sequence[int]) -> Finding:
    """Whether the interpreter is new enough."""
    text = ".".join(str(part) for part in version)
    if tuple(version[:2]) >= PYTHON_MIN:
        machine = f"{platform.system()} {platform.machine()}"
        return Finding(name="python", verdict=Verdict.OK, message=f"{text} on {machine}")
    return Finding(
        name="python",
        verdict=Verdict.FAIL,
        message=f"{text} is too old",
        fix=f"use Python {'.'.join(map(str, PYTHON_MIN))} or newer: make PYTHON=python3.12 setup",
    )


def judge_disk(directory: Path, free_bytes: int) -> Finding:
    """Whether there is room for a database and workspaces."""
    message = f"{free_bytes / 1024**3:.1f} GiB free in {directory}"
    if free_bytes >= DISK_WARN_BYTES:
        return Finding(name="disk", verdict=Verdict.OK, message=message)
    return Finding(
        name="disk",
        verdict=Verdict.FAIL if free_bytes < DISK_FAIL_BYTES else Verdict.WARN,
        message=message,
        fix="free some space, or choose another place with --dir",
    )


def judge_open_files(soft_limit: int) -> Finding:
    """Whether a process may hold enough connections; -1 is no limit."""
    message = "unlimited" if soft_limit == resource.RLIM_INFINITY else f"{soft_limit:,} a process"
    if soft_limit == resource.RLIM_INFINITY or soft_limit >= OPEN_FILES_WARN:
        return Finding(name="open files", verdict=Verdict.OK, message=message)
    return Finding(
        name="open files",
        verdict=Verdict.WARN,
        message=message,
        fix="raise it before `warmpool up`: ulimit -n 65536",
    )


def judge_terraform_version(path: Path, version: str) -> Finding:
    """Whether the binary is new enough for the examples."""
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= TERRAFORM_MIN:
        return Finding(name="terraform", verdict=Verdict.OK, message=f"{version} ({path})")
    return Finding(
        name="terraform",
        verdict=Verdict.WARN,
        message=f"{version or 'of unknown version'} ({path})",
        fix=f"install terraform or tofu {'.'.join(map(str, TERRAFORM_MIN))} or newer",
    )


def _modules() -> Finding:
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding(name="services", verdict=Verdict.OK, message=", ".join(MODULES))
    return Finding(
        name="services",
        verdict=Verdict.WARN,
        message=f"not installed: {', '.join(missing)}; only a control plane elsewhere can be used",
        fix="install them, in a checkout with: make setup",
    )


async def _terraform(environ: Mapping[str, str]) -> Finding:
    try:
        path = find_terraform("", environ)
    except UsageInvalid as error:
        return Finding(name="terraform", verdict=Verdict.WARN, message=error.cause, fix=error.fix)
    if path is None:
        return Finding(
            name="terraform",
            verdict=Verdict.WARN,
            message="neither terraform nor tofu is on PATH; process templates work without",
            fix="install terraform or tofu to build terraform templates on this machine",
        )
    return judge_terraform_version(path, await _version_of(path))


async def _version_of(path: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        path,
        "version",
        "-json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},  # asks nobody, and leaves no file
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(TERRAFORM_SECONDS):
            answer, _ = await process.communicate()
        return str(cast("dict[str, object]", json.loads(answer)).get("terraform_version", ""))
    except (TimeoutError, ValueError):
        return ""
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _ports() -> Finding:
    try:
        port = find_free_port()
    except OSError as error:
        return Finding(
            name="ports",
            verdict=Verdict.FAIL,
            message=f"no port can be opened on 127.0.0.1: {error}",
            fix="allow processes to listen on the loopback interface",
        )
    return Finding(
        name="ports", verdict=Verdict.OK, message=f"127.0.0.1 can be listened on, e.g. {port}"
    )
