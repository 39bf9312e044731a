"""Promises 1 to 4 at the gateway, over seeds of faults on a virtual clock.

`SEEDS` in the environment says how many seeds; the default is a smoke test. Two broken gateways
show that the checker can see what it is there for.
"""

from __future__ import annotations

import os

import pytest

from agentgw.core.session_book import SessionBook
from testkit.gateway_checker import check_promises
from testkit.gateway_world import Faults, GatewayWorld, WorldPlan
from testkit.virtualtime import run_virtual

pytestmark = pytest.mark.sim

SEEDS = range(int(os.environ.get("SEEDS", "8")))

TURMOIL = Faults(
    lost_hint=0.5,
    repeated_hint=0.3,
    hint_delay_seconds=2.0,
    failed_call=0.2,
    call_delay_seconds=0.5,
    lost_acknowledgement=0.5,
    gateway_crashes=3,
    gateway_drains=2,
    vanishing_agents=6,
)
# Everything is up, but reads take long enough for a claim to be committed during one.
FAIR = Faults(call_delay_seconds=0.4, vanishing_agents=300)


def judge(seed: int, plan: WorldPlan, *, within_seconds: float, calm_counts: bool) -> list[str]:
    world = GatewayWorld(seed, plan)
    run_virtual(world.run())
    return check_promises(
        world.stories,
        calm_since=world.calm_since if calm_counts else 0.0,
        within_seconds=within_seconds,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_fault_breaks_a_promise(seed: int) -> None:
    plan = WorldPlan(faults=TURMOIL)
    # a sweep and its slice, and the longest backoff of who was in trouble when calm began
    assert judge(seed, plan, within_seconds=30.0, calm_counts=True) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_with_everything_up_a_claim_is_told_at_once(seed: int) -> None:
    plan = WorldPlan(agents=40, faults=FAIR)
    assert judge(seed, plan, within_seconds=3.0, calm_counts=False) == []


class SubscribesAfterReading(SessionBook):
    """A mutant: what is hinted at during a session's first read is lost."""

    def hint(self, workspace_id: str) -> int:
        under_way, self._reads = self._reads, {}
        try:
            return super().hint(workspace_id)
        finally:
            self._reads = under_way


class NeverSweeps(SessionBook):
    """A mutant: who waits is never looked at again without a hint."""

    def sweep(self, *, read_before_seconds: float) -> int:
        return 0


def test_a_gateway_that_subscribes_after_reading_is_caught() -> None:
    plan = WorldPlan(agents=40, faults=FAIR, make_book=SubscribesAfterReading)
    broken = [
        sentence
        for seed in range(12)
        for sentence in judge(seed, plan, within_seconds=3.0, calm_counts=False)
    ]
    assert any(sentence.startswith("2:") for sentence in broken), broken


def test_a_gateway_that_never_sweeps_is_caught() -> None:
    faults = Faults(lost_hint=1.0)
    plan = WorldPlan(faults=faults, make_book=NeverSweeps)
    broken = judge(0, plan, within_seconds=30.0, calm_counts=True)
    assert any("never told" in sentence for sentence in broken), broken


def test_one_seed_always_tells_the_same_story() -> None:
    def tell() -> list[object]:
        world = GatewayWorld(3, WorldPlan(faults=TURMOIL))
        run_virtual(world.run())
        return list(world.stories)

    assert tell() == tell()


def test_a_lost_acknowledgement_survives_a_crash_of_the_gateway_that_learned_of_it() -> None:
    """Seed 68: the agent was refused before its acknowledgement was durable, and stopped asking."""
    assert judge(68, WorldPlan(faults=TURMOIL), within_seconds=30.0, calm_counts=True) == []
