"""The door to Postgres: one pool, transactions that are repeated when the database asks for it.

Promises: every statement has a time limit; a transaction function is run again, whole, after a
serialization failure, a deadlock or a cached plan that a migration made stale; a lost database
surfaces as `Unavailable`, which callers may retry; a text Postgres cannot hold, as
`InvalidArgument`. What a transaction function does outside the database it may do twice, so it does
nothing outside.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import asyncpg

from reconciler.store.queries import load_queries
from svckit.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

__all__ = ["Connection", "Database", "open_database"]

T = TypeVar("T")

LOCKS = load_queries("locks")
STATEMENT_TIMEOUT_SECONDS = 30.0
ACQUIRE_TIMEOUT_SECONDS = 10.0
ATTEMPTS_MAX = 5
RETRY_SECONDS = 1.0  # what a caller is told when the database is away
_REPEATABLE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,
)
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server's last word was read, the connection's end not yet
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    TimeoutError,
)
_HOLDS_NUL = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


async def _keep(connection: Connection) -> None:
    """Nothing is left in a session that only runs statements and transactions, and takes no lock
    that it does not give back, so there is nothing to reset: one question to the server less each
    time.
    """


_BY_KEY = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


@asynccontextmanager
async def open_database(
    url: str, *, pool_max: int, by_key: bool = False
) -> AsyncGenerator[Database]:
    """Opens a pool of at most `pool_max` connections; raises `Unavailable` if the database cannot
    be reached. `by_key` is for statements that find all their rows by key: they are planned once,
    whatever the tables hold, where planning each anew would take longer than running it.
    """
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=pool_max,
            command_timeout=STATEMENT_TIMEOUT_SECONDS,
            init=_prepare,
            reset=_keep,
            server_settings={
                "application_name": "warmpool-reconciler",
                "timezone": "UTC",
                **(_BY_KEY if by_key else {}),
            },
        )
    except _LOST as error:
        reason = str(error) or type(error).__name__  # a time-out says nothing of itself
        raise Unavailable(f"the database cannot be reached: {reason}") from error
    try:
        yield Database(pool, pool_max)
    finally:
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()


class Database:
    """A pool and the ways to use it: `read` for a look, `transact` or `change` for a change."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], pool_max: int) -> None:
        self._pool = pool
        self.pool_max = pool_max

    @property
    def in_use_count(self) -> int:
        """Connections that are out of the pool now."""
        return self._pool.get_size() - self._pool.get_idle_size()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection]:
        """A connection without a transaction: each statement sees what is committed."""
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
                yield connection
        except _LOST as error:
            raise Unavailable(
                f"the database is not there: {_name(error)}", retry_after_seconds=RETRY_SECONDS
            ) from error
        except _HOLDS_NUL as error:
            raise InvalidArgument(
                "a text holds the character NUL (U+0000); any other is allowed",
                reason="TEXT_INVALID",
            ) from error

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Connection]:
        """A read-only transaction that sees one moment."""
        async with (
            self.read() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work` in one READ COMMITTED transaction, again if the database asks for it."""

        async def in_transaction(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self.change(in_transaction)

    async def change(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work`, again if the database asks for it. For a change that is one statement, the
        last of `work`: that is a transaction of itself, and two questions to the server less.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with self.read() as connection:
                    return await work(connection)
            except _REPEATABLE as error:
                if attempt == ATTEMPTS_MAX:
                    raise Unavailable(
                        f"the database refused {ATTEMPTS_MAX} times: {_name(error)}",
                        retry_after_seconds=RETRY_SECONDS,
                    ) from error
        raise AssertionError("the loop returns or raises")

    async def probe(self) -> str:
        """Returns "" if the database answers; raises Unavailable."""
        async with self.read() as connection:
            await connection.fetchval(LOCKS.answer)
        return ""

    @asynccontextmanager
    async def try_lock(self, key: int) -> AsyncGenerator[bool]:
        """Tries a cluster-wide lock for the body; yields whether it was got. The lock dies with its
        connection.
        """
        async with self.read() as connection, connection.transaction():
            yield bool(await connection.fetchval(LOCKS.try_leader_lock, key))


def _name(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
