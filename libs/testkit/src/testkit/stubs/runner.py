"""Runs a template nobody here wrote through all its life, by the product's own provisioner.

Import, the pool's first build, a rehearsed claim, the claim, a start, a stop, and the end.
Providers that are not ours are stubs, modules come from a checkout if there is one. Nothing is left
behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from uuid import uuid4

from provisionerd.core.errors import ProvisionError
from provisionerd.core.provisioner import (
    Build,
    BuildResult,
    Cancel,
    ImportResult,
    Job,
    Level,
    Owner,
    Parameter,
    Replacement,
    Stage,
    Transition,
)
from provisionerd.terraform import TerraformProvisioner, TerraformSettings, find_terraform
from provisionerd.terraform.tfstate import Tfstate, read_tfstate
from testkit.stubs.hcl import read_usage
from testkit.stubs.server import serve_stubs

__all__ = ["Life", "live"]

_PLACE = re.compile(r"(\S+\.tf):(\d+)")
_HEAD = re.compile(r"(?:resource|data|module|variable|locals|output|provider)\b")
APPLY_SECONDS = 30.0  # a stub makes at once what it makes
REAL_APPLY_SECONDS = 600.0
POOL = Owner(id="00000000-0000-4000-8000-0000000000ff", username="prebuilds")
GRACE = Owner(
    id="00000000-0000-4000-8000-000000000006",
    username="grace",
    full_name="Grace H.",
    email="grace@example.com",
)


@dataclass(slots=True, kw_only=True)
class Life:
    """What became of a template. `failed_step` is empty if it lived through everything."""

    name: str
    failed_step: str = ""
    error: str = ""
    steps_ms: dict[str, float] = field(default_factory=dict[str, float])
    providers: list[str] = field(default_factory=list[str])
    imported: ImportResult = field(default_factory=ImportResult)
    created: BuildResult = field(default_factory=BuildResult)
    rehearsed: tuple[Replacement, ...] = ()
    claimed: BuildResult = field(default_factory=BuildResult)
    tfstates: dict[str, Tfstate] = field(default_factory=dict[str, Tfstate], repr=False)
    warnings: list[str] = field(default_factory=list[str])

    blamed: str = ""
    """The head of the block the error points to, if it points to one."""

    @property
    def blames_coder(self) -> bool:
        """Whether the error is about something of ours rather than a stub or the machine."""
        return '"coder_' in self.blamed or "coder_" in self.error


class _Run:
    def __init__(
        self,
        life: Life,
        template: Path,
        work: Path,
        provisioner: TerraformProvisioner,
        before: Callable[[str], None],
    ) -> None:
        self.life = life
        self.before = before
        self.template = template
        self.provisioner = provisioner
        self._work = work
        self._tfstate: bytes | None = None

    def job(self) -> Job:
        work_dir = self._work / f"job-{uuid4().hex[:8]}"
        work_dir.mkdir(mode=0o700)

        def log(level: Level, stage: str, text: str) -> None:
            if level in (Level.WARN, Level.ERROR):
                self.life.warnings.append(f"{stage}: {text}")

        async def keep(tfstate: bytes) -> None:
            self._tfstate = tfstate

        return Job(
            job_id=work_dir.name,
            template_dir=self.template,
            work_dir=work_dir,
            log=log,
            cancel=Cancel(),
            state=self._tfstate,
            keep_state=keep,
        )

    async def build(self, step: str, build: Build) -> BuildResult:
        result = await self.provisioner.build(self.job(), build)
        self.life.tfstates[step] = read_tfstate(self._tfstate)
        return result


async def live(
    template: Path,
    work: Path,
    *,
    name: str = "",
    cli_config: str = "",
    environment: dict[str, str] | None = None,
    before: Callable[[str], None] = lambda _step: None,
    real: Mapping[str, Path] | None = None,
) -> Life:
    """Runs it below `work`, an empty directory that is wiped. `cli_config` is terraform's; `before`
    is called with the name of each step that is about to be taken. `real` are providers that are no
    stubs, by name, with the mirror they come from, which must be the same for all of them; they see
    `AWS_*` of the environment.
    """
    real = real or {}
    life = Life(name=name or template.name)
    cli_config_file = work / "cli.tfrc"
    cli_config_file.write_text(cli_config)
    env = {**os.environ, **(environment or {})}
    try:
        directories = [
            template,
            *await _get_modules(template, work / "modules", env, cli_config_file),
        ]
        usage = await asyncio.to_thread(read_usage, directories, template)
        life.providers = sorted(usage.addresses.values())
        async with serve_stubs(usage, real) as reattach:
            settings = TerraformSettings(
                cache_dir=work / "cache",
                cli_config_file=cli_config_file,
                apply_timeout_seconds=REAL_APPLY_SECONDS if real else APPLY_SECONDS,
                plugin_mirror_dir=next(iter(real.values()), None),
                env_allowed=("AWS_*",) if real else (),
                interrupt_grace_seconds=1.0,
                env_set={
                    "TF_REATTACH_PROVIDERS": reattach,
                    **{f"TF_VAR_{name}": value for name, value in usage.variables.items()},
                },
            )
            provisioner = TerraformProvisioner(settings, environment=env)
            await _live(_Run(life, template, work, provisioner, before))
    except (ProvisionError, ValueError, OSError) as error:
        life.failed_step = life.failed_step or "read"
        life.error = life.error or f"{type(error).__name__}: {error}"
    finally:
        life.blamed = _find_block(life.error, [template, work / "modules" / ".terraform"])
        shutil.rmtree(work, ignore_errors=True)
    return life


def _find_block(error: str, places: Sequence[Path]) -> str:
    """The head of the block that holds the first place an error names: a file of the template, or
    of a module as it was fetched.
    """
    found = _PLACE.search(error)
    files = [file for place in places if found and (file := place / found[1]).is_file()]
    if found is None or not files:
        return ""
    file = files[0]
    before = file.read_text(encoding="utf-8").splitlines()[: int(found[2])]
    return next((line for line in reversed(before) if _HEAD.match(line)), "")


async def _live(run: _Run) -> None:
    life = run.life

    async def step(name: str, act: Callable[[], Awaitable[None]]) -> None:
        run.before(name)
        started = perf_counter()
        try:
            await act()
        except ProvisionError as error:
            life.failed_step, life.error = name, error.message
            raise
        finally:
            life.steps_ms[name] = (perf_counter() - started) * 1000

    async def import_it() -> None:
        life.imported = await run.provisioner.import_template(run.job())

    await step("import", import_it)
    create = _first_build(life.imported)
    claim = replace(create, stage=Stage.CLAIM, owner=GRACE, workspace_name="graces")
    start = replace(claim, stage=Stage.ORDINARY)

    async def create_it() -> None:
        life.created = await run.build("create", create)

    async def rehearse() -> None:
        life.rehearsed = await run.provisioner.rehearse(run.job(), claim)

    async def claim_it() -> None:
        life.claimed = await run.build("claim", claim)
        _require_same_agents(life)

    async def build_on(name: str, build: Build) -> None:
        await run.build(name, build)

    await step("create", create_it)
    await step("rehearse", rehearse)
    await step("claim", claim_it)
    await step("start", lambda: build_on("start", start))
    await step("stop", lambda: build_on("stop", replace(start, transition=Transition.STOP)))
    await step("delete", lambda: build_on("delete", replace(start, transition=Transition.DELETE)))


def _require_same_agents(life: Life) -> None:
    """A claim keeps every agent's id and token."""
    before, after = (
        {agent.name: (agent.id, agent.token) for agent in result.agents}
        for result in (life.created, life.claimed)
    )
    if changed := sorted(name for name in before if before[name] != after.get(name)):
        raise ProvisionError(f"coder_agent lost its id or token at the claim: {changed}")


