"""One suite over every bus.

A bus joins by adding to `WORLDS` a function that prepares a `World`: how to open a bus, and how to
take away and give back what carries its messages.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client

from bus.api import PAYLOAD_BYTES_MAX, Bus, Message, Subscription
from bus.errors import BusUnavailable, MessageTooLarge, SubjectInvalid
from bus.memory import MemoryBus
from bus.nats import NatsAccess, NatsBus, connect_nats
from embedded.nats import EmbeddedNats
from testkit.nats import OwnNats

pytestmark = pytest.mark.conformance

PATIENCE_SECONDS = 20.0
GIVEN_UP_SECONDS = 8.0  # below the 10 s after which nats-py would give up by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where buses live."""

    open_bus: Callable[[], Awaitable[Bus]]
    interrupt: Callable[[], Awaitable[None]]
    restore: Callable[[], Awaitable[None]]


@asynccontextmanager
async def memory_world(directory: Path) -> AsyncGenerator[World]:
    bus = MemoryBus()

    async def open_bus() -> Bus:
        return bus

    async def interrupt() -> None:
        bus.go_down()

    async def restore() -> None:
        bus.come_back()

    yield World(open_bus=open_bus, interrupt=interrupt, restore=restore)
    await bus.close()


@asynccontextmanager
async def nats_world(directory: Path) -> AsyncGenerator[World]:
    server = EmbeddedNats(directory)
    await server.start()
    buses: list[Bus] = []

    async def open_bus() -> Bus:
        buses.append(await connect_nats(server.url, name="conformance"))
        return buses[-1]

    try:
        yield World(open_bus=open_bus, interrupt=server.stop, restore=server.start)
    finally:
        for bus in buses:
            await bus.close()
        await server.stop()


WORLDS: dict[str, Callable[[Path], AbstractAsyncContextManager[World]]] = {
    "memory": memory_world,
    "nats": nats_world,
}


@pytest.fixture(params=list(WORLDS))
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    async with WORLDS[request.param](tmp_path) as prepared:
        yield prepared


@pytest.fixture
async def bus(world: World) -> Bus:
    return await world.open_bus()


async def receive(subscription: Subscription) -> Message:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await anext(subscription)


async def grown(bus: Bus, generation: int) -> None:
    """Returns when the bus has reported a disturbance since `generation`."""
    disturbed = asyncio.Event()
    unregister = bus.on_disturbance(disturbed.set)
    try:
        while bus.generation == generation:
            disturbed.clear()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await disturbed.wait()
    finally:
        unregister()


async def test_a_message_reaches_who_listens(bus: Bus) -> None:
    async with bus.subscribe("a.b") as listener:
        await bus.flush()
        await bus.publish("a.b", b"x", {"traceparent": "00-1"})
        assert await receive(listener) == Message(
            subject="a.b", payload=b"x", headers={"traceparent": "00-1"}
        )
        assert listener.dropped == 0


async def test_after_a_flush_nothing_is_missed(world: World) -> None:
    writer, reader = await world.open_bus(), await world.open_bus()
    for number in range(300):
        async with reader.subscribe(f"a.{number}") as listener:
            await reader.flush()
            await writer.publish(f"a.{number}", b"x")
            assert (await receive(listener)).payload == b"x"


async def test_a_message_reaches_another_bus_in_order(world: World) -> None:
    writer, reader = await world.open_bus(), await world.open_bus()
    async with reader.subscribe("a.*") as listener:
        await reader.flush()
        for number in range(20):
            await writer.publish(f"a.{number}", str(number).encode())
        received = [await receive(listener) for _ in range(20)]
    assert received == [
        Message(subject=f"a.{number}", payload=str(number).encode()) for number in range(20)
    ]


async def test_a_message_reaches_only_who_listens_to_its_subject(bus: Bus) -> None:
    async with bus.subscribe("a.>") as left, bus.subscribe("b.*") as right:
        await bus.flush()
        await bus.publish("b.x", b"for right")
        await bus.publish("a.x.y", b"for left")
        assert (await receive(left)).payload == b"for left"
        assert (await receive(right)).payload == b"for right"


