"""Notes that this replica runs, and forgets processes that are long gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from reconciler.core.checks import InstanceView
from reconciler.store.system import SystemViews
from svckit.certificate_files import CertificateFiles
from svckit.errors import Unavailable
from svckit.instances import REPORT_SECONDS
from svckit.log import get_logger
from svckit.readiness import Readiness
from svckit.system import Clock

__all__ = ["SelfReport"]

LOG = get_logger(__name__)
FORGOTTEN: Final = timedelta(days=1)


class SelfReport:
    """The loop."""

    def __init__(
        self,
        views: SystemViews,
        readiness: Readiness,
        clock: Clock,
        *,
        instance_id: UUID,
        name: str,
        version: str,
        certificates: CertificateFiles,
    ) -> None:
        self._views = views
        self._readiness = readiness
        self._clock = clock
        self._id = instance_id
        self._name = name
        self._version = version
        self._certificates = certificates

    async def run(self) -> None:
        """Notes for ever."""
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                LOG.debug("this replica could not be noted", error=error)
            await self._clock.sleep(REPORT_SECONDS)

    async def run_once(self) -> None:
        """Notes it once."""
        now = self._clock.now()
        await self._views.note_instance(
            InstanceView(
                id=self._id,
                service="reconciler",
                name=self._name,
                version=self._version,
                problems=tuple(self._readiness.problems()),
                programs={},
                certificates=self._certificates.look(),
                last_seen_at=now,
            ),
            None,
        )
        await self._views.forget_instances(now - FORGOTTEN)
