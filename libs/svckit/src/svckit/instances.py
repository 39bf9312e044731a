"""Tells the control plane that this process runs, and how it is: `warmpool doctor` shows it.

Nothing depends on it. A control plane that is away, or of a release that does not know the call, is
told later, or never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID

import grpc
import grpc.aio

from svckit.cancellation import is_asked_to_end
from svckit.certificate_files import CertificateFiles
from svckit.log import get_logger
from svckit.readiness import Readiness
from svckit.system import Clock
from warmpool.instance.v1 import instance_pb2 as pb
from warmpool.instance.v1.instance_pb2_grpc import InstanceServiceStub

__all__ = ["REPORT_SECONDS", "InstanceReporter"]

REPORT_SECONDS: Final = 15.0
_TIMEOUT_SECONDS: Final = 5.0

_log = get_logger(__name__)

FindPrograms = Callable[[], Awaitable[Mapping[str, str]]]
"""What this process runs, by name, with the version; an empty one if it should and cannot."""


class InstanceReporter:
    """The loop of one process."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        readiness: Readiness,
        clock: Clock,
        *,
        instance_id: UUID,
        name: str,
        version: str,
        find_programs: FindPrograms | None = None,
        certificates: CertificateFiles | None = None,
    ) -> None:
        self._stub = InstanceServiceStub(channel)
        self._readiness = readiness
        self._clock = clock
        self._id = str(instance_id)
        self._name = name
        self._version = version
        self._find_programs = find_programs
        self._certificates = certificates

    async def run(self) -> None:
        """Reports for ever, whatever goes wrong: nobody's work may end because of it."""
        while True:
            try:
                await self.run_once()
            except Exception as error:
                _log.warning("This process could not be told of.", action="report", error=error)
            await self._clock.sleep(REPORT_SECONDS)

    async def run_once(self) -> bool:
        """One report; whether it arrived."""
        request = pb.ReportInstanceRequest(
            instance_id=self._id,
            name=self._name,
            version=self._version,
            problems=self._readiness.problems(),
            programs=dict(await self._find_programs()) if self._find_programs else {},
        )
        for each in self._certificates.look() if self._certificates else ():
            told = request.certificates.add(
                setting=each.setting, issuer=each.issuer, names=each.names, problem=each.problem
            )
            if each.ends_at is not None:
                told.ends_at.FromDatetime(each.ends_at)
        request.sent_at.FromDatetime(self._clock.now())
        try:
            await self._stub.ReportInstance(request, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            _log.debug("The control plane was not told of us.", action="report", error=error)
            return False
        except asyncio.CancelledError:
            if is_asked_to_end():
                raise
            return False
        return True
