"""Promises 1 to 4 at the gateway, over seeds of faults on a virtual clock.

`SEEDS` in the environment says how many seeds; the default is a smoke test. A broken promise names
its seed, and that seed tells the same story again, in any process. The mutants are gateways that
are broken on purpose: they show that the checker sees what it is there for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from agentgw.core.session_book import SessionBook, Told
from agentgw.core.verdicts import (
    Acknowledge,
    AgentCheck,
    RefusalReason,
    Refuse,
    Verdict,
    Wait,
)
from testkit.gateway_checker import check_promises
from testkit.gateway_world import Faults, GatewayWorld, Step, WorldPlan
from testkit.virtualtime import run_virtual

pytestmark = pytest.mark.sim

SEEDS = range(int(os.environ.get("SEEDS", "8")))
STEP_SEEDS = range(max(1, len(SEEDS) // len(Step)))
MUTANT_SEEDS = range(12)

TURMOIL = WorldPlan(
    faults=Faults(
        lost_hint=0.5,
        repeated_hint=0.3,
        hint_delay_seconds=2.0,
        failed_call=0.2,
        call_delay_seconds=0.5,
        lost_acknowledgement=0.5,
        failed_build=0.3,
        crashed_agent=0.2,
        gateway_crashes=3,
        gateway_drains=2,
        vanishing_agents=6,
        stranded_agents=6,
        bus_partitions=2,
        plane_partitions=2,
    )
)
# Everything is up, but reads take long enough for a claim to be committed during one.
FAIR = WorldPlan(agents=40, faults=Faults(call_delay_seconds=0.4, vanishing_agents=300))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plan, and how soon a claim must be told: once calm began, or at all times."""

    plan: WorldPlan
    within_seconds: float
    is_calm_first: bool = True
    expected: str = field(default="")
    """What a mutant is caught at."""


# a sweep and its slice, and the longest backoff of who was in trouble when calm began
IN_TURMOIL = Trial(plan=TURMOIL, within_seconds=30.0)
# four calls, each there and back: the one that is under way when the agent comes, its own, and both
# once more if its claim is announced meanwhile
IN_PEACE = Trial(plan=FAIR, within_seconds=4 * 2 * 0.4 + 0.1, is_calm_first=False)
# longer reads, during which more is committed: what is lost by then is lost in every other world
WITH_SLOW_READS = replace(
    IN_PEACE,
    plan=replace(FAIR, faults=replace(FAIR.faults, call_delay_seconds=2.0)),
    within_seconds=4 * 2 * 2.0 + 0.1,
)
# nothing sweeps, so that only what the bus says of itself finds what it lost
OFF_THE_BUS = Trial(
    plan=WorldPlan(
        agents=20, sweep_seconds=1e6, faults=Faults(bus_partitions=6, hint_delay_seconds=0.2)
    ),
    within_seconds=3.0,
)


