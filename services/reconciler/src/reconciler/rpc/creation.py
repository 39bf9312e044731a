"""Giving a person a workspace: from the pool if it has one, else from scratch, and why.

Everything that could make a claimed workspace a wreck is found before the claim: a name that is
taken, a value that is not allowed, a value a prebuild has fixed for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from reconciler.core.hints import Hints
from reconciler.core.names import check_name, make_name
from reconciler.core.parameters import require_valid
from reconciler.core.pools import PoolMiss, PoolSnapshot, explain_pool_miss
from reconciler.core.presets import PresetChoice, match_preset, validate_parameters
from reconciler.core.views import WorkspaceView
from reconciler.store.claims import Claimer, NewIds, PastRequest, Wanted, WorkspaceMaker
from reconciler.store.offers import Offer, Offers
from reconciler.store.pools import Pools
from reconciler.store.quotas import Quotas
from reconciler.store.workspaces import PresetRow, TemplateRow, Workspaces
from svckit.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from svckit.system import Clock

__all__ = ["Creation", "Outcome", "Request", "template_unknown"]

NAME_ATTEMPTS_MAX = 5

T = TypeVar("T")


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
    requested_at: datetime
    traceparent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The workspace, and why it did not come out of a pool; None if it did."""

    workspace: WorkspaceView
    pool_miss: PoolMiss | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a request comes to. `in_pool` says whether the preset's pool could serve it;
    `is_fixed` that it could but for a value its members can never change.
    """

    template: TemplateRow
    version_id: UUID
    preset: PresetRow | None
    values: dict[str, str]
    in_pool: bool
    is_fixed: bool


class Creation:
    """Serves requests for workspaces."""

    def __init__(
        self,
        maker: WorkspaceMaker,
        claimer: Claimer,
        workspaces: Workspaces,
        offers: Offers,
        pools: Pools,
        quotas: Quotas,
        hints: Hints,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._quotas = quotas
        self._maker = maker
        self._claimer = claimer
        self._workspaces = workspaces
        self._offers = offers
        self._pools = pools
        self._hints = hints
        self._clock = clock
        self._new_id = new_id

    async def create(self, request: Request, offer: Offer) -> Outcome:
        """Claims a prebuild or queues a first build. A request id that was served gives its first
        answer. `offer` may be a little old.
        """
        limit = offer.template.workspaces_per_user_max
        if limit is None:
            return await self._create(request, offer)
        async with self._quotas.hold(request.owner_id, offer.template.organization_id) as count:
            if count >= limit:
                if past := await self._find_past(request):
                    return past
                raise _exceeded(limit, count, offer.template.organization_name)
            return await self._create(request, offer)

    async def _create(self, request: Request, offer: Offer) -> Outcome:
        if request.name:
            check_name(request.name)
        plan: _Plan | None = None
        # Refused: perhaps the offer is old, or the request was served; both are looked at below.
        with suppress(InvalidArgument, NotFound, FailedPrecondition):
            plan = _make_plan(request, offer)
        if plan is not None and (outcome := await self._claim(request, plan)):
            return outcome
        if past := await self._find_past(request):
            return past
        fresh = await self._offers.read(request.organization, request.template, request.version)
        if fresh is None:
            raise template_unknown(request.template)
        current = _make_plan(request, fresh)
        if current != plan and (outcome := await self._claim(request, current)):
            return outcome
        return await self._build(request, current)

    async def _claim(self, request: Request, plan: _Plan) -> Outcome | None:
        """Out of the pool; None if it has nothing for this request."""
        preset = plan.preset
        if preset is None or not plan.in_pool or plan.is_fixed:
            return None

        async def act(wanted: Wanted) -> Outcome | None:
            claimed = await self._claimer.claim(wanted, self._ids())
            if claimed is None:
                return None
            self._hints.job_posted(
                wanted.organization_id, claimed.view.job_id, claimed.provisioner_type
            )
            self._hints.pool_changed(preset.id, "claimed")
            self._hints.workspace_changed(claimed.view.id)
            return Outcome(workspace=claimed.view, pool_miss=None)

        return await self._try_names(request, plan, act)

    async def _build(self, request: Request, plan: _Plan) -> Outcome:
        """From scratch."""
        preset = plan.preset
        miss = await self._explain(preset, plan.is_fixed and plan.in_pool)

        async def act(wanted: Wanted) -> Outcome:
            created = await self._maker.create(wanted, self._ids(), miss.value, self._clock.now())
            self._hints.job_posted(wanted.organization_id, created.job_id, created.provisioner_type)
            if preset is not None:
                self._hints.pool_changed(preset.id, "missed")
            view = await self._workspaces.get(created.workspace_id, self._clock.now())
            return Outcome(workspace=view, pool_miss=miss)

        return await self._try_names(request, plan, act)

    async def _try_names(
        self, request: Request, plan: _Plan, act: Callable[[Wanted], Awaitable[T]]
    ) -> T | Outcome:
        """Acts under the name that was asked for, or under ours until one is free."""
        for attempt in range(1, NAME_ATTEMPTS_MAX + 1):
            try:
                return await act(self._wanted(request, plan))
            except AlreadyExists as error:
                if past := await self._find_past(request):
                    return past
                if error.reason != "NAME_TAKEN" or request.name or attempt == NAME_ATTEMPTS_MAX:
                    raise
        raise AssertionError("the loop returns or raises")

    def _wanted(self, request: Request, plan: _Plan) -> Wanted:
        return Wanted(
            organization_id=plan.template.organization_id,
            template_id=plan.template.template_id,
            version_id=plan.version_id,
            preset_id=plan.preset.id if plan.preset else None,
            owner_id=request.owner_id,
            initiator_id=request.initiator_id,
            name=request.name or make_name(self._new_id()),
            parameters=plan.values,
            request_id=request.request_id or None,
            requested_at=request.requested_at,
            traceparent=request.traceparent,
        )

    def _ids(self) -> NewIds:
        return NewIds(
            workspace_id=self._new_id(),
            build_id=self._new_id(),
            job_id=self._new_id(),
            claim_id=self._new_id(),
        )

    async def _explain(self, preset: PresetRow | None, is_fixed: bool) -> PoolMiss:
        if preset is None or preset.instances is None:
            return PoolMiss.NO_POOL
        snapshot: PoolSnapshot = await self._pools.load_snapshot(
            self._clock.now(), preset_ids=[preset.id], is_counted=True
        )
        present = (*snapshot.members, *(group.oldest for group in snapshot.counted))
        row = next((p for p in snapshot.presets if p.preset_id == preset.id), None)
        return explain_pool_miss(
            row,
            [m for m in present if m.preset_id == preset.id],
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
        view = await self._workspaces.get(past.workspace_id, self._clock.now())
        return Outcome(workspace=view, pool_miss=miss)


def _make_plan(request: Request, offer: Offer) -> _Plan:
    version_id = _require_version(request, offer.template)
    preset = _choose_preset(request, offer.presets)
    given = (dict(preset.parameters) if preset else {}) | request.parameters
    values = require_valid(offer.parameters, given)
    in_pool = preset is not None and preset.instances is not None and offer.template.is_active
    is_fixed = False
    if in_pool and preset is not None and given != preset.parameters:
        # Every member was built with the preset's values and the defaults. What is wrong with these
        # values only after those can never change, or not in that direction.
        built = require_valid(offer.parameters, preset.parameters)
        is_fixed = bool(validate_parameters(offer.parameters, given, built).problems)
    return _Plan(
        template=offer.template,
        version_id=version_id,
        preset=preset,
        values=values,
        in_pool=in_pool,
        is_fixed=is_fixed,
    )


def _exceeded(limit: int, count: int, organization: str) -> ResourceExhausted:
    return ResourceExhausted(
        f'owner: has {count} workspaces in "{organization}", where each person may have {limit};'
        " delete one, or ask an admin of the organization for more",
        reason="QUOTA_EXCEEDED",
        field="owner",
        metadata={"limit": str(limit), "count": str(count), "organization": organization},
    )


def template_unknown(name: str) -> NotFound:
    """There is no such template, or it is not the caller's to see."""
    return NotFound(
        f'template: there is no template "{name[:64]}"', reason="TEMPLATE_UNKNOWN", field="template"
    )


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
