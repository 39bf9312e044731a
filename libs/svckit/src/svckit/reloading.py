"""A channel that follows its TLS files: when they change, the next call goes over a new connection.

gRPC's own credentials for clients are fixed for a channel's life. So this one holds a channel, and
opens another when the files are others. Calls under way stay on the former, which is closed when
the last of them has ended: otherwise it would come back again and again with what is no longer
trusted. A stream that is open for a few renewals more is cancelled, see `svckit.cancellation`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from svckit.tls import Followed

__all__ = ["ReloadingChannel"]

RETIRED_MAX = 2  # renewals are hours apart: only a stream lives through three, and is opened anew

_Opener = Callable[[grpc.ChannelCredentials], grpc.aio.Channel]
_Callable = Callable[..., Any]


class ReloadingChannel(grpc.aio.Channel):
    """Looks like any channel to a stub."""

    def __init__(self, credentials: Followed[grpc.ChannelCredentials], open_one: _Opener) -> None:
        """Open the first."""
        self._credentials = credentials
        self._open = open_one
        self._current = open_one(credentials.now)
        self._retired: list[grpc.aio.Channel | None] = []  # by renewal; None has ended
        self._closing: set[asyncio.Task[None]] = set()
        self._under_way: Counter[grpc.aio.Channel] = Counter()

    @property
    def current(self) -> grpc.aio.Channel:
        """The channel for the next call."""
        renewed = self._credentials.renew()
        if renewed is not None:
            former, self._current = self._current, self._open(renewed)
            self._retired.append(former)
            if not self._under_way[former]:
                self._end(former)
            if len(self._retired) > RETIRED_MAX:
                self._end(self._retired[0])
                del self._retired[0]
        return self._current

    async def close(self, grace: float | None = None) -> None:
        """Close this and what it was before."""
        for channel in (*filter(None, self._retired), self._current):
            await channel.close(grace)
        if self._closing:
            await asyncio.wait(self._closing)

    async def __aenter__(self) -> Self:
        """As any channel."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the channel for the next call."""
        return self.current.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the channel that was the current one when this was called."""
        await self.current.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Of the channel that was the current one when this was called."""
        await self.current.channel_ready()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """As any channel."""
        return self._late(lambda channel: channel.unary_unary(*args, **options))

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """As any channel."""
        return self._late(lambda channel: channel.unary_stream(*args, **options))

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """As any channel."""
        return self._late(lambda channel: channel.stream_unary(*args, **options))

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """As any channel."""
        return self._late(lambda channel: channel.stream_stream(*args, **options))

    def _late(self, bind: Callable[[grpc.aio.Channel], _Callable]) -> _Callable:
        """A method that is bound to the current channel at each call."""
        bound_to, bound = self._current, bind(self._current)

        def call(*args: Any, **options: Any) -> Any:
            nonlocal bound_to, bound
            if self.current is not bound_to:
                bound_to, bound = self._current, bind(self._current)
            channel, made = bound_to, bound(*args, **options)
            self._under_way[channel] += 1
            made.add_done_callback(partial(self._count_ended, channel))
            return made

        return call

    def _count_ended(self, channel: grpc.aio.Channel, _call: object) -> None:
        self._under_way[channel] -= 1
        if not self._under_way[channel]:
            del self._under_way[channel]
            if channel in self._retired:
                self._end(channel)

    def _end(self, channel: grpc.aio.Channel | None) -> None:
        """Closes a former one, unless it has ended."""
        if channel is None:
            return
        self._retired[self._retired.index(channel)] = None
        closing = asyncio.get_running_loop().create_task(channel.close())
        self._closing.add(closing)  # awaited by `close`
        closing.add_done_callback(self._closing.discard)