def judge(seed: int, trial: Trial) -> list[str]:
    """What was broken in one world; every sentence names the seed."""
    world = GatewayWorld(seed, trial.plan)
    run_virtual(world.run())
    return [
        f"seed {seed}: {sentence}"
        for sentence in check_promises(
            world.stories,
            calm_since=world.calm_since if trial.is_calm_first else 0.0,
            within_seconds=trial.within_seconds,
            since_asked=not trial.is_calm_first,
        )
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_fault_breaks_a_promise(seed: int) -> None:
    assert judge(seed, IN_TURMOIL) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_with_everything_up_a_claim_is_told_at_once(seed: int) -> None:
    assert judge(seed, IN_PEACE) == []


@pytest.mark.parametrize("seed", STEP_SEEDS)
@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
def test_a_gateway_may_die_at_any_step(step: Step, seed: int) -> None:
    faults = Faults(hint_delay_seconds=0.5, vanishing_agents=20, lost_acknowledgement=0.3)
    plan = WorldPlan(agents=10, faults=faults, crash_at=step, crashes_at_step=8)
    assert judge(seed, Trial(plan=plan, within_seconds=30.0)) == []


@pytest.mark.parametrize("seed", STEP_SEEDS)
def test_what_the_bus_lost_is_found_when_it_is_back(seed: int) -> None:
    assert judge(seed, OFF_THE_BUS) == []


# --- Mutants -----------------------------------------------------------------------------------


class SubscribesAfterReading(SessionBook):
    """What is hinted at during a session's first read is lost."""

    def hint(self, workspace_id: str) -> int:
        under_way, self._reads = self._reads, {}
        try:
            return super().hint(workspace_id)
        finally:
            self._reads = under_way


class NeverSweeps(SessionBook):
    """Who waits is never looked at again without a hint."""

    def sweep(self, *, read_before_seconds: float) -> int:
        return 0


class IgnoresDisturbances(SessionBook):
    """That the bus was away changes nothing."""

    def hint_all(self) -> None:
        pass


class KeepsOldSessions(SessionBook):
    """A newer session of an agent ends no older one."""

    def open(self, token_hash: bytes, *, last_applied_claim_id: str) -> tuple[int, int | None]:
        self._by_token.pop(token_hash, None)
        return super().open(token_hash, last_applied_claim_id=last_applied_claim_id)


class _Tells(SessionBook):
    """Tells something else than what it found."""

    def finish_read(
        self, read_id: int, checks: Sequence[AgentCheck], *, now_seconds: float
    ) -> tuple[Told, ...]:
        told = super().finish_read(read_id, checks, now_seconds=now_seconds)
        return tuple(self.change(one) for one in told)

    def change(self, told: Told) -> Told:
        raise NotImplementedError


class ForgetsAcknowledgements(_Tells):
    """An acknowledgement that got lost stays lost."""

    def change(self, told: Told) -> Told:
        return replace(told, answer=Wait()) if isinstance(told.answer, Acknowledge) else told


class BelievesWhatIsNotRecorded(_Tells):
    """An agent that says that it has applied its claim is sent away before that is durable: should
    the gateway die now, it never is.
    """

    def change(self, told: Told) -> Told:
        if not isinstance(told.answer, Acknowledge):
            return told
        settled = Refuse(reason=RefusalReason.CLAIM_ALREADY_APPLIED, message="as you say")
        return replace(told, answer=settled)


class DeliversOnEveryStream(SessionBook):
    """Who has acknowledged is told again."""

    def finish_read(
        self, read_id: int, checks: Sequence[AgentCheck], *, now_seconds: float
    ) -> tuple[Told, ...]:
        again = [
            replace(check, verdict=Verdict.DELIVERABLE, claim_id=f"{check.claim_id[:-4]}0000")
            if check.verdict is Verdict.ALREADY_APPLIED
            else check
            for check in checks
        ]
        return super().finish_read(read_id, again, now_seconds=now_seconds)


MUTANTS: dict[type[SessionBook], Trial] = {
    SubscribesAfterReading: replace(WITH_SLOW_READS, expected="2:"),
    NeverSweeps: Trial(
        plan=WorldPlan(faults=Faults(lost_hint=1.0)), within_seconds=30.0, expected="never told"
    ),
    IgnoresDisturbances: replace(OFF_THE_BUS, expected="never told"),
    KeepsOldSessions: replace(IN_TURMOIL, expected="had two at once"),
    ForgetsAcknowledgements: replace(IN_TURMOIL, expected="never acknowledged"),
    BelievesWhatIsNotRecorded: replace(IN_TURMOIL, expected="applied what it has not"),
    DeliversOnEveryStream: replace(IN_TURMOIL, expected="after its acknowledgement"),
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_gateway_is_caught(mutant: type[SessionBook]) -> None:
    trial = MUTANTS[mutant]
    trial = replace(trial, plan=replace(trial.plan, make_book=mutant))
    broken: list[str] = []
    for seed in MUTANT_SEEDS:
        broken += judge(seed, trial)
        if any(trial.expected in sentence for sentence in broken):
            return
    raise AssertionError(broken)


# --- Seeds -------------------------------------------------------------------------------------


def test_a_stream_that_breaks_at_the_moment_it_is_refused_is_one_that_broke() -> None:
    assert judge(223, IN_PEACE) == []


def test_one_seed_always_tells_the_same_story() -> None:
    def tell(seed: int) -> str:
        world = GatewayWorld(seed, TURMOIL)
        run_virtual(world.run())
        return repr(world.stories)

    assert tell(3) == tell(3)
    assert tell(3) != tell(4)


def test_a_failing_seed_is_named_and_fails_the_same_in_another_process() -> None:
    trial = replace(
        MUTANTS[ForgetsAcknowledgements],
        plan=replace(TURMOIL, make_book=ForgetsAcknowledgements),
    )
    seed, broken = next((seed, broken) for seed in MUTANT_SEEDS if (broken := judge(seed, trial)))
    assert all(sentence.startswith(f"seed {seed}: ") for sentence in broken)
    code = (
        "import runpy, dataclasses;"
        f"m = runpy.run_path({__file__!r});"
        "t = m['MUTANTS'][m['ForgetsAcknowledgements']];"
        "p = dataclasses.replace(t.plan, make_book=m['ForgetsAcknowledgements']);"
        f"print(*m['judge']({seed}, dataclasses.replace(t, plan=p)), sep='\\n')"
    )
    for hash_seed in ("1", "2"):
        replayed = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert replayed.stdout.splitlines() == broken
