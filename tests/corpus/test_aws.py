"""The AWS template on a cloud of this machine: `make corpus` installs the cloud, moto.

With the real provider where it is at hand: where Terraform looks for providers, or in the directory
that AWS_PROVIDER_DIR names. Without it a stub takes its place, and the run says so: then the cloud
is asked by its own client alone.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from testkit.stubs.cloud import aws_environment, find_provider, list_places, serve_aws
from testkit.stubs.runner import live

pytestmark = [pytest.mark.corpus, pytest.mark.terraform, pytest.mark.timeout(3600)]

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("AWS_PYTHON") or "/nowhere").absolute()


@pytest.fixture
def url(tmp_path: Path) -> Generator[str]:
    assert PYTHON.exists(), "AWS_PYTHON names no interpreter with moto; run make corpus"
    with serve_aws(PYTHON, tmp_path) as url:
        yield url


def test_the_cloud_makes_stops_and_ends_machines(url: str) -> None:
    ran = subprocess.run(
        [str(PYTHON), str(HERE / "aws_machines.py"), url],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["running", "stopped", "running", "terminated"]


async def test_the_aws_template_lives_from_import_to_delete(url: str, tmp_path: Path) -> None:
    mirror = find_provider(list_places(os.environ), tmp_path / "mirror")
    with_what = (
        "a stub: terraform-provider-aws is not at hand" if mirror is None else "the real one"
    )
    print(f"\nthe provider of the AWS template is {with_what}")
    work = tmp_path / "work"
    work.mkdir()
    life = await live(
        HERE / "templates" / "aws",
        work,
        environment=aws_environment(url),
        real={} if mirror is None else {"aws": mirror},
    )
    assert (life.failed_step, life.error) == ("", "")
    machines = {
        step: [
            str(each.attributes["id"]) for each in tfstate.managed if each.type == "aws_instance"
        ]
        for step, tfstate in life.tfstates.items()
    }
    # the machine that the claimant got is the one that was warm, and outlived a stop
    (warm,) = machines["create"]
    assert machines == {
        "create": [warm],
        "claim": [warm],
        "start": [warm],
        "stop": [warm],
        "delete": [],
    }
    assert life.claimed.replacements == life.rehearsed == ()
    print(" ".join(f"{name} {ms:.0f}" for name, ms in life.steps_ms.items()), "ms")