async def test_one_member_of_a_group_gets_a_message(bus: Bus) -> None:
    async with (
        bus.subscribe("a", queue="g") as one,
        bus.subscribe("a", queue="g") as two,
        bus.subscribe("a") as everything,
    ):
        await bus.flush()
        for number in range(30):
            await bus.publish("a", str(number).encode())
        await bus.publish("a", b"end")
        seen: list[Message] = []
        while not seen or seen[-1].payload != b"end":
            seen.append(await receive(everything))
        shared: list[bytes] = []
        complete = asyncio.Event()

        async def collect(member: Subscription) -> None:
            async for message in member:
                shared.append(message.payload)
                if len(shared) == len(seen):
                    complete.set()

        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            collectors = [group.create_task(collect(member)) for member in (one, two)]
            await complete.wait()
            for collector in collectors:
                collector.cancel()
    assert sorted(shared) == sorted(message.payload for message in seen)


async def test_a_full_subscription_drops_the_newest_and_says_so(bus: Bus) -> None:
    generation = bus.generation
    async with bus.subscribe("a", pending_max=3) as slow, bus.subscribe("a") as quick:
        await bus.flush()
        for number in range(10):
            await bus.publish("a", str(number).encode())
        assert [(await receive(quick)).payload for _ in range(10)][-1] == b"9"
        await grown(bus, generation)
        kept = [(await receive(slow)).payload for _ in range(3)]
        assert (kept, slow.dropped) == ([b"0", b"1", b"2"], 7)
        await bus.publish("a", b"later")
        assert (await receive(slow)).payload == b"later"


async def test_leaving_the_context_ends_the_iteration(bus: Bus) -> None:
    async with bus.subscribe("a") as listener:
        await bus.flush()
        await bus.publish("a", b"x")
        await bus.flush()
    assert [message async for message in listener] == []
    await bus.publish("a", b"y")
    await bus.flush()
    assert [message async for message in listener] == []


async def test_a_receiver_is_released_when_the_bus_closes(bus: Bus) -> None:
    async with bus.subscribe("a") as listener, asyncio.timeout(PATIENCE_SECONDS):
        await bus.flush()
        async with asyncio.TaskGroup() as group:

            async def drain() -> list[Message]:
                return [message async for message in listener]

            receiver = group.create_task(drain())
            await bus.close()
    assert receiver.result() == []
    assert not bus.connected
    with pytest.raises(BusUnavailable):
        await bus.publish("a", b"x")
    with pytest.raises(BusUnavailable):
        await bus.flush()
    with pytest.raises(BusUnavailable):
        async with bus.subscribe("a"):
            pass
    await bus.close()


@pytest.mark.parametrize("subject", ["", "a.*", "a.>", "a..b", "a b", "a\r\nPING"])
async def test_a_malformed_subject_is_refused(bus: Bus, subject: str) -> None:
    with pytest.raises(SubjectInvalid):
        await bus.publish(subject, b"x")
    with pytest.raises(SubjectInvalid):
        async with bus.subscribe(subject + " "):
            pass


