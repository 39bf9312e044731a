"""`eventually` looks until it is so, or tells what was last seen."""

from __future__ import annotations

import asyncio

import pytest

from testkit.eventually import eventually
from testkit.virtualtime import virtual_time


@virtual_time
async def test_it_returns_what_the_check_returned_in_the_end() -> None:
    looks = iter(range(10))

    async def check() -> int:
        look = next(looks)
        assert look >= 3
        return look

    assert await eventually(check) == 3


@virtual_time
async def test_it_raises_the_last_failure_when_time_is_up() -> None:
    def check() -> None:
        raise AssertionError("never so")

    with pytest.raises(AssertionError, match="never so") as caught:
        await eventually(check, seconds=30)
    assert "still so after 30 s" in caught.value.__notes__[0]
    assert asyncio.get_running_loop().time() == pytest.approx(30, abs=0.2)


@virtual_time
async def test_another_error_is_not_waited_out() -> None:
    def check() -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError):
        await eventually(check)
    assert asyncio.get_running_loop().time() == 0
