"""A provisioner that makes nothing: a test writes what it says, keeps, returns and waits for.

It obeys as a provisioner must: `cancel` and cancellation end it, a tfstate goes to `keep_state`.
Every call it gets is recorded with what it was given.

It is not in the conformance suite's HARNESSES, for what that asks of a provisioner, to read a
template and to start, keep and end agents, is what this one leaves out. What it shares with the
others is what the job loop relies on, and the tests of the job loop hold it to that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from provisionerd.core.errors import ProvisionCanceled
from provisionerd.core.provisioner import (
    Build,
    BuildResult,
    DryRun,
    ImportResult,
    Job,
    Replacement,
)

__all__ = ["FakeCall", "FakeProvisioner"]


@dataclass(slots=True, kw_only=True)
class FakeCall:
    """One call it got. `proceed` lets a held one go on; `how_ended` is "returned", "raised",
    "graceful", "forced" or "task".
    """

    job: Job
    template: dict[str, str]
    build: Build | None = None
    parameters: dict[str, str] | None = None
    proceed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    how_ended: str = ""


class FakeProvisioner:
    """Implements `Provisioner` under the name "fake".

    `act` is run in every build, import and dry run, before the call returns `result`, `imported`
    or `resources`; with `is_held` a call waits for its `proceed` first. `is_stubborn` ignores the
    graceful cancel.
    """

    def __init__(self) -> None:
        self.calls: list[FakeCall] = []
        self.arrivals: asyncio.Queue[FakeCall] = asyncio.Queue()
        self.is_held = False
        self.is_stubborn = False
        self.result = BuildResult()
        self.imported = ImportResult()
        self.resources: tuple[str, ...] = ()
        self.act: Callable[[Job], Awaitable[None]] = _do_nothing

    @property
    def type(self) -> str:
        """The name templates are pushed with."""
        return "fake"

    async def import_template(self, job: Job) -> ImportResult:
        """Returns `imported`."""
        await self._live(FakeCall(job=job, template=await _read(job)))
        return self.imported

    async def dry_run(self, job: Job, parameters: dict[str, str]) -> DryRun:
        """Returns `resources`."""
        await self._live(FakeCall(job=job, template=await _read(job), parameters=parameters))
        return DryRun(resources=self.resources)

    async def rehearse(self, job: Job, build: Build) -> tuple[Replacement, ...]:
        """Returns what `result` says was replaced."""
        await self._live(FakeCall(job=job, template=await _read(job), build=build))
        return self.result.replacements

    async def build(self, job: Job, build: Build) -> BuildResult:
        """Returns `result`."""
        await self._live(FakeCall(job=job, template=await _read(job), build=build))
        return self.result

    async def _live(self, call: FakeCall) -> None:
        self.calls.append(call)
        self.arrivals.put_nowait(call)
        try:
            await self.act(call.job)
            if self.is_held:
                await self._wait(call)
            call.how_ended = "returned"
        except asyncio.CancelledError:
            call.how_ended = "task"
            raise
        except Exception:
            call.how_ended = call.how_ended or "raised"
            raise
        finally:
            call.ended.set()

    async def _wait(self, call: FakeCall) -> None:
        cancel = call.job.cancel
        events = {"returned": call.proceed, "forced": cancel.forced}
        if not self.is_stubborn:
            events["graceful"] = cancel.graceful
        tasks = {
            name: asyncio.get_running_loop().create_task(event.wait())
            for name, event in events.items()
        }
        try:
            await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks.values():
                task.cancel()
        for name in ("forced", "graceful"):
            if name in events and events[name].is_set():
                call.how_ended = name
                raise ProvisionCanceled


async def _do_nothing(job: Job) -> None:
    del job


async def _read(job: Job) -> dict[str, str]:
    return await asyncio.to_thread(
        lambda: {
            str(path.relative_to(job.template_dir)): path.read_text(encoding="utf-8")
            for path in sorted(job.template_dir.rglob("*"))
            if path.is_file()
        }
    )
