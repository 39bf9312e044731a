"""What builds have made, as Terraform and the process provisioner remember it. Encrypted at rest.

Promises: the newest tfstate of a workspace is what its next build starts from, also when the build
that made it failed; only the live attempt of a job reads or writes; no tfstate lies in the database
in clear unless the operator asked for that.
"""

from __future__ import annotations

from uuid import UUID

from reconciler.store.cipher import StateCipher
from reconciler.store.db import Connection, Database
from reconciler.store.jobs import SQL, hold_attempt, must_be_live
from svckit.errors import Aborted, NotFound

__all__ = ["Tfstates"]


class Tfstates:
    """Keeps and gives tfstate."""

    def __init__(self, database: Database, cipher: StateCipher) -> None:
        self._database = database
        self._cipher = cipher

    async def read(self, job_id: UUID, attempt: int, organization_id: UUID | None) -> bytes | None:
        """The tfstate a job starts from; None if nothing was ever made. Raises FailedPrecondition
        if it cannot be decrypted.
        """
        async with self._database.read() as connection:
            await must_be_live(connection, job_id, attempt, organization_id)
            newest = await connection.fetchrow(SQL.get_tfstate, job_id)
        if newest is None:
            return None
        return self._cipher.open(newest["tfstate"], newest["workspace_id"])

    async def keep(
        self, job_id: UUID, attempt: int, organization_id: UUID | None, tfstate: bytes
    ) -> None:
        """Stores what a live attempt has made so far."""

        async def work(connection: Connection) -> None:
            if not await hold_attempt(connection, job_id, attempt, organization_id):
                raise Aborted(f"job {job_id} has ended", reason="JOB_ENDED")
            workspace_id = await connection.fetchval(SQL.find_workspace_of_job, job_id)
            if workspace_id is None:
                raise NotFound(f"job {job_id} has no build", reason="BUILD_UNKNOWN")
            sealed = self._cipher.seal(tfstate, workspace_id)
            await connection.execute(SQL.update_tfstate, job_id, sealed)

        await self._database.transact(work)

    async def count_unreadable(self) -> int:
        """How many living workspaces have a tfstate that none of our keys opens."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_tfstate_headers)
        return self._cipher.count_unreadable(row["header"] for row in rows)