def _first_build(imported: ImportResult) -> Build:
    pooled = [preset for preset in imported.presets if preset.prebuilds is not None]
    values = {each.name: _value_of(each) for each in imported.parameters if each.default is None}
    return Build(
        build_id=str(uuid4()),
        workspace_id=str(uuid4()),
        workspace_name="prebuild-1",
        transition=Transition.START,
        stage=Stage.CREATE,
        owner=POOL,
        organization_name="default",
        template_id=str(uuid4()),
        template_name="template",
        template_version_id=str(uuid4()),
        template_version_name="v1",
        access_url="http://127.0.0.1:7080",
        parameters={**values, **(pooled[0].parameters if pooled else {})},
    )


def _value_of(parameter: Parameter) -> str:
    if parameter.options:
        return parameter.options[0].value
    return {"number": str(parameter.minimum or 1), "bool": "true", "list(string)": "[]"}.get(
        parameter.type, "stub"
    )


async def _get_modules(
    template: Path, scratch: Path, env: dict[str, str], cli_config_file: Path
) -> list[Path]:
    """The directories of the modules a template calls, fetched as init will fetch them."""
    shutil.copytree(template, scratch, symlinks=True)
    process = await asyncio.create_subprocess_exec(
        str(find_terraform()),
        "get",
        "-no-color",
        cwd=scratch,
        env={**env, "TF_CLI_CONFIG_FILE": str(cli_config_file), "CHECKPOINT_DISABLE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise OSError(f"terraform get: {' '.join(said.decode(errors='replace').split())[-500:]}")
    manifest = scratch / ".terraform" / "modules" / "modules.json"
    if not manifest.exists():
        return []
    called = json.loads(manifest.read_text())["Modules"]
    return sorted({scratch / each["Dir"] for each in called if each["Dir"] != "."})
