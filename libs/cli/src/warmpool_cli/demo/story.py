"""The main job, shown on a real system: a pool warms, a claim takes milliseconds, a crash of the
gateway in the middle of a claim loses nothing, the pool refills.

Every figure is read from the system; every claim is checked on the disk. What does not come true
raises, so a demonstration that ends well is a test that passed.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc.aio
from rich.padding import Padding

from svckit.system import Clock, new_id
from warmpool.common.v1.types_pb2 import LogLevel, LogLine
from warmpool.control.v1.pools_pb2 import Pool, PoolHealth, WatchPoolsRequest, WatchPoolsResponse
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool.control.v1.workspaces_pb2 import CreateWorkspaceRequest, Workspace
from warmpool_cli.archive import pack_template
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.demo.evidence import wait_for_owner
from warmpool_cli.demo.example import Example
from warmpool_cli.demo.gateway import GatewayCrash
from warmpool_cli.demo.telling import Teller
from warmpool_cli.errors import OperationFailed
from warmpool_cli.flows.beside import together
from warmpool_cli.flows.pushing import follow_import, upload_template
from warmpool_cli.flows.streams import Patience, read_stream
from warmpool_cli.flows.waiting import is_claim_applied, wait_for_workspace
from warmpool_cli.render.tables import unready
from warmpool_cli.render.timeline import build_timeline, timeline_json, timeline_table
from warmpool_cli.render.words import health_word, miss_word

__all__ = ["Gateway", "Story", "tell_story"]

TEMPLATE = "demo"
POOL_SECONDS = 300.0
CLAIM_SECONDS = 120.0


class Gateway(Protocol):
    """What the story does to the gateway."""

    def freeze(self) -> None:
        """SIGSTOP: it says nothing more, and its connections stay open."""
        ...

    def kill(self) -> int:
        """Ends it as a crash would; returns its process id."""
        ...

    async def wait_back(self) -> GatewayCrash:
        """Returns when it serves again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the story is told with."""

    client: Client
    gateway: Gateway
    teller: Teller
    clock: Clock
    workspaces: Path
    """Where the workspaces' directories are."""


async def tell_story(story: Story, example: Example) -> None:
    """Tells it from the first push to the refilled pool; raises OperationFailed if it breaks."""
    teller = story.teller
    teller.chapter(f"Push a template ({example.provisioner_type})")
    await _push(story, example)

    teller.chapter("Watch its pool warm")
    warm_seconds, pool = await _wait_for_pool(story, claimed=0)

    teller.chapter("Claim a prebuilt workspace")
    first = await _claim(story, "first", pool.preset_name)
    first_applied = await _wait_applied(story, first)

    teller.chapter("Claim another, and kill the gateway while the claim is under way")
    async with together() as group:
        refill = group.create_task(_wait_for_pool(story, claimed=2))
        second_applied = await _claim_across_crash(story, pool.preset_name)
    refill_seconds, _ = await refill

    teller.chapter("Summary")
    teller.event(
        "summary",
        f"pool of {pool.desired} warm after {warm_seconds:.1f} s; claim applied after "
        f"{first_applied:,.0f} ms, across a crash of the gateway after {second_applied:,.0f} ms; "
        f"pool full again {refill_seconds:.1f} s after the second claim began",
        pool_desired=pool.desired,
        warm_seconds=round(warm_seconds, 3),
        claim_applied_milliseconds=first_applied,
        claim_across_crash_applied_milliseconds=second_applied,
        refill_seconds=round(refill_seconds, 3),
    )


async def _claim_across_crash(story: Story, preset: str) -> float:
    teller = story.teller
    story.gateway.freeze()  # or a fast claim would be delivered before the signal gets there
    workspace = await _claim(story, "second", preset)
    pid = story.gateway.kill()
    teller.event(
        "gateway_killed",
        f"gateway (process {pid}), frozen since before the claim, got SIGKILL: nobody was told",
        pid=pid,
    )
    crash = await story.gateway.wait_back()
    teller.event(
        "gateway_back",
        f"gateway is back as process {crash.new_pid} at the same address after "
        f"{crash.away_seconds * 1000:,.0f} ms",
        pid=crash.new_pid,
        away_milliseconds=round(crash.away_seconds * 1000, 3),
    )
    milliseconds = await _wait_applied(story, workspace)
    teller.event("claim_survived", "the agent was told all the same")
    return milliseconds


