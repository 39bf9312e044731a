"""One job's terraform: its directory, its environment, its log, and the commands run in it.

Everything is written under the job's working directory, which its caller wipes, except what `init`
downloads, which goes to the cache. A command that fails because modules or providers are missing
gets one `init` and one more try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from provisionerd.commands.run import Command, Limits, Outcome, run
from provisionerd.core.errors import ProvisionCanceled, ProvisionError
from provisionerd.core.provisioner import Job
from provisionerd.terraform.buildlog import BuildLog
from provisionerd.terraform.cliconfig import render_cli_config
from provisionerd.terraform.environment import build_environment, list_credentials
from provisionerd.terraform.failure import explain, needs_init
from provisionerd.terraform.initcache import InitCache, Installed
from provisionerd.terraform.keeper import SOURCE_DIR
from provisionerd.terraform.mask import Masker
from provisionerd.terraform.overlay import Overlay, copy_template
from provisionerd.terraform.settings import ENV_ALLOWED, TerraformSettings, find_terraform

__all__ = ["Session", "open_session"]


class Session:
    """Runs commands for one job. Made by `open_session`."""

    def __init__(
        self,
        *,
        settings: TerraformSettings,
        job: Job,
        binary: Path,
        overlay: Overlay,
        log: BuildLog,
        masker: Masker,
        environment: Mapping[str, str],
        template_only: bool,
    ) -> None:
        self._settings = settings
        self._job = job
        self._binary = binary
        self._overlay = overlay
        self._masker = masker
        self._environment = dict(environment)
        self._template_only = template_only
        self._cache = InitCache(settings.cache_dir)
        self._has_init = False
        self.log = log

    @property
    def source_dir(self) -> Path:
        """The copy of the template; commands run in it."""
        return self._overlay.source_dir

    async def prepare(self) -> None:
        """Runs `init` if the template's text says that it is needed."""
        if self._overlay.needs_init:
            await self._init()

    async def run(
        self,
        stage: str,
        arguments: Sequence[str],
        *,
        timeout_seconds: float,
        is_at_rest: Callable[[], bool] | None = None,
    ) -> None:
        """Runs a command whose output is JSON lines, or raises why it failed. `is_at_rest`: see
        `Command`.
        """
        outcome = await self._run(stage, arguments, timeout_seconds, is_at_rest)
        retry = outcome.exit_code != 0 and not self._has_init and needs_init(self.log.errors)
        if retry and not outcome.asked_to_stop:
            await self._init()
            outcome = await self._run(stage, arguments, timeout_seconds, is_at_rest)
        self._check(stage, outcome)

    async def capture(self, stage: str, arguments: Sequence[str]) -> bytes:
        """Runs a command and returns what it printed."""
        self._refuse_canceled()
        self.log.begin(stage)
        file = self._job.work_dir / f"{stage}.json"
        outcome = await run(
            Command(
                argv=(str(self._binary), *arguments),
                cwd=self.source_dir,
                env=self._environment,
                output_file=file,
            ),
            limits=self._limits(self._settings.plan_timeout_seconds),
            cancel=self._job.cancel,
            on_line=self.log.take_plain,
        )
        self._check(stage, outcome)
        return await asyncio.to_thread(file.read_bytes)

    async def _init(self) -> None:
        """Installs modules and providers, or takes what an earlier job installed."""
        self._has_init = True
        installed = self._cache.find(self._overlay.key, self._binary.name)
        self._environment["TF_DATA_DIR"] = str(installed.data_dir)
        if not installed.is_complete:
            async with self._cache.lock(self._job.cancel):
                if not installed.is_complete:
                    await self._install(installed)
        await asyncio.to_thread(installed.reuse, self.source_dir)

    async def _install(self, installed: Installed) -> None:
        await asyncio.to_thread(installed.begin)
        outcome = await self._run(
            "init",
            ("init", "-input=false", "-no-color", "-json"),
            self._settings.init_timeout_seconds,
        )
        self._check("init", outcome)
        await asyncio.to_thread(installed.complete, self.source_dir)

    async def _run(
        self,
        stage: str,
        arguments: Sequence[str],
        timeout_seconds: float,
        is_at_rest: Callable[[], bool] | None = None,
    ) -> Outcome:
        self._refuse_canceled()
        self.log.begin(stage)
        return await run(
            Command(
                argv=(str(self._binary), *arguments),
                cwd=self.source_dir,
                env=self._environment,
                is_at_rest=is_at_rest,
            ),
            limits=self._limits(timeout_seconds),
            cancel=self._job.cancel,
            on_line=self.log.take,
        )

    def _check(self, stage: str, outcome: Outcome) -> None:
        if outcome.exit_code == 0:
            return
        error = explain(stage, outcome, self.log.errors, template_only=self._template_only)
        if isinstance(error, ProvisionCanceled):
            raise error
        raise type(error)(self._masker.hide(error.message), retryable=error.retryable)

    def _refuse_canceled(self) -> None:
        if self._job.cancel.graceful.is_set() or self._job.cancel.forced.is_set():
            raise ProvisionCanceled

    def _limits(self, timeout_seconds: float) -> Limits:
        return Limits(
            timeout_seconds=timeout_seconds,
            interrupt_grace_seconds=self._settings.interrupt_grace_seconds,
            shutdown_grace_seconds=self._settings.shutdown_grace_seconds,
            line_bytes_max=self._settings.line_bytes_max,
        )


async def open_session(
    settings: TerraformSettings,
    job: Job,
    *,
    ours: Mapping[str, str],
    reattach: Mapping[str, str],
    log: BuildLog,
    masker: Masker,
    template_only: bool,
) -> Session:
    """Lays out a job's directory and finds the binary."""
    binary = find_terraform(settings.binary)
    overlay = await asyncio.to_thread(copy_template, job.template_dir, job.work_dir / SOURCE_DIR)
    cache = InitCache(settings.cache_dir)
    cli_config_file = job.work_dir / "cli.tfrc"
    await asyncio.to_thread(_write_cli_config, settings, cache, cli_config_file)
    environment = build_environment(
        ours,
        allowed=(*ENV_ALLOWED, *settings.env_allowed),
        added=settings.env_set,
        cli_config_file=cli_config_file,
        data_dir=job.work_dir / "data",
        reattach=reattach,
    )
    masker.add(list_credentials(environment))
    return Session(
        settings=settings,
        job=job,
        binary=binary,
        overlay=overlay,
        log=log,
        masker=masker,
        environment=environment,
        template_only=template_only,
    )


def _write_cli_config(settings: TerraformSettings, cache: InitCache, file: Path) -> None:
    cache.prepare()
    base = ""
    if settings.cli_config_file is not None:
        try:
            base = settings.cli_config_file.read_text(encoding="utf-8")
        except OSError as error:
            raise ProvisionError(
                f"cannot read the CLI configuration {settings.cli_config_file}: {error.strerror}"
            ) from error
    file.touch(mode=0o600)  # it may hold registry credentials
    file.write_text(
        render_cli_config(
            base=base,
            plugin_mirror_dir=settings.plugin_mirror_dir,
            plugin_cache_dir=cache.plugin_dir,
        ),
        encoding="utf-8",
    )
