"""The `terraform` provisioner: real plan and apply, with the bundled provider served in process.

Promises, beyond those of `provisionerd.core.provisioner`: a template written for Coder runs
unchanged; a build is one `apply`, not a saved plan, so a claim pays for one terraform process;
agents keep id and token at a claim; a template that needs no other provider and no module needs no
`init` and no network. A template's commands see an allow-list of our environment and no token.

Whether a claim that would replace something may go on is the template's own wish (`protection`);
without one it may, and is reported. A template that wishes pays for a plan before its claims.

What is not decided here: how many run at once (the job loop's slots).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from provisionerd.core.errors import ProvisionCanceled, ProvisionError
from provisionerd.core.provisioner import (
    Build,
    BuildResult,
    DryRun,
    ImportResult,
    Job,
    Level,
    LogSink,
    Replacement,
    Stage,
    Transition,
)
from provisionerd.terraform.agents import read_agents, read_resources
from provisionerd.terraform.buildlog import BuildLog
from provisionerd.terraform.context import build_context, plan_context, pool_context
from provisionerd.terraform.events import PlannedChange
from provisionerd.terraform.keeper import SOURCE_DIR, TfstateKeeper
from provisionerd.terraform.mask import Masker
from provisionerd.terraform.protection import (
    SETTINGS_FILE,
    Protection,
    ReplacementPolicy,
    list_replaced,
    read_policy,
)
from provisionerd.terraform.replacements import (
    compare_plans,
    list_replacements,
    read_replacements,
)
from provisionerd.terraform.secrets import SecretReader
from provisionerd.terraform.session import Session, open_session
from provisionerd.terraform.settings import TerraformSettings
from provisionerd.terraform.template import read_template
from provisionerd.terraform.tfstate import Tfstate, list_secrets, read_tfstate
from provisionerd.tfprovider import ProviderContext, serve_provider

__all__ = ["TerraformProvisioner"]

_PLAN = ("plan", "-input=false", "-no-color", "-json")
_AS_IT_WAS = ("-refresh=false",)
_APPLY = ("apply", "-input=false", "-no-color", "-json", "-auto-approve", "-backup=-")
_KEEP_LAST_SECONDS = 30.0


class TerraformProvisioner:
    """Implements `Provisioner` with Terraform or OpenTofu. `environment` is what the allow-list is
    applied to; by default our own.
    """

    def __init__(
        self, settings: TerraformSettings, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._environment = os.environ if environment is None else environment

    @property
    def type(self) -> str:
        """The name templates are pushed with."""
        return "terraform"

    async def import_template(self, job: Job) -> ImportResult:
        """Plans the template with defaults and reads what it asks and offers."""
        await asyncio.to_thread(read_policy, job.template_dir)
        masker = Masker()
        log = BuildLog(job.log, masker)
        async with self._open(job, plan_context({}), log, masker, template_only=True) as session:
            file = job.work_dir / "plan.tfplan"
            await session.run(
                "plan",
                (*_PLAN, f"-out={file}"),
                timeout_seconds=self._settings.plan_timeout_seconds,
            )
            shown = await session.capture("show", ("show", "-no-color", "-json", str(file)))
            result = read_template(shown)
        for preset in result.presets:
            unknown = preset.parameters.keys() - {each.name for each in result.parameters}
            for name in sorted(unknown):  # it may exist only when another has a certain value
                log.say(Level.WARN, f"preset {preset.name!r} sets {name!r}, which is no parameter")
        return result

    async def dry_run(self, job: Job, parameters: dict[str, str]) -> DryRun:
        """Plans with values, once for a person and once for the pool, and compares."""
        resources, theirs = await self._show_plan(job, plan_context(parameters))
        second = replace(job, work_dir=job.work_dir / "pool", log=_quiet(job.log))
        await asyncio.to_thread(second.work_dir.mkdir, mode=0o700)
        try:
            _, ours = await self._show_plan(second, pool_context(parameters))
        except ProvisionCanceled:
            raise
        except ProvisionError as error:
            job.log(Level.WARN, "plan", f"For a prebuild it cannot be planned: {error.message}")
            return DryRun(resources=resources)
        owner_dependent = compare_plans(theirs, ours)
        for each in owner_dependent:
            differs = ", ".join(each.paths) or "it exists for one owner alone"
            job.log(Level.WARN, "plan", f"{each.address}: depends on its owner: {differs}")
        return DryRun(resources=resources, owner_dependent=owner_dependent)

    async def _show_plan(self, job: Job, context: ProviderContext) -> tuple[tuple[str, ...], bytes]:
        """Plans upon nothing: the addresses that would be made, and the plan as JSON."""
        masker = Masker()
        log = BuildLog(job.log, masker)
        file = job.work_dir / "plan.tfplan"
        async with self._open(job, context, log, masker) as session:
            await session.run(
                "plan",
                (*_PLAN, f"-out={file}"),
                timeout_seconds=self._settings.plan_timeout_seconds,
            )
            made = tuple(each.address for each in log.planned if each.action == "create")
            return made, await session.capture("show", ("show", "-no-color", "-json", str(file)))

    async def rehearse(self, job: Job, build: Build) -> tuple[Replacement, ...]:
        """Plans the claim; what forces a replacement is the plan's own word.

        The prebuild may end or be stopped meanwhile: what is gone would be planned anew, as if
        nothing were replaced. Then it is planned once more, as it was when it was last built.
        """
        before = read_tfstate(job.state)
        policy = await asyncio.to_thread(read_policy, job.template_dir)
        if policy is ReplacementPolicy.FAIL:  # the claim would fail, and this is to say why
            policy = ReplacementPolicy.ALLOW
        masker = Masker(list_secrets(before))
        log = BuildLog(job.log, masker)
        async with self._open(job, build_context(build, before), log, masker) as session:
            source_dir = session.source_dir
            TfstateKeeper(job.work_dir, job.state, job.keep_state).write_first()
            protection = Protection(
                source_dir, job.state, {each.resource for each in before.managed}
            )
            await asyncio.to_thread(protection.begin)
            plan_file = job.work_dir / "claim.tfplan"
            planned = await self._judge(session, policy, protection, plan_file)
            if gone := _list_gone(planned, before):
                said = f"{', '.join(gone)}: gone meanwhile; the claim is planned as it was before"
                log.say(Level.WARN, said)
                planned = await self._judge(session, policy, protection, plan_file, _AS_IT_WAS)
            if not list_replaced(planned):
                return ()
            shown = await session.capture("show", ("show", "-no-color", "-json", str(plan_file)))
        replacements = read_replacements(shown)
        for each in replacements:
            forced = ", ".join(each.paths) or "no attribute"
            log.say(Level.WARN, f"{each.address}: a claim would replace it, because of: {forced}")
        return replacements

    async def build(self, job: Job, build: Build) -> BuildResult:
        """Applies, or destroys, and reads the result out of the tfstate."""
        before = read_tfstate(job.state)
        policy = await asyncio.to_thread(read_policy, job.template_dir)
        if build.transition is Transition.DELETE and not before.managed:
            job.log(Level.INFO, "apply", "Nothing was ever made: there is nothing to delete.")
            return BuildResult()
        masker = Masker(list_secrets(before))
        protection = Protection(
            job.work_dir / SOURCE_DIR, job.state, {each.resource for each in before.managed}
        )

        async def keep(content: bytes) -> None:
            await job.keep_state(protection.embed(content))

        keeper = TfstateKeeper(job.work_dir, job.state, keep)
        reader = SecretReader(keeper, masker)
        log = BuildLog(job.log, masker, before_output=reader, on_event=keeper.take)
        async with self._open(job, build_context(build, before), log, masker) as session:
            keeper.write_first()
            await asyncio.to_thread(protection.begin)
            if build.stage is Stage.CLAIM and policy is not ReplacementPolicy.ALLOW:
                plan_file = job.work_dir / "claim.tfplan"
                planned = await self._judge(session, policy, protection, plan_file)
                await self._apply(session, keeper, "apply", (str(plan_file),))
            else:
                destroy = ("-destroy",) if build.transition is Transition.DELETE else ()
                await self._apply(session, keeper, "plan", destroy)
                planned = log.planned
            after = keeper.read()
        return _read_result(build, log, planned, before, after)

    async def _judge(
        self,
        session: Session,
        policy: ReplacementPolicy,
        protection: Protection,
        plan_file: Path,
        more: Sequence[str] = (),
    ) -> list[PlannedChange]:
        """Plans a claim until it replaces nothing that can be spared; returns the plan."""
        while True:
            arguments = (*_PLAN, *more, f"-out={plan_file}")
            timeout_seconds = self._settings.plan_timeout_seconds
            await session.run("plan", arguments, timeout_seconds=timeout_seconds)
            planned = session.log.planned
            replaced = list_replaced(planned)
            if replaced and policy is ReplacementPolicy.FAIL:
                raise ProvisionError(
                    f"the claim would replace {', '.join(replaced)}, which the template's"
                    f" {SETTINGS_FILE} forbids; nothing was changed"
                )
            if policy is ReplacementPolicy.ALLOW:
                return planned
            added = await asyncio.to_thread(protection.add, replaced)
            if not added:
                return planned
            for name in sorted(added):
                session.log.say(
                    Level.WARN, f"{name}: the claim would replace it; its changes are ignored"
                )

    async def _apply(
        self, session: Session, keeper: TfstateKeeper, stage: str, more: Sequence[str]
    ) -> None:
        def complain(reason: str) -> None:
            session.log.say(Level.WARN, reason)

        arguments = (*_APPLY, f"-parallelism={self._settings.parallelism}", *more)
        try:
            async with _beside(keeper.watch(self._settings.tfstate_keep_seconds, complain)):
                await session.run(
                    stage,
                    arguments,
                    timeout_seconds=self._settings.apply_timeout_seconds,
                    is_at_rest=keeper.is_at_rest,
                )
                keeper.finish()
        finally:
            await _keep_last(keeper, complain)

    @asynccontextmanager
    async def _open(
        self,
        job: Job,
        context: ProviderContext,
        log: BuildLog,
        masker: Masker,
        *,
        template_only: bool = False,
    ) -> AsyncGenerator[Session]:
        async with serve_provider(context, job.work_dir / "provider") as reattach:
            session = await open_session(
                self._settings,
                job,
                ours=self._environment,
                reattach=reattach.env,
                log=log,
                masker=masker,
                template_only=template_only,
            )
            await session.prepare()
            yield session


def _list_gone(planned: Iterable[PlannedChange], before: Tfstate) -> tuple[str, ...]:
    """What a plan makes although it was there."""
    was_there = {instance.address for instance in before.instances}
    return tuple(
        each.address for each in planned if each.action == "create" and each.address in was_there
    )


def _quiet(log: LogSink) -> LogSink:
    """A sink for a plan that is only compared with another."""

    def say(level: Level, stage: str, text: str) -> None:
        log(Level.DEBUG, stage, text)

    return say


async def _keep_last(keeper: TfstateKeeper, complain: Callable[[str], None]) -> None:
    try:
        async with asyncio.timeout(_KEEP_LAST_SECONDS):
            await keeper.keep_last(complain)
    except TimeoutError as error:
        raise ProvisionError(
            f"the tfstate could not be stored within {_KEEP_LAST_SECONDS:.0f} s", retryable=True
        ) from error


def _read_result(
    build: Build,
    log: BuildLog,
    planned: Sequence[PlannedChange],
    before: Tfstate,
    after: Tfstate,
) -> BuildResult:
    if build.transition is Transition.DELETE:
        return BuildResult()
    agents = read_agents(after.managed)
    resources = read_resources(after.managed)
    if build.transition is Transition.STOP:  # an agent whose machine is gone is gone
        homed = {name for resource in resources for name in resource.agent_names}
        agents = tuple(agent for agent in agents if agent.name in homed)
    replacements = ()
    if build.stage is Stage.CLAIM:
        replacements = list_replacements(planned, before, after)
    for replacement in replacements:
        differs = ", ".join(replacement.paths) or "nothing that shows in the tfstate"
        log.say(Level.WARN, f"{replacement.address}: replaced at the claim; differs: {differs}")
    return BuildResult(agents=agents, replacements=replacements, resources=resources)


@asynccontextmanager
async def _beside(companion: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Runs the companion as long as the body; what the body raises is not wrapped in a group."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(companion)
        try:
            yield
        except Exception as error:
            failure = error
        finally:
            task.cancel()
    if failure is not None:
        raise failure
