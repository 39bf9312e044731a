"""The agents of a benchmark: how many, in which processes, and when each heard what."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Crowd", "Storm", "many_files", "run_crowd"]

PER_PROCESS = 2_500
SPARE_FILES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """How it went when all came at once. `seconds` is the slowest process'; `refused` how often
    one was told to come back later, `broken` how often a stream broke before its first message.
    """

    seconds: float
    refused: int
    broken: int


class Crowd:
    """The agents' processes and what they say."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes
        self._heard: dict[int, asyncio.Future[float]] = {}

    async def wait_connected(self) -> Storm:
        """Returns when every agent waits."""
        lines = [(await _read_line(process)).split() for process in self._processes]
        return Storm(
            seconds=max(float(line[1]) for line in lines),
            refused=sum(int(line[2]) for line in lines),
            broken=sum(int(line[3]) for line in lines),
        )

    def hear(self, number: int) -> asyncio.Future[float]:
        """When this agent hears its next event, by the monotonic clock."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._heard[number] = future
        return future

    async def listen(self) -> None:
        """Notes every event, forever."""
        async with asyncio.TaskGroup() as tasks:
            for process in self._processes:
                tasks.create_task(self._listen_to(process))

    async def _listen_to(self, process: asyncio.subprocess.Process) -> None:
        while True:
            _, number, moment = (await _read_line(process)).split()
            if future := self._heard.pop(int(number), None):
                future.set_result(float(moment))


async def _read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "an agents' process ended"
    return line.decode().strip()


@asynccontextmanager
async def run_crowd(
    address: str, method: str, count: int, *, tokens_file: Path | None = None
) -> AsyncGenerator[Crowd]:
    """So many agents at this address, in as many processes as they need; see `bench_agents`."""
    more = [] if tokens_file is None else [str(tokens_file)]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "testkit.bench_agents", address, method),
            *(str(first), str(min(PER_PROCESS, count - first)), *more),
            stdout=asyncio.subprocess.PIPE,
        )
        for first in range(0, count, PER_PROCESS)
    ]
    try:
        yield Crowd(processes)
    finally:
        for process in processes:
            process.kill()
            await process.wait()


@contextmanager
def many_files(agents: int) -> Generator[None]:
    """Lets this process and its children open all the files they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > agents + SPARE_FILES, (
        f"{agents} agents need more open files than the {hard} that the machine allows"
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
