"""What a claim build costs beside the bare `terraform apply` of the same change.

Both start from the same tfstate, get the same new owner, and talk to a provider served the same
way, turn by turn, so that a noisy machine troubles both alike. Then the same claims side by side.
Last, claims of the whole system (reconciler, worker, gateway, agents), from the request to the
acknowledgement, turn by turn with the bare apply: with the pool at rest, and while it refills.
Prints tables and writes bench-results/terraform*.json; asserts no time.
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
from testkit.builds import START
from testkit.system import RunningSystem, run_system
from warmpool.control.v1.pools_pb2 import SetPoolPausedRequest
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool.control.v1.workspaces_pb2 import Claim, CreateWorkspaceRequest
from warmpool_cli.archive import pack_template
from warmpool_cli.flows.pushing import follow_import, upload_template

pytestmark = [
    pytest.mark.bench,
    pytest.mark.terraform,
]

ROUNDS = 11
SYSTEM_ROUNDS = int(os.environ.get("WARMPOOL_BENCH_CLAIMS") or 8)
PATIENCE_SECONDS = 120.0
EXAMPLE = Path(__file__).parents[2] / "examples" / "terraform"
RESULTS = Path(__file__).parents[2] / "bench-results"
CREATE = replace(
    START,
    stage=Stage.CREATE,
    workspace_name="pool-1",
    owner=replace(START.owner, username="pool"),
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
        directory.mkdir(exist_ok=True)
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


STEPS = ("claimed", "built", "delivered", "applied")


async def test_claim_to_acknowledgement_beside_bare_apply(tmp_path: Path) -> None:
    binary = str(find_terraform())
    provisionerd = {
        "WARMPOOL_PROVISIONERD_PROVISIONERS": "terraform,process",
        "WARMPOOL_PROVISIONERD_TERRAFORM_PATH": binary,
    }
    bare: list[float] = []
    async with (
        _a_bench(tmp_path / "bare") as bench,
        run_system(tmp_path / "system", {"provisionerd": provisionerd}, pauses={}) as system,
    ):
        await _push_example(system, tmp_path / "template")
        lines = {
            "pool at rest": await _claim_in_turn(system, bench, bare, refills=False),
            "pool refills meanwhile": await _claim_in_turn(system, bench, bare, refills=True),
        }

    middle = statistics.median(bare)
    print(f"\n{'':32}{'median ms':>10}{'min ms':>10}{'max ms':>10}{'of bare':>10}")
    print(f"{'bare terraform apply':32}{middle:10.0f}{min(bare):10.0f}{max(bare):10.0f}")
    for line, claims in lines.items():
        for step in STEPS:
            figures = [claim[step] for claim in claims]
            row = f"{line}: {step}"
            ratio = statistics.median(figures) / middle
            print(
                f"{row:32}{statistics.median(figures):10.0f}{min(figures):10.0f}"
                f"{max(figures):10.0f}{ratio:10.2f}"
            )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "terraform-system.json").write_text(
        json.dumps({"bare_apply_ms": bare, "claims_ms": lines}, indent=2)
    )


async def _push_example(system: RunningSystem, directory: Path) -> None:
    """The example with a pool that is large enough for one line of claims."""
    shutil.copytree(EXAMPLE, directory)
    file = directory / "main.tf"
    file.write_text(file.read_text().replace("instances = 2", f"instances = {SYSTEM_ROUNDS + 1}"))
    header = PushTemplateHeader(template="example", provisioner_type="terraform", promote=True)
    archive = pack_template(directory).content
    pushed = await upload_template(system.client, header, archive, lambda _sent: None)
    await follow_import(system.client, pushed.version, lambda _line: None)


async def _claim_in_turn(
    system: RunningSystem, bench: Bench, bare: list[float], *, refills: bool
) -> list[dict[str, float]]:
    """Claims, one after the other, each after a bare apply; the first of them is not counted."""
    claims: list[dict[str, float]] = []
    await _pause(system, paused=False)
    await system.wait_warm("example", seconds=PATIENCE_SECONDS)
    await _pause(system, paused=not refills)
    for number in range(SYSTEM_ROUNDS + 1):
        bare_ms = await _time(bench.bare_claim)
        request = CreateWorkspaceRequest(template="example", preset="Standard")
        answer = await system.client.workspaces.CreateWorkspace(request, timeout=PATIENCE_SECONDS)
        assert answer.warm
        workspace = await system.wait_applied(answer.workspace.id, seconds=PATIENCE_SECONDS)
        assert not workspace.claim.error
        if refills:
            await system.wait_warm("example", seconds=PATIENCE_SECONDS)
        if number:
            bare.append(bare_ms)
            claims.append(_split(workspace.claim))
    return claims


async def _pause(system: RunningSystem, *, paused: bool) -> None:
    request = SetPoolPausedRequest(template="example", paused=paused)
    await system.client.pools.SetPoolPaused(request, timeout=PATIENCE_SECONDS)


def _split(claim: Claim) -> dict[str, float]:
    """Milliseconds from the request to each step."""
    asked = claim.requested_at.ToDatetime()
    reached = {
        "claimed": claim.claimed_at,
        "built": claim.built_at,
        "delivered": claim.delivered_at,
        "applied": claim.applied_at,
    }
    return {step: (at.ToDatetime() - asked).total_seconds() * 1000 for step, at in reached.items()}
