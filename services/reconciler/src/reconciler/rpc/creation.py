"""Giving a person a workspace: from the pool if it has one, else from scratch, and why.

Everything that could make a claimed workspace a wreck is found before the claim: a name that is
taken, a value that is not allowed, a value a prebuild has fixed for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from reconciler.core.hints import Hints
from reconciler.core.names import check_name, make_name
from reconciler.core.parameters import read_parameters, require_valid
from reconciler.core.pools import PoolMiss, PoolSnapshot, explain_pool_miss
from reconciler.core.presets import Parameter, PresetChoice, differs_in_immutable, match_preset
from reconciler.store.claims import NewIds, PastRequest, Wanted, WorkspaceMaker
from reconciler.store.pools import Pools
from reconciler.store.workspaces import PresetRow, TemplateRow, Workspaces
from svckit.errors import AlreadyExists, FailedPrecondition, NotFound
from svckit.system import Clock

__all__ = ["Creation", "Outcome", "Request"]

NAME_ATTEMPTS_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for. Empty texts mean: choose for me."""

    organization: str
    template: str
    version: str
    preset: str
    parameters: dict[str, str]
    name: str
    request_id: str
    owner_id: UUID
    initiator_id: UUID
    traceparent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The workspace, and why it did not come out of a pool; None if it did."""

    workspace_id: UUID
    pool_miss: PoolMiss | None


class Creation:
    """Serves requests for workspaces."""

    def __init__(
        self,
        maker: WorkspaceMaker,
        workspaces: Workspaces,
        pools: Pools,
        hints: Hints,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._maker = maker
        self._workspaces = workspaces
        self._pools = pools
        self._hints = hints
        self._clock = clock
        self._new_id = new_id

    async def create(self, request: Request, template: TemplateRow) -> Outcome:
        """Claims a prebuild or queues a first build. A request id that was served gives its first
        answer.
        """
        if request.name:
            check_name(request.name)
        if past := await self._find_past(request):
            return past
        version_id = _require_version(request, template)
        presets = await self._workspaces.list_presets(version_id)
        preset = _choose_preset(request, presets)
        given = (dict(preset.parameters) if preset else {}) | request.parameters
        parameters = read_parameters(template.parameters)
        values = require_valid(parameters, given)
        for attempt in range(1, NAME_ATTEMPTS_MAX + 1):
            wanted = Wanted(
                organization_id=template.organization_id,
                template_id=template.template_id,
                version_id=version_id,
                preset_id=preset.id if preset else None,
                owner_id=request.owner_id,
                initiator_id=request.initiator_id,
                name=request.name or make_name(self._new_id()),
                parameters=values,
                request_id=request.request_id or None,
                requested_at=self._clock.now(),
                traceparent=request.traceparent,
            )
            try:
                return await self._serve(wanted, template, preset, parameters, given)
            except AlreadyExists as error:
                if past := await self._find_past(request):
                    return past
                if error.reason != "NAME_TAKEN" or request.name or attempt == NAME_ATTEMPTS_MAX:
                    raise
        raise AssertionError("the loop returns or raises")

    async def _serve(
        self,
        wanted: Wanted,
        template: TemplateRow,
        preset: PresetRow | None,
        parameters: tuple[Parameter, ...],
        given: dict[str, str],
    ) -> Outcome:
        ids = NewIds(
            workspace_id=self._new_id(),
            build_id=self._new_id(),
            job_id=self._new_id(),
            claim_id=self._new_id(),
        )
        is_fixed = False
        if preset is not None and preset.instances is not None and template.is_active:
            # Every member was built with the preset's values and the defaults.
            built = require_valid(parameters, preset.parameters)
            is_fixed = bool(differs_in_immutable(parameters, wanted.parameters, built))
            claimed = None
            if not is_fixed:
                claimed = await self._maker.claim(wanted, ids, self._clock.now())
            if claimed is not None:
                self._hints.job_posted(
                    wanted.organization_id, claimed.job_id, claimed.provisioner_type
                )
                self._hints.pool_changed(preset.id, "claimed")
                self._hints.workspace_changed(claimed.workspace_id)
                return Outcome(workspace_id=claimed.workspace_id, pool_miss=None)
        miss = await self._explain(preset, is_fixed)
        created = await self._maker.create(wanted, ids, miss.value, self._clock.now())
        self._hints.job_posted(wanted.organization_id, created.job_id, created.provisioner_type)
        if preset is not None:
            self._hints.pool_changed(preset.id, "missed")
        return Outcome(workspace_id=created.workspace_id, pool_miss=miss)

    async def _explain(self, preset: PresetRow | None, is_fixed: bool) -> PoolMiss:
        if preset is None or preset.instances is None:
            return PoolMiss.NO_POOL
        snapshot: PoolSnapshot = await self._pools.load_snapshot(self._clock.now())
        row = next((p for p in snapshot.presets if p.preset_id == preset.id), None)
        return explain_pool_miss(
            row,
            [m for m in snapshot.members if m.preset_id == preset.id],
            snapshot.taken_at,
            is_parameter_fixed=is_fixed,
            is_paused=snapshot.paused,
        )

    async def _find_past(self, request: Request) -> Outcome | None:
        if not request.request_id:
            return None
        past: PastRequest | None = await self._maker.find_request(
            request.owner_id, request.request_id
        )
        if past is None:
            return None
        miss = None if past.warm else PoolMiss(past.pool_miss)
        return Outcome(workspace_id=past.workspace_id, pool_miss=miss)


def _require_version(request: Request, template: TemplateRow) -> UUID:
    if template.version_id is None:
        if request.version:
            raise NotFound(
                f'version: template "{request.template}" has no version "{request.version}"',
                reason="VERSION_UNKNOWN",
                field="version",
            )
        raise FailedPrecondition(
            f'template "{request.template}" has no active version; promote one',
            reason="NO_ACTIVE_VERSION",
            field="template",
        )
    if not template.is_imported:
        raise FailedPrecondition(
            f'version "{template.version_name}" is not imported; look at its import job',
            reason="VERSION_NOT_IMPORTED",
            field="version",
        )
    return template.version_id


def _choose_preset(request: Request, presets: tuple[PresetRow, ...]) -> PresetRow | None:
    by_name = {preset.name: preset for preset in presets}
    if request.preset:
        if request.preset not in by_name:
            known = ", ".join(f'"{name}"' for name in sorted(by_name)) or "none"
            raise NotFound(
                f'preset: there is no "{request.preset}"; there are {known}',
                reason="PRESET_UNKNOWN",
                field="preset",
            )
        return by_name[request.preset]
    choice = match_preset(
        request.parameters,
        (
            PresetChoice(
                preset_id=p.id, name=p.name, is_default=p.is_default, parameters=p.parameters
            )
            for p in presets
        ),
    )
    return by_name[choice.name] if choice else None
