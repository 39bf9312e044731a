"""The Dockerfile, as far as it can be tried without an engine."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SERVICES = ("reconciler", "agentgw", "provisionerd")


def _instructions() -> list[tuple[str, str]]:
    """Word and rest of each, continuation lines joined, comments left out."""
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return [(word, rest.strip()) for word, _, rest in pairs]


def _stages() -> dict[str, list[tuple[str, str]]]:
    stages: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in _instructions():
        if word == "FROM":
            name = rest.rpartition(" AS ")[2]
            stages[name] = []
        if name:
            stages[name].append((word, rest))
    return stages


def test_hadolint_has_nothing_to_say() -> None:
    tool = Path(sysconfig.get_path("scripts")) / "hadolint"
    run = subprocess.run(
        [tool, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    sources = [
        source
        for word, rest in _instructions()
        if word == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in let_in, source


def test_every_stage_that_is_named_exists_before() -> None:
    seen: set[str] = set()
    for name, instructions in _stages().items():
        for word, rest in instructions:
            if word == "COPY" and (stage := re.search(r"--from=(\S+)", rest)):
                assert stage[1] in seen
        seen.add(name)


def test_each_image_has_what_its_entry_point_imports() -> None:
    """Every member that a service's own depends on is built into a wheel before."""
    built = set(re.findall(r'"\./((?:libs|services)/\w+)"', DOCKERFILE.read_text("utf-8")))
    names: dict[str, tuple[str, dict[str, Any]]] = {}
    for member in ROOT.glob("*/*/pyproject.toml"):
        project = tomllib.loads(member.read_text("utf-8"))["project"]
        names[project["name"]] = (member.parent.relative_to(ROOT).as_posix(), project)
    todo = ["warmpool-reconciler", "warmpool-agentgw", "warmpool-provisionerd", "warmpool-agentsdk"]
    needed: set[str] = set()
    while todo:
        folder, project = names[todo.pop()]
        needed.add(folder)
        todo += [d for d in project.get("dependencies", []) if d in names]
    assert built == needed


@pytest.mark.parametrize("target", [*SERVICES, "agent"])
def test_an_image_runs_its_service_as_nobody_in_particular(target: str) -> None:
    stages = _stages()
    instructions = stages[target]
    base = instructions[0][1].split(" AS ")[0]
    instructions = [*stages.get(base, []), *instructions]
    users = [rest for word, rest in instructions if word == "USER"]
    [entry] = [json.loads(rest) for word, rest in instructions if word == "ENTRYPOINT"]

    assert users[-1] == ("1000:1000" if target == "agent" else "65532:65532")
    assert entry[-2:] == ["-m", "agentsdk" if target == "agent" else target]
    assert not [rest for word, rest in instructions if word == "FROM" and ":latest" in rest]


def test_the_control_plane_and_the_gateway_have_no_shell() -> None:
    stages = _stages()
    for target in ("reconciler", "agentgw"):
        assert stages[target][0][1].startswith("distroless AS")
        assert "RUN" not in [word for word, _ in stages[target]]
    assert "distroless/python3" in stages["distroless"][0][1]


def test_the_builders_python_is_the_images() -> None:
    """Wheels are for one minor version: Debian 12's, in distroless."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert "\nARG PYTHON=3.11\n" in text
    assert "python3-debian12" in text
