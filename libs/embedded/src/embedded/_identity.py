"""Which user a server runs as that refuses to be root, and what it may reach.

Promises: as an ordinary user, everything runs as that user. As root, a server runs as `nobody`
with no privilege at all, unless the checkout or the directory lies below one that is closed to
others (root's home): then it keeps one capability, to pass through directories and to read.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from embedded._child import Identity
from embedded.errors import Unsupported

__all__ = ["choose_identity", "give"]

CAP_DAC_READ_SEARCH = 2
CANDIDATES = ("nobody", "daemon", "bin")


def choose_identity(reached: tuple[Path, ...]) -> Identity:
    """The user to run as. `reached` are files and directories that the server must get to."""
    if os.geteuid() != 0:
        return Identity()
    for name in CANDIDATES:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        is_open = all(_is_open_to_others(path) for path in reached)
        capability = -1 if is_open else CAP_DAC_READ_SEARCH
        return Identity(uid=user.pw_uid, gid=user.pw_gid, capability=capability)
    raise Unsupported(
        f"Postgres refuses to run as root, and none of the users {', '.join(CANDIDATES)} exists;"
        " run as an ordinary user"
    )


def give(path: Path, identity: Identity) -> None:
    """Makes a file or directory the server's own."""
    if identity.uid >= 0:
        os.chown(path, identity.uid, identity.gid)


def _is_open_to_others(path: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in path.resolve().parents)