async def _push(story: Story, example: Example) -> None:
    archive = pack_template(example.directory)
    header = PushTemplateHeader(
        template=TEMPLATE, provisioner_type=example.provisioner_type, promote=True, message="demo"
    )
    pushed = await upload_template(story.client, header, archive.content, lambda _sent: None)

    def on_line(line: LogLine) -> None:
        if line.level >= LogLevel.LOG_LEVEL_WARN:
            story.teller.event("import_log", line.text)

    imported = await follow_import(story.client, pushed.version, on_line, _patience(story))
    presets = ", ".join(f"{p.name} (prebuilds: {p.instances})" for p in imported.presets)
    story.teller.event(
        "template_imported",
        f"{example.directory.name}: version {imported.name} imported, presets: {presets or 'none'}",
        version=imported.name,
    )


async def _wait_for_pool(story: Story, *, claimed: int) -> tuple[float, Pool]:
    """Seconds until so many were claimed and everything desired can be, and the pool then."""
    began = story.clock.monotonic()
    said = ""

    def start() -> grpc.aio.UnaryStreamCall[WatchPoolsRequest, WatchPoolsResponse]:
        return story.client.pools.WatchPools(WatchPoolsRequest(template=TEMPLATE))

    changes = read_stream(start, lambda: False, _patience(story))
    try:
        async with asyncio.timeout(POOL_SECONDS), aclosing(changes):
            async for response in changes:
                for pool in (p for p in response.pools if p.active):
                    _refuse_broken(pool)
                    seconds = story.clock.monotonic() - began
                    starting = pool.starting + unready(pool)  # their agents are about to report
                    text = f"{pool.eligible} of {pool.desired} ready, {starting} starting"
                    if text != said:
                        said = text
                        story.teller.event(
                            "pool",
                            f"pool {pool.preset_name}: {text} ({seconds:.1f} s)",
                            desired=pool.desired,
                            ready=pool.eligible,
                            starting=starting,
                            claimed=pool.claimed_total,
                        )
                    if pool.claimed_total >= claimed and pool.eligible >= pool.desired > 0:
                        return seconds, pool
    except TimeoutError:
        said = said or "no pool was seen"
    raise OperationFailed(
        f"the pool is not warm after {POOL_SECONDS:.0f} s: {said}",
        "keep the directory with --keep and look into services/logs",
    )


def _refuse_broken(pool: Pool) -> None:
    if pool.health in (
        PoolHealth.POOL_HEALTH_HARD_LIMITED,
        PoolHealth.POOL_HEALTH_VALIDATION_FAILED,
    ):
        raise OperationFailed(
            f"the pool of {pool.preset_name} is {health_word(pool.health)}: {pool.last_error}",
            "keep the directory with --keep and look into services/logs/provisionerd.log",
        )


async def _claim(story: Story, name: str, preset: str) -> Workspace:
    request = CreateWorkspaceRequest(
        template=TEMPLATE, preset=preset, name=name, request_id=str(new_id())
    )
    answer = await story.client.workspaces.CreateWorkspace(request, timeout=CALL_TIMEOUT_SECONDS)
    if not answer.warm:
        raise OperationFailed(
            f"{name} was built cold ({miss_word(answer.pool_miss)}): {answer.pool_miss_message}",
            "this should not happen: keep the directory with --keep and report it",
        )
    workspace = answer.workspace
    story.teller.event(
        "claimed",
        f"{workspace.owner_name}/{workspace.name} came out of the pool",
        workspace_id=workspace.id,
    )
    return workspace


async def _wait_applied(story: Story, workspace: Workspace) -> float:
    """Milliseconds from the request to the agent's word; the owner is checked on the disk."""
    applied = await wait_for_workspace(
        story.client,
        workspace,
        is_claim_applied,
        timeout_seconds=CLAIM_SECONDS,
        patience=_patience(story),
    )
    steps = build_timeline(applied.claim)
    story.teller.output.draw(Padding(timeline_table(steps), (0, 0, 0, 6)))
    path, text = await wait_for_owner(story.workspaces, applied.id, applied.owner_name, story.clock)
    story.teller.event(
        "applied",
        f'{path.name} in the workspace says "{text}"',
        workspace_id=applied.id,
        timeline=timeline_json(steps),
    )
    return steps[-1].milliseconds or 0.0


def _patience(story: Story) -> Patience:
    return Patience(clock=story.clock)
