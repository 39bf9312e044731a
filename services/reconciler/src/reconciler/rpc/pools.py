"""Pools, for operators: what is kept warm, how it fares, and the switches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from uuid import UUID

from reconciler.core.audit import AuditEntry
from reconciler.core.hints import Hints
from reconciler.core.permissions import UserPrincipal, may, organizations_where
from reconciler.core.pools import PoolSettings
from reconciler.core.schedules import (
    ScheduleInvalid,
    desired_size,
    explain_windows,
    validate_schedules,
)
from reconciler.rpc.principals import calling_actor, calling_user, still_calling_user
from reconciler.rpc.waits import Waits, going_away
from reconciler.store.pools import Pools
from reconciler.wire.pools import encode_pools
from reconciler.wire.values import encode_time
from svckit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from svckit.system import Clock
from warmpool.control.v1 import pools_pb2 as pb
from warmpool.control.v1 import pools_pb2_grpc as rpc

__all__ = ["PoolServicer"]

WATCH_POLL_SECONDS = 2.0
WINDOWS = 5


class PoolServicer(rpc.PoolServiceServicer):
    """Implements PoolService."""

    def __init__(
        self,
        pools: Pools,
        hints: Hints,
        waits: Waits,
        clock: Clock,
        new_id: Callable[[], UUID],
        settings: PoolSettings,
        stopping: asyncio.Event,
    ) -> None:
        self._pools = pools
        self._hints = hints
        self._waits = waits
        self._clock = clock
        self._new_id = new_id
        self._stopping = stopping
        self._settings = settings

    async def ListPools(
        self, request: pb.ListPoolsRequest, context: object
    ) -> pb.ListPoolsResponse:
        pools, paused = await self._list(calling_user(), request.template, request.include_inactive)
        return pb.ListPoolsResponse(pools=pools, reconciliation_paused=paused)

    async def WatchPools(
        self, request: pb.WatchPoolsRequest, context: object
    ) -> AsyncGenerator[pb.WatchPoolsResponse, None]:
        shown: pb.WatchPoolsResponse | None = None
        with self._waits.watching_pools() as nudge:
            while not self._stopping.is_set():
                caller = await still_calling_user()
                pools, paused = await self._list(caller, request.template, False)
                response = pb.WatchPoolsResponse(pools=pools, reconciliation_paused=paused)
                if response != shown:
                    shown = response
                    yield response
                await nudge.wait(WATCH_POLL_SECONDS)
        raise going_away()

    async def SetPoolPaused(
        self, request: pb.SetPoolPausedRequest, context: object
    ) -> pb.SetPoolPausedResponse:
        caller = calling_user()
        action = "pool.pause" if request.paused else "pool.resume_reconciliation"
        if not request.template:
            if request.preset:
                raise InvalidArgument(
                    f'template: empty; preset "{request.preset[:64]}" needs its template',
                    reason="TEMPLATE_MISSING",
                    field="template",
                )
            _require_update(caller, None)
            changed = await self._pools.set_paused(
                request.paused, self._clock.now(), self._entry(action)
            )
            self._hints.pool_changed(UUID(int=0), "settings")
            return pb.SetPoolPausedResponse(changed=changed)
        template_id, organization_id = await self._find_template(request.template, caller)
        presets = await self._pools.find_presets(template_id, request.preset)
        changed = await self._pools.set_preset_paused(
            template_id,
            request.preset,
            request.paused,
            caller.user_id,
            self._clock.now(),
            self._entry(action, request.template, request.preset, template_id, organization_id),
        )
        for preset_id in presets:
            self._hints.pool_changed(preset_id, "settings")
        return pb.SetPoolPausedResponse(changed=changed)

    async def InvalidatePool(
        self, request: pb.InvalidatePoolRequest, context: object
    ) -> pb.InvalidatePoolResponse:
        caller = calling_user()
        template_id, organization_id = await self._find_template(request.template, caller)
        presets = await self._pools.find_presets(template_id, request.preset)
        count = await self._pools.invalidate(
            presets,
            self._clock.now(),
            self._entry(
                "pool.invalidate", request.template, request.preset, template_id, organization_id
            ),
        )
        for preset_id in presets:
            self._hints.pool_changed(preset_id, "invalidated")
        return pb.InvalidatePoolResponse(invalidated=count)

    async def ResumePool(
        self, request: pb.ResumePoolRequest, context: object
    ) -> pb.ResumePoolResponse:
        caller = calling_user()
        if not request.preset:
            raise InvalidArgument(
                "preset: empty; name the preset whose pool stopped",
                reason="PRESET_MISSING",
                field="preset",
            )
        template_id, organization_id = await self._find_template(request.template, caller)
        (preset_id,) = await self._pools.find_presets(template_id, request.preset)
        entry = self._entry(
            "pool.resume", request.template, request.preset, template_id, organization_id
        )
        if await self._pools.resume(preset_id, self._clock.now(), entry):
            self._hints.pool_changed(preset_id, "resumed")
        pools, _ = await self._list(caller, request.template, False)
        pool = next((pool for pool in pools if pool.preset_id == str(preset_id)), None)
        if pool is not None and pool.health == pb.POOL_HEALTH_VALIDATION_FAILED:
            raise FailedPrecondition(
                f'preset: validation refused the prebuilds of "{request.preset}" and would again;'
                " push a version that mends it",
                reason="POOL_INVALID",
                field="preset",
            )
        return pb.ResumePoolResponse(pool=pool)

    async def ExplainSchedule(
        self, request: pb.ExplainScheduleRequest, context: object
    ) -> pb.ExplainScheduleResponse:
        now = self._clock.now()
        try:
            schedules, zone = validate_schedules(
                [(s.cron, s.instances) for s in request.schedules], request.timezone, now
            )
            windows = explain_windows(
                schedules, zone, request.instances, now, request.windows or WINDOWS
            )
        except ScheduleInvalid as error:
            raise InvalidArgument(
                str(error), reason="SCHEDULE_INVALID", field=error.field
            ) from error
        return pb.ExplainScheduleResponse(
            desired_now=desired_size(schedules, zone, request.instances, now),
            windows=[
                pb.ScheduleWindow(
                    starts_at=encode_time(window.starts_at),
                    ends_at=encode_time(window.ends_at),
                    instances=window.instances,
                    cron=window.cron,
                    note=window.note,
                )
                for window in windows
            ],
        )

    async def _list(
        self, caller: UserPrincipal, template: str, include_inactive: bool
    ) -> tuple[list[pb.Pool], bool]:
        snapshot = await self._pools.load_snapshot(
            self._clock.now(), template=template, is_counted=True
        )
        visible = {
            preset.preset_id
            for preset in snapshot.presets
            if may(caller, "pool.read", organization_id=preset.organization_id)
            and template in ("", preset.template_name)
        }
        totals = {
            (t.organization_name, t.template_name, t.preset_name): t.claimed
            for t in await self._pools.totals()
        }
        errors = await self._pools.last_errors(list(visible))
        paused = {preset.template_id for preset in snapshot.presets if preset.paused}
        pools = encode_pools(
            snapshot,
            self._settings,
            visible,
            totals,
            errors,
            await self._pools.list_pauses(list(paused)) if paused else {},
            include_inactive=include_inactive,
        )
        return pools, snapshot.paused

    async def _find_template(self, name: str, caller: UserPrincipal) -> tuple[UUID, UUID]:
        if not name:
            raise InvalidArgument(
                "template: empty; name the template", reason="TEMPLATE_MISSING", field="template"
            )
        try:
            template_id, organization_id = await self._pools.find_template(
                name, _where(caller, "pool.update")
            )
        except NotFound:
            _, organization_id = await self._pools.find_template(name, _where(caller, "pool.read"))
            _require_update(caller, organization_id)
            raise
        return template_id, organization_id

    def _entry(
        self,
        action: str,
        template: str = "",
        preset: str = "",
        template_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> AuditEntry:
        actor = calling_actor(self._new_id())
        if template_id is None:
            return actor.entry(action, "pool", "*")
        return actor.entry(
            action,
            "pool",
            f"{template}/{preset or '*'}",
            organization_id=organization_id,
            template_id=str(template_id),
        )


def _where(caller: UserPrincipal, permission: str) -> list[UUID] | None:
    """Names are unique in an organization only: the same name elsewhere is not the caller's."""
    organization_ids = organizations_where(caller, permission)
    return None if organization_ids is None else [*organization_ids]


def _require_update(caller: UserPrincipal, organization_id: UUID | None) -> None:
    if not may(caller, "pool.update", organization_id=organization_id):
        raise PermissionDenied(
            "you lack the permission pool.update here", reason="PERMISSION_DENIED"
        )
