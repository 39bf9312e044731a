"""Whether this process should be sent work, and how what it needs is doing.

Two questions, kept apart on purpose. *Ready* is about this process alone: it has started and does
not drain. What all replicas share (Postgres, NATS, the control plane) never makes one of them
unready: if it is away it is away for all, and taking the whole fleet out of service would turn
an answer that says when to come back into no answer at all. Such a dependency is *degraded*: it is
shown, logged and measured.

`/readyz` beside the metrics has one line per check and 200 or 503. `warmpool_ready` is 1 or 0 by
`check`; the log says it when one changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from svckit.errors import ServiceError
from svckit.log import get_logger
from svckit.system import Clock

__all__ = ["Condition", "Probe", "Readiness"]

PROBE_SECONDS: Final = 2.0  # between two looks at a dependency
PROBE_SECONDS_MAX: Final = 4.0  # for one look

_SERVING = "serving"
_log = get_logger(__name__)

Probe = Callable[[], Awaitable[str]]
"""Looks at something this process needs; what is wrong with it, or "". May raise ServiceError."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that was looked at. A needed one that is not well makes the process unready."""

    name: str
    is_ok: bool
    is_needed: bool
    message: str = ""

    def line(self) -> str:
        """For people: "+" is well, "-" makes unready, "~" is degraded."""
        mark = "+" if self.is_ok else "-" if self.is_needed else "~"
        return f"[{mark}] {self.name}: {self.message or 'ok'}"


class Readiness:
    """What is known about one process. Read from other threads, written on the loop."""

    def __init__(self) -> None:
        """Nothing serves yet."""
        self._conditions = {_SERVING: Condition(_SERVING, False, True, "starting")}

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """As last looked at."""
        return tuple(self._conditions.values())

    @property
    def is_ready(self) -> bool:
        """Whether this process should be sent work."""
        return all(each.is_ok for each in self.conditions if each.is_needed)

    def report(self) -> str:
        """The page at /readyz."""
        lines = [each.line() for each in self.conditions]
        degraded = any(not each.is_ok for each in self.conditions)
        summary = "not ready" if not self.is_ready else "degraded" if degraded else "ready"
        return "\n".join([*lines, summary, ""])

    def problems(self) -> list[str]:
        """What this process has to do without, for others to know."""
        return [
            f"{each.name}: {each.message}"
            for each in self.conditions
            if not (each.is_ok or each.is_needed)
        ]

    def set_serving(self, serving: bool) -> None:
        """Say that the process takes work, or that it drains."""
        began = self._conditions[_SERVING].message != "starting"
        message = "" if serving else "draining" if began else "starting"
        self._put(Condition(_SERVING, serving, True, message))

    def set(self, name: str, problem: str) -> None:
        """Say how something outside is doing; "" is well."""
        self._put(Condition(name, not problem, False, problem))

    async def watch(self, name: str, probe: Probe, clock: Clock) -> None:
        """Looks again and again, forever. A look that takes too long is a problem of its own."""
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS_MAX):
                    problem = await probe()
            except TimeoutError:
                problem = f"does not answer within {PROBE_SECONDS_MAX:.0f} s"
            except ServiceError as error:
                problem = error.message
            self.set(name, problem)
            await clock.sleep(PROBE_SECONDS)

    def observe(self, meter: metrics.Meter) -> None:
        """Makes the metric."""

        def look(options: CallbackOptions) -> Iterable[Observation]:
            del options
            for each in self.conditions:
                yield Observation(int(each.is_ok), {"check": each.name})

        meter.create_observable_gauge(
            "warmpool.ready",
            callbacks=[look],
            description="1 if a check of /readyz is well, else 0.",
        )

    def _put(self, condition: Condition) -> None:
        former = self._conditions.get(condition.name)
        self._conditions = {**self._conditions, condition.name: condition}
        if former is not None and former.is_ok == condition.is_ok:
            return
        if condition.name == _SERVING:
            return  # the server logs that itself
        if not condition.is_ok:
            _log.warning(
                "A dependency is not well; the service goes on without.",
                action="readiness",
                name=condition.name,
                reason=condition.message,
            )
        elif former is not None:
            _log.info("A dependency is well again.", action="readiness", name=condition.name)
