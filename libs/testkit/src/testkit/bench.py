"""What every benchmark does with its figures: percentiles, a table, a file, the ratio to the floor.

A benchmark asserts no time: machines differ and are shared. It measures its floor in the same run
and prints both, so that the ratio means something where the absolute figures do not.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

__all__ = ["Rate", "Report", "cpu_seconds", "percentile", "run_closed", "run_open"]

RESULTS = Path.cwd() / "bench-results"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of all values do not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def cpu_seconds(pid: int) -> float:
    """The CPU time a process has had so far, by Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How much was done in how long; latencies in milliseconds."""

    count: int
    seconds: float
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, latencies_seconds: Sequence[float], seconds: float) -> Rate:
        """The rate of calls that took so long each, and together."""
        in_ms = [1000 * latency for latency in latencies_seconds]
        return cls(
            count=len(in_ms),
            seconds=seconds,
            per_second=len(in_ms) / seconds,
            p50_ms=percentile(in_ms, 0.5),
            p90_ms=percentile(in_ms, 0.9),
            p99_ms=percentile(in_ms, 0.99),
            max_ms=max(in_ms, default=0.0),
        )


async def run_closed(act: Callable[[], Awaitable[object]], *, count: int, width: int) -> Rate:
    """`count` calls, `width` at a time, each sent as soon as one before it is answered."""
    latencies: list[float] = []
    left = count

    async def one_after_another() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            sent_at = perf_counter()
            await act()
            latencies.append(perf_counter() - sent_at)

    started_at = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(width):
            tasks.create_task(one_after_another())
    return Rate.of(latencies, perf_counter() - started_at)


async def run_open(
    act: Callable[[], Awaitable[object]], *, count: int, per_second: float = math.inf
) -> Rate:
    """`count` calls sent at fixed moments, whether or not those before them are answered; all at
    once by default. A latency counts from the moment the call was due.
    """
    latencies: list[float] = []

    async def one(due_at: float) -> None:
        await act()
        latencies.append(perf_counter() - due_at)

    started_at = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            due_at = started_at + number / per_second
            await _wait_until(due_at)
            tasks.create_task(one(due_at))
    return Rate.of(latencies, perf_counter() - started_at)


async def _wait_until(moment: float) -> None:
    """Until `perf_counter` says so; the loop's own timer, so that nothing polls."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    handle = loop.call_later(moment - perf_counter(), reached.set_result, None)
    try:
        await reached
    finally:
        handle.cancel()


class Report:
    """The lines of one benchmark. `print` shows them as a table and writes them to
    bench-results/<name>.json.
    """

    def __init__(self, name: str, title: str) -> None:
        self._name = name
        self._title = title
        self._rows: list[dict[str, object]] = []

    def add(self, what: str, **figures: object) -> None:
        """One line; figures in the order given. Fractions are shown with three digits."""
        self._rows.append({"what": what, **figures})

    def add_rate(self, what: str, rate: Rate, **more: object) -> None:
        """One line of a rate, and what else is known of it."""
        figures = {k: v for k, v in asdict(rate).items() if k not in ("seconds", "p90_ms")}
        self.add(what, **figures, **more)

    def print(self) -> None:
        """Shows and writes everything."""
        columns: list[str] = []
        for row in self._rows:
            columns += [name for name in row if name not in columns]
        cells = [[_show(row.get(name, "")) for name in columns] for row in self._rows]
        widths = [
            max(len(name), *(len(line[at]) for line in cells)) for at, name in enumerate(columns)
        ]
        print(f"\n{self._title}")
        for line in [columns, *cells]:
            first = line[0].ljust(widths[0])
            rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
            print("  ".join([first, *rest]).rstrip())
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self._name}.json").write_text(json.dumps(self._rows, indent=2) + "\n")


def _show(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if value == 0.0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
