"""What gateways and provisioners say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.core.checks import InstanceView
from reconciler.core.permissions import ServicePrincipal
from reconciler.store.system import SystemViews
from reconciler.wire.values import decode_time, decode_uuid
from svckit.auth import current_principal
from svckit.certificates import Certificate
from svckit.errors import InvalidArgument, PermissionDenied
from svckit.system import Clock
from warmpool.instance.v1 import instance_pb2 as pb
from warmpool.instance.v1 import instance_pb2_grpc as rpc

__all__ = ["InstanceServicer"]

TEXT_MAX = 500
LIST_MAX = 20


class InstanceServicer(rpc.InstanceServiceServicer):
    """Implements InstanceService."""

    def __init__(self, views: SystemViews, clock: Clock) -> None:
        self._views = views
        self._clock = clock

    async def ReportInstance(
        self, request: pb.ReportInstanceRequest, context: object
    ) -> pb.ReportInstanceResponse:
        principal = current_principal.get()
        if not isinstance(principal, ServicePrincipal):
            raise PermissionDenied("only a service may call this", reason="WRONG_SERVICE")
        now = self._clock.now()
        _check("problems", len(request.problems))
        _check("programs", len(request.programs))
        _check("certificates", len(request.certificates))
        sent_at = decode_time(request.sent_at, now)
        await self._views.note_instance(
            InstanceView(
                id=decode_uuid(request.instance_id, "instance_id"),
                service=principal.kind,
                name=request.name[:TEXT_MAX],
                version=request.version[:TEXT_MAX],
                clock_skew_seconds=(sent_at - now).total_seconds(),
                problems=tuple(problem[:TEXT_MAX] for problem in request.problems),
                programs={
                    name[:TEXT_MAX]: said[:TEXT_MAX] for name, said in request.programs.items()
                },
                certificates=tuple(map(_decode_certificate, request.certificates)),
                last_seen_at=now,
            ),
            principal.key_id,
        )
        return pb.ReportInstanceResponse()


def _decode_certificate(told: pb.Certificate) -> Certificate:
    return Certificate(
        setting=told.setting[:TEXT_MAX],
        issuer=told.issuer[:TEXT_MAX],
        names=tuple(name[:TEXT_MAX] for name in told.names[:LIST_MAX]),
        ends_at=_decode_end(told),
        problem=told.problem[:TEXT_MAX],
    )


def _decode_end(told: pb.Certificate) -> datetime | None:
    """When it ends; None if that is not said, or beyond what a calendar holds."""
    never = datetime.max.replace(tzinfo=UTC)
    ends_at = decode_time(told.ends_at, never)
    return None if ends_at == never else ends_at


def _check(field: str, count: int) -> None:
    if count > LIST_MAX:
        raise InvalidArgument(
            f"{field}: {count}; at most {LIST_MAX} are allowed",
            reason="TOO_MANY",
            field=field,
        )
