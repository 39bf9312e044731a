"""Becomes the program it is told to run, after tying itself to its parent's life.

Run as a file with `python -I -S`, so that nothing happens between fork and exec in the parent
(gRPC's fork handlers, threads): `_launch.py PARENT_PID DEATH_SIGNAL UID GID CAPABILITY PROGRAM
ARGUMENT...`, where UID -1 keeps the user and CAPABILITY -1 asks for none.

On Linux the kernel sends DEATH_SIGNAL when the parent's starting thread ends, however it ended.
Elsewhere that tie does not exist and the program merely runs. A CAPABILITY is one bit that survives
the change of user, so that a program run as an unprivileged user can reach a directory below one
that is closed to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    """Prepares this process and becomes the program."""
    parent, death_signal, uid, gid, capability = map(int, sys.argv[1:6])
    program = sys.argv[6:]
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if uid >= 0:
        if libc and capability >= 0:
            # Without it setuid drops the capability, and access(2) does as if it were not there.
            libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        with contextlib.suppress(PermissionError):  # a user namespace may forbid it
            os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        if libc and capability >= 0:
            _keep(libc, capability)
    if libc:  # after setuid, which clears it
        libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent ended before the program began")
    os.execvpe(program[0], program, os.environ)


def _keep(libc: ctypes.CDLL, capability: int) -> None:
    """Keeps one capability across exec, and drops all others."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable
    if libc.capset(header, sets) != 0:
        sys.exit(f"capset failed: {os.strerror(ctypes.get_errno())}")
    if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0:
        sys.exit(f"the capability was not kept: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
