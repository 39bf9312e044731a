"""What makes a process unready, and what only degrades it."""

from __future__ import annotations

import asyncio

import pytest

from svckit.errors import Unavailable
from svckit.readiness import PROBE_SECONDS, PROBE_SECONDS_MAX, Readiness
from testkit.clock import LoopClock
from testkit.virtualtime import virtual_time


def test_a_process_is_ready_from_its_start_to_its_drain() -> None:
    readiness = Readiness()
    assert (readiness.is_ready, readiness.report()) == (False, "[-] serving: starting\nnot ready\n")

    readiness.set_serving(True)
    assert (readiness.is_ready, readiness.report()) == (True, "[+] serving: ok\nready\n")

    readiness.set_serving(False)
    assert (readiness.is_ready, readiness.report()) == (False, "[-] serving: draining\nnot ready\n")


def test_what_all_replicas_share_degrades_and_takes_nobody_out_of_service() -> None:
    readiness = Readiness()
    readiness.set_serving(True)

    readiness.set("nats", "not connected")
    assert readiness.is_ready
    assert readiness.report() == "[+] serving: ok\n[~] nats: not connected\ndegraded\n"

    readiness.set("nats", "")
    assert readiness.report() == "[+] serving: ok\n[+] nats: ok\nready\n"


@virtual_time
async def test_a_probe_that_raises_or_hangs_is_a_problem_with_its_reason() -> None:
    readiness = Readiness()
    problems = [Unavailable("nobody answers"), None, "a queue is full", ""]
    seen: list[str] = []

    async def probe() -> str:
        seen.append(readiness.report().splitlines()[-2])
        match problems.pop(0) if problems else "":
            case str(problem):
                return problem
            case None:
                await asyncio.Event().wait()
                raise AssertionError
            case error:
                raise error

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4.5 * PROBE_SECONDS + PROBE_SECONDS_MAX):
            await readiness.watch("postgres", probe, LoopClock())

    assert seen == [
        "[-] serving: starting",
        "[~] postgres: nobody answers",
        "[~] postgres: does not answer within 4 s",
        "[~] postgres: a queue is full",
        "[+] postgres: ok",
    ]
