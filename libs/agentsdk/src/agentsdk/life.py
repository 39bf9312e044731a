"""One run of an agent: start, wait for the claim, start again under the new owner, shut down.

The agent waits for the claim from its first moment, beside everything else. When the claim comes it
takes the new owner's manifest first, so that a manifest that cannot be had leaves the workspace as
it was; then it ends what is starting, runs the old owner's stop scripts, and the new owner's start
scripts. A start script that fails makes the claim FAILED and the lifecycle an error, as it would in
any workspace; the agent runs under its new owner all the same.

A claim is applied once: a manifest says which claim it belongs to, so an agent that was started
with the claim's own manifest has nothing to restart, and the memory file tells an agent that was
restarted in between how far it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentsdk.backoff import Backoffs
from agentsdk.core import PACES, Pace, ReinitEvent, ReinitSettled
from agentsdk.errors import CallFailed
from agentsdk.gateway import AckPhase, Gateway, Lifecycle
from agentsdk.manifest import Manifest
from agentsdk.memory import ClaimProgress, ClaimRecord, MemoryFile
from agentsdk.reinit import ReinitWaiter
from agentsdk.reports import AgentCallbacks, Reports
from agentsdk.script_logs import ScriptLogs
from agentsdk.scripts import ScriptFailure, ScriptRunner
from agentsdk.settings import AgentSettings
from agentsdk.surroundings import Surroundings

__all__ = ["Life", "is_duplicate", "is_unfinished"]

_LIVENESS_SECONDS = 30.0  # if the gateway names no interval
_LIVENESS_SECONDS_MAX = 300.0
_STOP_SCRIPTS_SHARE = 0.4  # of the time for an orderly end
_LAST_REPORTS_SHARE = 0.2


class Life:
    """Everything that lives as long as one call of `Agent.run`. `group` is its tasks' parent."""

    def __init__(
        self,
        gateway: Gateway,
        group: asyncio.TaskGroup,
        settings: AgentSettings,
        callbacks: AgentCallbacks,
        surroundings: Surroundings,
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._callbacks = callbacks
        self._surroundings = surroundings
        self._clock = surroundings.clock
        self._limits = surroundings.limits
        self._log = surroundings.log
        self._memory = MemoryFile(settings.directory, settings.token.fingerprint)
        self._claim = self._earlier_claim = self._memory.load()
        self._is_applying = False
        self._manifest: Manifest | None = None
        self._starting: asyncio.Task[tuple[ScriptFailure, ...]] | None = None
        self._waiter = ReinitWaiter(gateway, surroundings, callbacks)
        self._reports = Reports(gateway, callbacks, surroundings)
        self._logs = ScriptLogs(gateway, settings.token, surroundings)
        self._scripts = ScriptRunner(
            group,
            self._logs,
            directory=settings.directory,
            inherited_env=settings.script_env,
            surroundings=surroundings,
        )
        self._background = (
            group.create_task(self._reports.run()),
            group.create_task(self._logs.run()),
        )

    async def run(self) -> None:
        """Until cancelled; then no script is running any more."""
        async with asyncio.TaskGroup() as group:
            self._starting = group.create_task(self._start_first())
            group.create_task(self._watch_claim(group))
            group.create_task(self._show_liveness())

    async def shut_down(self) -> None:
        """After `run` was cancelled: stop scripts, last reports. Bounded."""
        total_seconds = self._settings.shutdown_seconds
        self._reports.say(Lifecycle.SHUTTING_DOWN)
        try:
            async with asyncio.timeout(_STOP_SCRIPTS_SHARE * total_seconds):
                await self._run_stop_scripts()
        except TimeoutError:
            self._log.warning("The stop scripts took too long and were ended.")
        await self._scripts.end_left_behind()
        self._reports.say(Lifecycle.OFF)
        try:
            async with asyncio.timeout(_LAST_REPORTS_SHARE * total_seconds):
                await self._reports.drain()
                await self._logs.drain()
        except TimeoutError:
            self._log.warning("The last reports could not be delivered in time.")

    def close(self) -> None:
        """Ends the tasks in the group."""
        self._scripts.close()
        for task in self._background:
            task.cancel()

    # --- Starting --------------------------------------------------------------------------

    async def _start_first(self) -> tuple[ScriptFailure, ...]:
        manifest = await self._get_manifest(is_first=True)
        failures = await self._start(manifest)
        if is_unfinished(self._earlier_claim, manifest) and not self._is_applying:
            claim = self._earlier_claim
            await self._settle(claim.claim_id, claim.owner_id, failures)
        return failures

    async def _start(self, manifest: Manifest) -> tuple[ScriptFailure, ...]:
        self._manifest = manifest
        self._reports.say(Lifecycle.STARTING)
        scripts = [script for script in manifest.scripts if script.run_on_start]
        failures = await self._scripts.run_all(manifest, scripts)
        if not failures:
            self._reports.say(Lifecycle.READY)
        elif all(failure.is_timeout for failure in failures):
            self._reports.say(Lifecycle.START_TIMEOUT, _describe(failures))
        else:
            self._reports.say(Lifecycle.START_ERROR, _describe(failures))
        return failures

    async def _run_stop_scripts(self) -> None:
        if self._manifest is None:
            return
        scripts = [script for script in self._manifest.scripts if script.run_on_stop]
        for failure in await self._scripts.run_all(self._manifest, scripts):
            self._log.warning("A stop script failed.", error=str(failure))

    async def _get_manifest(self, *, is_first: bool = False) -> Manifest:
        """Asks until it is given. At first the build that made our token may not be committed."""
        backoffs = self._backoffs()
        complained_at = -self._limits.complain_seconds
        while True:
            try:
                return await self._gateway.get_manifest()
            except CallFailed as failure:
                if self._clock.monotonic() - complained_at >= self._limits.complain_seconds:
                    complained_at = self._clock.monotonic()
                    self._log.warning("There is no manifest yet; asking on.", error=str(failure))
                pace = PACES.get(failure.code, Pace.SLOW)
                if is_first and failure.code == "UNAUTHENTICATED":
                    pace = Pace.FAST
                asked = min(failure.retry_after_seconds or 0, self._limits.retry_after_seconds_max)
                await self._clock.sleep(asked + backoffs.next(pace))

    # --- The claim -------------------------------------------------------------------------

    async def _watch_claim(self, group: asyncio.TaskGroup) -> None:
        while True:
            outcome = await self._waiter.wait(self._claim.applied_claim_id)
            match outcome:
                case ReinitSettled():
                    reason = outcome.reason
                    break
                case ReinitEvent():
                    self._is_applying = True
                    is_settled = await self._apply(outcome, group)
                    self._is_applying = False
                    if is_settled:
                        reason = "APPLIED"
                        break
                    await self._waiter.pause(Pace.SLOW)
        self._log.info("No claim will come any more.", reason=reason)
        self._waiter.streamless.set()
        self._callbacks.asking_ended(reason)

    async def _apply(self, event: ReinitEvent, group: asyncio.TaskGroup) -> bool:
        """Restarts under the new owner. Returns False if the event must be delivered again."""
        self._log.info(
            "The workspace was claimed.",
            claim_id=event.claim_id,
            owner_id=event.owner_id,
            reason=event.reason,
        )
        if is_duplicate(event, self._claim):
            await self._settle(event.claim_id, event.owner_id, ())
            return True
        await self._remember(event.claim_id, event.owner_id, ClaimProgress.APPLYING)
        self._reports.acknowledge(event.claim_id, AckPhase.APPLYING)
        if not self._runs_for(event):
            manifest = await self._get_manifest_of(event)
            if (
                manifest is None
            ):  # to say that it failed would end the claim, and nobody be told again
                self._log.warning(
                    "The manifest does not belong to the claim; asking again.",
                    claim_id=event.claim_id,
                )
                return False
            if not self._runs_for(event):  # the first start may have got it in the meantime
                await self._end_starting()
                await self._run_stop_scripts()
                self._starting = group.create_task(self._start(manifest))
        assert self._starting is not None
        failures = await self._starting
        await self._settle(event.claim_id, event.owner_id, failures)
        return True

    def _runs_for(self, event: ReinitEvent) -> bool:
        return self._manifest is not None and self._manifest.claim_id == event.claim_id

    async def _get_manifest_of(self, event: ReinitEvent) -> Manifest | None:
        """The claim's manifest; None if the gateway keeps giving another one."""
        backoffs = self._backoffs()
        started_at = self._clock.monotonic()
        while True:
            manifest = await self._get_manifest()
            if manifest.claim_id == event.claim_id:
                return manifest
            if self._clock.monotonic() - started_at >= self._limits.outdated_manifest_seconds:
                return None
            await self._clock.sleep(backoffs.next(Pace.FAST))

    async def _end_starting(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})

    async def _settle(
        self, claim_id: str, owner_id: str, failures: Sequence[ScriptFailure]
    ) -> None:
        """The claim is applied or failed: remembered first, then acknowledged."""
        if failures:
            await self._remember(claim_id, owner_id, ClaimProgress.FAILED)
            self._reports.acknowledge(claim_id, AckPhase.FAILED, _describe(failures))
        else:
            await self._remember(claim_id, owner_id, ClaimProgress.APPLIED)
            self._reports.acknowledge(claim_id, AckPhase.APPLIED)

    async def _remember(self, claim_id: str, owner_id: str, progress: ClaimProgress) -> None:
        self._claim = ClaimRecord(claim_id=claim_id, owner_id=owner_id, progress=progress)
        try:
            await asyncio.to_thread(self._memory.save, self._claim)
        except OSError as error:
            self._log.warning(
                "The claim cannot be remembered over a restart.",
                path=str(self._memory.path),
                error=str(error),
            )

    # --- What the gateway hears ------------------------------------------------------------

    async def _show_liveness(self) -> None:
        backoffs = self._backoffs()
        while True:
            await self._waiter.streamless.wait()
            try:
                seconds = await self._gateway.report_liveness() or _LIVENESS_SECONDS
                backoffs.reset()
                # Early enough to arrive in time, and not all agents at once.
                jitter = 0.75 + 0.2 * self._surroundings.entropy.random()
                wait_seconds = min(seconds, _LIVENESS_SECONDS_MAX) * jitter
            except CallFailed as failure:
                wait_seconds = backoffs.next(PACES.get(failure.code, Pace.SLOW))
            await self._clock.sleep(max(wait_seconds, 0.01))

    def _backoffs(self) -> Backoffs:
        return Backoffs(self._limits, self._surroundings.entropy)


def is_duplicate(event: ReinitEvent, claim: ClaimRecord) -> bool:
    """True if the agent already runs under what the event announces."""
    return claim.progress is ClaimProgress.APPLIED and (
        event.claim_id == claim.claim_id or event.owner_id == claim.owner_id
    )


def is_unfinished(earlier_claim: ClaimRecord, manifest: Manifest) -> bool:
    """True if the run before this one was told of the claim this manifest belongs to, and did not
    get to its end: then it need not be told again.
    """
    return (
        bool(manifest.claim_id)
        and earlier_claim.claim_id == manifest.claim_id
        and earlier_claim.progress is not ClaimProgress.APPLIED
    )


def _describe(failures: Sequence[ScriptFailure]) -> str:
    return "; ".join(str(failure) for failure in failures)
