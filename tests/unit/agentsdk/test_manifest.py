"""Where scripts run, with what, under which interpreter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentsdk.manifest import Manifest, build_script_env, resolve_directory
from agentsdk.scripts import read_interpreter

OWN = Path("/agent")
MANIFEST = Manifest(
    agent_id="a",
    agent_name="main",
    workspace_id="w",
    workspace_name="dev",
    owner_id="o",
    owner_name="alice",
    is_prebuild=False,
)


def test_the_manifest_wins_over_what_the_agent_inherited() -> None:
    manifest = replace(MANIFEST, env={"EDITOR": "vi", "CODER": "maybe"})
    inherited = {"EDITOR": "ed", "CODER_WORKSPACE_NAME": "outer", "HOME": "/home/dev"}
    assert build_script_env(manifest, inherited, "session") == {
        "EDITOR": "vi",
        "HOME": "/home/dev",
        "CODER": "maybe",
        "CODER_WORKSPACE_NAME": "dev",
        "CODER_WORKSPACE_OWNER_NAME": "alice",
        "CODER_WORKSPACE_AGENT_NAME": "main",
        "WARMPOOL_AGENT_SESSION_ID": "session",
    }


@pytest.mark.parametrize(
    ("directory", "resolved"),
    [
        ("", "/agent"),
        ("project", "/agent/project"),
        ("/project", "/project"),
        ("~/project", "/home/dev/project"),
        ("$HOME/project", "/home/dev/project"),
    ],
)
def test_directories(directory: str, resolved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/dev")
    assert resolve_directory(replace(MANIFEST, directory=directory), OWN) == Path(resolved)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("echo", ("/bin/sh",)),
        ("", ("/bin/sh",)),
        ("#!\necho", ("/bin/sh",)),
        ("# !/bin/bash\necho", ("/bin/sh",)),
        ("#!/bin/bash -eu\necho", ("/bin/bash", "-eu")),
        ("#! /usr/bin/env python3\r\nprint()", ("/usr/bin/env", "python3")),
    ],
)
def test_interpreters(text: str, command: tuple[str, ...]) -> None:
    assert read_interpreter(text) == command


def test_an_interpreter_that_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="quotation"):
        read_interpreter("#!/bin/sh '\n")
