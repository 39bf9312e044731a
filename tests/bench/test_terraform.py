"""What a claim build costs beside the bare `terraform apply` of the same change.

Both start from the same tfstate, get the same new owner, and talk to a provider served the same
way, turn by turn, so that a noisy machine troubles both alike. Then the same claims side by side.
Prints a table and writes bench-results/terraform.json; asserts no time.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import perf_counter

import pytest

from provisionerd.core.provisioner import Build, Cancel, Job, Owner, Stage, Transition
from provisionerd.terraform import TerraformProvisioner, TerraformSettings, find_terraform
from provisionerd.terraform.context import build_context
from provisionerd.terraform.tfstate import read_tfstate
from provisionerd.tfprovider import serve_provider

pytestmark = [
    pytest.mark.bench,
    pytest.mark.terraform,
    pytest.mark.skipif(
        not (shutil.which("terraform") or shutil.which("tofu")),
        reason="neither terraform nor tofu is on PATH",
    ),
]

ROUNDS = 11
EXAMPLE = Path(__file__).parents[2] / "examples" / "terraform"
RESULTS = Path(__file__).parents[2] / "bench-results"
CREATE = Build(
    build_id="00000000-0000-0000-0000-000000000001",
    workspace_id="00000000-0000-0000-0000-000000000002",
    workspace_name="pool-1",
    transition=Transition.START,
    stage=Stage.CREATE,
    owner=Owner(id="00000000-0000-0000-0000-000000000005", username="pool"),
    organization_name="default",
    template_id="00000000-0000-0000-0000-000000000003",
    template_name="example",
    template_version_id="00000000-0000-0000-0000-000000000004",
    template_version_name="v1",
    access_url="http://127.0.0.1:7080",
)
CLAIM = replace(
    CREATE,
    stage=Stage.CLAIM,
    workspace_name="adas",
    owner=Owner(id="00000000-0000-0000-0000-000000000006", username="ada", full_name="Ada L."),
)


class Bench:
    """A created workspace, and two ways to claim it again and again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count(1)
        self._environment = {
            **os.environ,
            "WARMPOOL_AGENT_COMMAND": "sleep 600",
            "WARMPOOL_WORKSPACES_DIR": str(directory / "workspaces"),
        }
        self._provisioner = TerraformProvisioner(
            TerraformSettings(cache_dir=directory / "cache"), environment=self._environment
        )
        self._kept: bytes = b""
        self.created: bytes = b""

    async def build(self, build: Build, tfstate: bytes | None) -> bytes:
        """One build; returns the tfstate it left."""
        work_dir = self._directory / f"job-{next(self._numbers)}"
        work_dir.mkdir(mode=0o700)
        kept: list[bytes] = [tfstate or b""]

        async def keep(newer: bytes) -> None:
            kept.append(newer)

        await self._provisioner.build(
            Job(
                job_id=work_dir.name,
                template_dir=EXAMPLE,
                work_dir=work_dir,
                log=lambda level, stage, text: None,
                cancel=Cancel(),
                state=tfstate,
                keep_state=keep,
            ),
            build,
        )
        shutil.rmtree(work_dir)
        return kept[-1]

    async def claim(self) -> None:
        """A claim as the product does it."""
        await self.build(CLAIM, self.created)

    async def bare_claim(self) -> None:
        """The same change by a bare `terraform apply`; only that command is timed by the caller
        together with serving the provider and writing the tfstate.
        """
        work_dir = self._directory / f"bare-{next(self._numbers)}"
        shutil.copytree(EXAMPLE, work_dir)
        (work_dir / "terraform.tfstate").write_bytes(self.created)
        cli_config_file = work_dir / "empty.tfrc"
        cli_config_file.touch()
        context = build_context(CLAIM, read_tfstate(self.created))
        async with serve_provider(context, work_dir / "socket") as reattach:
            process = await asyncio.create_subprocess_exec(
                str(find_terraform()),
                *("apply", "-input=false", "-no-color", "-auto-approve"),
                cwd=work_dir,
                env={
                    **self._environment,
                    **reattach.env,
                    "TF_CLI_CONFIG_FILE": str(cli_config_file),
                    "CHECKPOINT_DISABLE": "1",
                },
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            assert await process.wait() == 0
        shutil.rmtree(work_dir)


@asynccontextmanager
async def _a_bench(directory: Path) -> AsyncGenerator[Bench]:
    bench = Bench(directory)
    bench.created = await bench.build(CREATE, None)
    try:
        yield bench
    finally:
        await bench.build(replace(CREATE, transition=Transition.DELETE), bench.created)


async def _time(act: Callable[[], Awaitable[None]]) -> float:
    started = perf_counter()
    await act()
    return (perf_counter() - started) * 1000


async def test_claim_beside_bare_apply_and_in_parallel(tmp_path: Path) -> None:
    async with _a_bench(tmp_path) as bench:
        await bench.claim()  # warm: files cached, code compiled
        bare: list[float] = []
        ours: list[float] = []
        for _ in range(ROUNDS):
            bare.append(await _time(bench.bare_claim))
            ours.append(await _time(bench.claim))
        parallel = [await _run_parallel(bench, width) for width in (1, 2, 4)]

    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"\n{'':24}{'median ms':>10}{'min ms':>10}{'max ms':>10}")
    for name, figures in (("bare terraform apply", bare), ("claim build", ours)):
        middle = statistics.median(figures)
        print(f"{name:24}{middle:10.0f}{min(figures):10.0f}{max(figures):10.0f}")
    print(f"{'ratio of medians':24}{ratio:10.2f}")
    print(f"\n{'claims in parallel':24}{'claims/s':>10}{'median ms':>10}")
    for row in parallel:
        print(f"{row['width']:<24.0f}{row['claims_per_second']:10.1f}{row['median_ms']:10.0f}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "terraform.json").write_text(
        json.dumps(
            {"bare_apply_ms": bare, "claim_build_ms": ours, "ratio": ratio, "parallel": parallel},
            indent=2,
        )
    )


async def _run_parallel(bench: Bench, width: int) -> dict[str, float]:
    figures: list[float] = []

    async def one_after_another() -> None:
        for _ in range(ROUNDS // 2):
            figures.append(await _time(bench.claim))  # noqa: PERF401 - each waits for the last

    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(one_after_another())
    return {
        "width": float(width),
        "claims_per_second": len(figures) / (perf_counter() - started),
        "median_ms": statistics.median(figures),
    }
