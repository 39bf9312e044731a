"""Becomes an agent that outlives whoever started it.

Run as a file with `python -I -S`: `_launch.py PID_FILE LOG_FILE PROGRAM ARGUMENT...`. It forks; the
child begins a session of its own, writes its number into PID_FILE, sends its output to LOG_FILE
and becomes the program. The parent prints the child's number and ends when that has happened, or
says why it could not and ends with 1. The agent's parent is then the system's first process, which
waits for it.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Forks, and is either of the two."""
    pid_file, log_file, *command = sys.argv[1:]
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(pid_file, log_file, command)
        except OSError as error:
            os.write(write_end, f"{error.strerror}: {error.filename or command[0]}".encode())
        os._exit(127)
    os.close(write_end)
    trouble = os.read(read_end, 4096)  # ends when the program began: the pipe is closed at exec
    if trouble:
        os.waitpid(pid, 0)
        sys.exit(trouble.decode(errors="replace"))
    print(pid)


def _become(pid_file: str, log_file: str, command: list[str]) -> None:
    os.setsid()
    os.umask(0o077)
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    with open(f"{pid_file}.new", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    os.replace(f"{pid_file}.new", pid_file)
    for wanted, descriptor in ((0, nothing), (1, log), (2, log)):
        os.dup2(descriptor, wanted)
    os.execvpe(command[0], command, os.environ)


if __name__ == "__main__":
    main()
