"""What a template offers: its version, presets and parameters, read once for many requests.

What is remembered may be `KEPT_SECONDS` old, so it may only lead to what a statement checks again:
a claim, which demands that the version is the active one. Everything else asks `read`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from reconciler.core.parameters import read_parameters
from reconciler.core.presets import Parameter
from reconciler.store.workspaces import PresetRow, TemplateRow, Workspaces
from svckit.system import Clock

__all__ = ["Offer", "Offers"]

KEPT_SECONDS: Final = 1.0
KEPT_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A template and version, with the presets and parameters of the version if there is one."""

    template: TemplateRow
    presets: tuple[PresetRow, ...]
    parameters: tuple[Parameter, ...]


class Offers:
    """Reads offers."""

    def __init__(self, workspaces: Workspaces, clock: Clock) -> None:
        self._workspaces = workspaces
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, str], tuple[Offer, float]] = OrderedDict()

    async def find(self, organization: str, template: str, version: str) -> Offer | None:
        """The offer as it was at most `KEPT_SECONDS` ago; None if there is no such template. An
        empty version means the active one.
        """
        offer, until = self._kept.get((organization, template, version), (None, 0.0))
        if offer is not None and self._clock.monotonic() < until:
            return offer
        return await self.read(organization, template, version)

    async def read(self, organization: str, template: str, version: str) -> Offer | None:
        """The offer as it is."""
        key = (organization, template, version)
        read_at = self._clock.monotonic()
        row = await self._workspaces.find_template(organization, template, version or None)
        if row is None:
            self._kept.pop(key, None)
            return None
        presets = (
            () if row.version_id is None else await self._workspaces.list_presets(row.version_id)
        )
        offer = Offer(template=row, presets=presets, parameters=read_parameters(row.parameters))
        self._kept[key] = (offer, read_at + KEPT_SECONDS)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return offer
