"""The Makefile runs where there is nothing but the machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")


def test_an_environment_without_a_path_has_what_a_shell_finds() -> None:
    assert MAKE is not None
    run = subprocess.run(
        [MAKE, "--no-print-directory", "--eval=seen: ; @env", "seen"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr
    [path] = [line for line in run.stdout.splitlines() if line.startswith("PATH=")]
    assert {"/usr/local/bin", "/usr/bin", "/bin"} <= set(path.removeprefix("PATH=").split(":"))
