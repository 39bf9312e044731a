"""Which user a server runs as that refuses to be root, and what it may reach.

Promises: as an ordinary user, everything runs as that user. As root, a server runs as `nobody`
with no privilege at all, unless the checkout or the directory lies below one that is closed to
others (root's home): then it keeps one capability, to pass through directories and to read. Only
if the programs were installed for root alone (umask 077) is it the capability to override modes.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from embedded._child import Identity
from embedded.errors import Unsupported

__all__ = ["choose_identity", "give"]

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
NO_CAPABILITY = -1
CANDIDATES = ("nobody", "daemon", "bin")


def choose_identity(program: Path, directory: Path) -> Identity:
    """The user to run the program as, so that it also gets to the directory."""
    if os.geteuid() != 0:
        return Identity()
    for name in CANDIDATES:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        capability = _needed_capability(program, directory)
        return Identity(uid=user.pw_uid, gid=user.pw_gid, capability=capability)
    raise Unsupported(
        f"Postgres refuses to run as root, and none of the users {', '.join(CANDIDATES)} exists;"
        " run as an ordinary user"
    )


def give(path: Path, identity: Identity) -> None:
    """Makes a file or directory the server's own."""
    if identity.uid >= 0:
        os.chown(path, identity.uid, identity.gid)


def _needed_capability(program: Path, directory: Path) -> int:
    if not _is_open(program):
        return CAP_DAC_OVERRIDE
    passed = (*program.resolve().parents, *directory.resolve().parents)
    return NO_CAPABILITY if all(_is_open(each) for each in passed) else CAP_DAC_READ_SEARCH


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXOTH)
