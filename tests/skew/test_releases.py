"""Which release today's code is held against, and what happens where it is not to be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from testkit.releases import ROOT, Release, ReleaseMissing, check_out, compare_pins, read_previous

pytestmark = pytest.mark.skew

TABLE = Path(__file__).with_name("releases.toml")


def test_the_previous_release_is_the_newest_of_the_table() -> None:
    release = read_previous(TABLE)
    assert f"## [{release.version}]" in (ROOT / "CHANGELOG.md").read_text()
    assert len(release.commit) == 40


def test_a_tag_and_the_table_name_the_same_commit() -> None:
    release = read_previous(TABLE)
    tagged = subprocess.run(
        ("git", "rev-list", "-n", "1", f"v{release.version}"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tagged.returncode != 0 or tagged.stdout.strip() == release.commit


def test_without_a_tag_the_commit_is_taken(tmp_path: Path) -> None:
    code = check_out(Release(version="0.0.0", commit=read_previous(TABLE).commit), tmp_path)
    assert (tmp_path / "services/reconciler/src/reconciler/__main__.py").is_file()
    assert code.python_path.split(":")[0] == str(tmp_path / "versions")


def test_a_history_that_does_not_reach_back_is_an_error_that_says_what_to_do(
    tmp_path: Path,
) -> None:
    subprocess.run(("git", "init", "--quiet", tmp_path), check=True)
    release = read_previous(TABLE)
    missing = f"neither a tag v{release.version} nor the commit .* --tags"
    with pytest.raises(ReleaseMissing, match=missing):
        check_out(release, tmp_path / "out", repository=tmp_path)


def test_packages_of_another_major_version_are_told() -> None:
    old = "grpcio==1.85.1 \\\n    --hash=sha256:a\nrich==14.0\nuvicorn[standard]==2.0 ; x\n"
    new = "grpcio==1.90.0\nrich==15.0\nother==1.0\n"
    assert compare_pins(old, new) == {"rich": ("14", "15"), "uvicorn": ("2", None)}
