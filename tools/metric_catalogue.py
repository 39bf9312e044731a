"""Every metric of the services, as Prometheus shows it: read from the code that makes the
instruments, by making them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from opentelemetry import metrics
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter

__all__ = ["Metric", "load_catalogue"]

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Metric:
    """One metric. `name` is that of the series, without the suffixes of a histogram's."""

    name: str
    kind: Kind
    service: str
    help: str

    def as_json(self) -> dict[str, str]:
        """For the file that other tools read."""
        return asdict(self)


class _Recorder(NoOpMeter):
    """Makes instruments that do nothing, and remembers which."""

    def __init__(self, service: str, found: list[Metric]) -> None:
        super().__init__(service)
        self._service = service
        self._found = found

    def _note(self, kind: Kind, name: str, unit: str, description: str) -> None:
        name = name.replace(".", "_")
        if unit == "s" and not name.endswith("_seconds"):
            name += "_seconds"
        if kind == "counter" and not name.endswith("_total"):
            name += "_total"
        self._found.append(Metric(name, kind, self._service, description))

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        self._note("counter", name, unit, description)
        return super().create_counter(name, unit, description)

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        self._note("counter", name, unit, description)
        return super().create_observable_counter(name, callbacks, unit, description)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        self._note("gauge", name, unit, description)
        return super().create_up_down_counter(name, unit, description)

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        self._note("gauge", name, unit, description)
        return super().create_observable_up_down_counter(name, callbacks, unit, description)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Any:
        self._note("gauge", name, unit, description)
        return super().create_gauge(name, unit, description)

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        self._note("gauge", name, unit, description)
        return super().create_observable_gauge(name, callbacks, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Any = None,
    ) -> Any:
        self._note("histogram", name, unit, description)
        return super().create_histogram(name, unit, description)


class _Provider(MeterProvider):
    """Hands out recorders; what the chassis makes is for every service."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> Meter:
        return _Recorder("all" if name == "svckit" else name, self._found)


def load_catalogue() -> tuple[Metric, ...]:
    """Every metric, by service. To be called once in a process: telemetry is set up in it."""
    found: list[Metric] = []
    provider = _Provider(found)
    metrics.set_meter_provider(provider)
    importlib.import_module("svckit.metrics")
    for service, make in _services():
        make(provider.get_meter(service))
    return tuple(dict.fromkeys(found))


def _services() -> list[tuple[str, Callable[[Meter], object]]]:
    """Where the services make theirs. Imported late: telemetry comes first."""
    from agentgw.store.metrics import GatewayMetrics
    from provisionerd.core.slots import Slots
    from provisionerd.loops.metrics import WorkerMetrics
    from reconciler.loops.metrics import PoolMetrics
    from reconciler.loops.notifications import NotificationMetrics

    def gateway(meter: Meter) -> None:
        GatewayMetrics(meter).observe_sessions(lambda: 0, lambda: 0)

    return [
        ("reconciler", PoolMetrics),
        ("reconciler", NotificationMetrics),
        ("agentgw", gateway),
        ("provisionerd", lambda meter: WorkerMetrics(meter, Slots(1))),
    ]