async def test_what_is_too_large_is_refused(bus: Bus) -> None:
    with pytest.raises(MessageTooLarge):
        await bus.publish("a", b"x" * (PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(MessageTooLarge):
        await bus.publish("a", b"x", {"traceparent": "x" * 5000})
    with pytest.raises(SubjectInvalid):
        await bus.publish("a", b"x", {"a": "b\r\nc: d"})
    async with bus.subscribe("a") as listener:
        await bus.flush()
        await bus.publish("a", b"x" * PAYLOAD_BYTES_MAX)
        assert len((await receive(listener)).payload) == PAYLOAD_BYTES_MAX


async def test_an_interruption_is_admitted_and_survived(world: World, bus: Bus) -> None:
    async with bus.subscribe("a") as listener:
        await bus.flush()
        generation = bus.generation
        await world.interrupt()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while bus.connected:
                with contextlib.suppress(BusUnavailable):
                    await bus.flush()
                await asyncio.sleep(0)
        with pytest.raises(BusUnavailable):
            await bus.flush()
        with pytest.raises(BusUnavailable):
            await bus.publish("a", b"lost")
        async with bus.subscribe("b") as late:
            await world.restore()
            await grown(bus, generation)
            await bus.flush()
            assert bus.connected
            await bus.publish("a", b"old listener")
            await bus.publish("b", b"new listener")
            assert (await receive(listener)).payload == b"old listener"
            assert (await receive(late)).payload == b"new listener"


async def test_who_unregisters_is_not_called_back(world: World, bus: Bus) -> None:
    calls: list[str] = []
    unregister = bus.on_disturbance(lambda: calls.append("gone"))
    unregister()
    unregister()
    generation = bus.generation
    await world.interrupt()
    await world.restore()
    await grown(bus, generation)
    assert calls == []


async def test_a_bus_starts_without_its_server_and_finds_it_later(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    await server.start()
    await server.stop()
    bus = await connect_nats(server.url, name="early")
    try:
        assert not bus.connected
        async with bus.subscribe("a") as listener:
            with pytest.raises(BusUnavailable):
                await bus.publish("a", b"too early")
            await server.start()
            await grown(bus, 0)
            await bus.publish("a", b"x")
            assert (await receive(listener)).payload == b"x"
    finally:
        await bus.close()
        await server.stop()


async def test_a_bus_can_be_spared_what_it_says_itself(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    await server.start()
    one = await connect_nats(server.url, name="one", hears_itself=False)
    other = await connect_nats(server.url, name="other")
    try:
        async with one.subscribe("a") as heard, other.subscribe("a") as overheard:
            await one.flush()
            await other.flush()
            await one.publish("a", b"mine")
            assert (await receive(overheard)).payload == b"mine"
            await other.publish("a", b"yours")
            assert (await receive(heard)).payload == b"yours"
    finally:
        await one.close()
        await other.close()
        await server.stop()


class FrozenOnceConnected(NatsBus):
    """Its server is held still as soon as it has let the bus in, before anything else is asked."""

    def __init__(self, server: OwnNats) -> None:
        super().__init__(
            server.url, name="frozen", access=NatsAccess(), ping_seconds=10, hears_itself=True
        )
        self._server = server
        self.attempts = 0
        self.has_given_up = asyncio.Event()

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        self.attempts += 1
        if self.attempts > 1:
            self.has_given_up.set()
        await super()._connect(client, closed)
        if self.attempts == 1:
            self._server.freeze()


async def test_a_server_that_freezes_at_the_first_flush_is_given_up_and_tried_anew(
    own_nats: OwnNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would end it: the connection stays open, and nobody answers on it."""
    monkeypatch.setattr("bus.nats.FLUSH_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("bus.nats.FIRST_CONNECT_SECONDS", 0.1)
    bus = FrozenOnceConnected(own_nats)
    await bus.start()
    try:
        async with bus.subscribe("a") as listener:
            async with asyncio.timeout(GIVEN_UP_SECONDS):
                await bus.has_given_up.wait()
            assert not bus.connected
            with pytest.raises(BusUnavailable, match="TimeoutError"):
                await bus.publish("a", b"to nobody")
            monkeypatch.undo()
            own_nats.thaw()
            await grown(bus, 0)
            await bus.flush()
            await bus.publish("a", b"x")
            assert (await receive(listener)).payload == b"x"
    finally:
        own_nats.thaw()
        await bus.close()


async def test_refused_credentials_never_show_and_never_end_the_bus(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    await server.start()
    wrong = f"nats://hunter2@127.0.0.1:{server.port}"
    bus = await connect_nats(wrong, name="stranger")
    try:
        assert not bus.connected
        with pytest.raises(BusUnavailable) as caught:
            await bus.publish("a", b"x")
        assert "hunter2" not in str(caught.value)
    finally:
        await bus.close()
        await server.stop()
