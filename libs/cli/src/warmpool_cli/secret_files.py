"""A secret that goes into a file instead of the terminal's history."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from warmpool_cli.errors import Conflict

__all__ = ["new_secret_file"]


@contextmanager
def new_secret_file(path: Path) -> Generator[Callable[[str], None]]:
    """Makes a file that only its owner may read, and yields what writes a secret into it.

    The file is there before the secret is asked for, so that none is made that cannot be kept; it
    goes again if none came. Raises Conflict if there is a file of that name.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(
            f"{path} exists already", "name a file that is not there yet, or remove it"
        ) from error
    is_written = False
    with os.fdopen(handle, "w", encoding="utf-8") as file:

        def write(secret: str) -> None:
            nonlocal is_written
            file.write(secret + "\n")
            is_written = True

        try:
            yield write
        finally:
            if not is_written:
                path.unlink(missing_ok=True)
