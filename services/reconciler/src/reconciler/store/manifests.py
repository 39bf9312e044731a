"""What agents are told to run, which may hold secrets of the template: encrypted at rest.

Promises: once nothing is left of the release that knew only the column `manifest`, every manifest
is stored encrypted and none lies in clear. Until then each is stored in clear, where both releases
read it; a manifest in clear is therefore always the newer one. See ADR 0014.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from reconciler.store.cipher import MARK, StateCipher
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries

__all__ = ["Manifests", "open_manifest", "seal_manifest"]

SQL = load_queries("manifests")
BATCH: Final = 500  # manifests sealed in one transaction


def seal_manifest(cipher: StateCipher, agent_id: UUID, manifest: Mapping[str, Any]) -> bytes:
    """What to store."""
    return cipher.seal(json.dumps(manifest).encode(), agent_id)


def open_manifest(
    cipher: StateCipher, agent_id: UUID, plain: dict[str, Any], sealed: bytes | None
) -> dict[str, Any]:
    """The manifest of an agent's row. Raises FailedPrecondition if it cannot be decrypted."""
    if plain or sealed is None:
        return plain
    opened = cipher.open(sealed, agent_id, "the manifest of agent")
    return cast("dict[str, Any]", json.loads(opened))


class Manifests:
    """Looks after all of them."""

    def __init__(self, database: Database, cipher: StateCipher) -> None:
        self._database = database
        self._cipher = cipher

    async def seal_from_now_on(self, now: datetime) -> None:
        """Nothing is left of the release before: no manifest is stored in clear any more."""
        async with self._database.read() as connection:
            await connection.execute(SQL.seal_from_now_on, now)

    async def seal_all(self) -> int:
        """Encrypts those that lie in clear and need not, for the release before or because there
        was no key; returns how many there were.
        """
        total = 0
        while sealed := await self._database.transact(self._seal_some):
            total += sealed
        return total

    async def _seal_some(self, connection: Connection) -> int:
        mark = None if self._cipher.is_plain else MARK
        rows = await connection.fetch(SQL.list_plain_manifests, BATCH, mark)
        for row in rows:
            manifest = open_manifest(
                self._cipher, row["id"], row["manifest"], row["manifest_sealed"]
            )
            sealed = seal_manifest(self._cipher, row["id"], manifest)
            await connection.execute(SQL.seal_manifest, row["id"], sealed)
        return len(rows)

    async def count_unreadable(self) -> int:
        """How many living agents have a manifest that none of our keys opens."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_manifest_headers)
        return self._cipher.count_unreadable(row["header"] for row in rows)
