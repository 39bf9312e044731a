"""The schema, before anything serves: brought up to date, or found to be.

An installation of many replicas has a job for the first, so that no replica needs the rights to
change the schema; each replica then does the second, and does not serve on a schema it cannot use.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.store.cipher import StateCipher
from reconciler.store.db import Database, open_database
from reconciler.store.manifests import Manifests
from reconciler.store.migrate import list_missing, migrate
from reconciler.wiring.settings import ReconcilerSettings
from svckit.errors import StartFailed
from svckit.log import get_logger
from svckit.rungroup import RunGroup
from svckit.system import SystemClock

__all__ = ["bring_up_to_date", "prepare_schema", "read_arguments"]

LOG = get_logger(__name__)


def read_arguments(argv: Sequence[str]) -> list[str]:
    """The flags of `python -m reconciler migrate` as settings: `--post` is short for one."""
    return ["--migrate-post" if word == "--post" else word for word in argv]


async def bring_up_to_date(settings: ReconcilerSettings, group: RunGroup) -> None:
    """Applies what is missing, and returns."""
    del group
    async with open_database(settings.read_database_url(), pool_max=1) as database:
        await apply_missing(database, post=settings.migrate_post)
        LOG.info("the schema is up to date", action="migrate")


async def prepare_schema(settings: ReconcilerSettings, database: Database) -> None:
    """Makes sure that this release can serve; raises StartFailed if it may not and cannot."""
    if settings.migrate:
        await apply_missing(database, post=settings.migrate_post)
    elif missing := await list_missing(database):
        raise StartFailed(
            f"the schema lacks {', '.join(missing)}: run `python -m reconciler migrate` first, or"
            " set migrate"
        )


async def apply_missing(database: Database, *, post: bool) -> None:
    """Applies and logs; with `post` nothing is left of the release before."""
    for name in await migrate(database, post=post):
        LOG.info("a migration was applied", action="migrate", name=name)
    if post:  # reconcilers that serve encrypt what lies in clear: they have the key
        await Manifests(database, StateCipher([])).seal_from_now_on(SystemClock().now())
