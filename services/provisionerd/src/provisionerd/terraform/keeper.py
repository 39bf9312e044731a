"""Hands a growing tfstate on while terraform writes it.

Promises: `keep` gets every tfstate this sees that is whole and differs from the last one kept, in
order, with what is half made marked in it (see `creations`); half-written files are passed over and
seen again; `keep_last` hands on the newest one also when terraform failed or was ended. While
terraform runs, a `keep` that fails is tried again at the next turn; at the end its failure is the
caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from provisionerd.terraform.creations import CreationsFile, read_creations
from provisionerd.terraform.events import Event
from provisionerd.terraform.protection import TFSTATE_FILE, embed_names, read_override
from provisionerd.terraform.tfstate import Tfstate, TfstateUnreadable, read_tfstate

__all__ = ["SOURCE_DIR", "TfstateKeeper", "salvage_tfstate"]

SOURCE_DIR = "src"
"""Where in a job's working directory its copy of the template is, and so its tfstate."""


def salvage_tfstate(work_dir: Path) -> bytes | None:
    """The tfstate in the working directory of a job whose worker was ended by force, with what is
    half made marked in it; None if there is none that is whole.
    """
    source_dir = work_dir / SOURCE_DIR
    try:
        content = (source_dir / TFSTATE_FILE).read_bytes()
        if not read_tfstate(content).lineage:
            return None
        marked = read_creations(work_dir).mark(content)
        return embed_names(marked, read_override(source_dir))
    except (FileNotFoundError, TfstateUnreadable):
        return None


class TfstateKeeper:
    """Watches the tfstate in a job's working directory. `before` is what it starts from."""

    def __init__(
        self, work_dir: Path, before: bytes | None, keep: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._path = work_dir / SOURCE_DIR / TFSTATE_FILE
        self._keep = keep
        self._creations = CreationsFile(work_dir, before)
        self._kept = before or b""
        self._first: tuple[int, int] | None = None
        self._seen: tuple[int, int] | None = None
        self._known_count = 0  # what was known of creations when it was seen

    def write_first(self) -> None:
        """Puts the tfstate to start from in place, readable by nobody else. Terraform keeps the
        mode of a file that exists.
        """
        self._path.touch(mode=0o600)
        self._path.write_bytes(self._kept)
        self._first = self._seen = self._look()

    def take(self, event: Event) -> None:
        """Looks at what terraform says it does."""
        self._creations.take(event)

    def finish(self) -> None:
        """Terraform ended well."""
        self._creations.finish()

    async def watch(self, interval_seconds: float, complain: Callable[[str], None]) -> None:
        """Keeps what is new, forever."""
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await self.keep_newer()
            except Exception as error:
                complain(f"the tfstate could not be stored yet: {type(error).__name__}")

    async def keep_newer(self) -> bool:
        """Keeps the file if it is whole and new."""
        seen, known_count = self._look(), self._creations.count
        if seen is None or (seen, known_count) == (self._seen, self._known_count):
            return False
        try:
            content, tfstate = await asyncio.to_thread(self._read)
            content = self._creations.mark(content)
        except TfstateUnreadable:
            return False
        if not tfstate.lineage or content == self._kept:
            self._seen, self._known_count = seen, known_count
            return False
        await self._keep(content)
        self._kept, self._seen, self._known_count = content, seen, known_count
        return True

    async def keep_last(self, complain: Callable[[str], None]) -> None:
        """Keeps the newest whole tfstate, and says so if the file was cut short."""
        if not await self.keep_newer() and self._look() not in (None, self._seen):
            complain("the tfstate was cut short; the last whole one is kept")

    def is_at_rest(self) -> bool:
        """Whether the file is whole now: terraform is not amid a write."""
        return self.read_whole() is not None

    def read_whole(self) -> Tfstate | None:
        """The tfstate as it is now; None while terraform writes it. An empty file is whole only as
        long as terraform has not touched it.
        """
        try:
            before, tfstate, after = self._look(), self.read(), self._look()
        except (TfstateUnreadable, FileNotFoundError):
            return None
        is_whole = bool(tfstate.lineage) or before == self._first
        return tfstate if is_whole and before == after else None

    def has_changed(self, since: tuple[int, int] | None) -> tuple[int, int] | None:
        """A mark of the file's present content if it differs from `since`, else None."""
        seen = self._look()
        return seen if seen != since else None

    def read(self) -> Tfstate:
        """The tfstate as it is now."""
        return self._read()[1]

    def _read(self) -> tuple[bytes, Tfstate]:
        content = self._path.read_bytes()
        return content, read_tfstate(content)

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size
