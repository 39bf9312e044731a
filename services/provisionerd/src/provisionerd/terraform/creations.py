"""Which creations are under way, so that none that is cut off is believed complete.

Terraform stores a resource as made as soon as its provider has made it, also while the commands of
its provisioners still run: every resource that ends meanwhile writes the whole tfstate. If
Terraform is ended by force then, nothing in the tfstate says that the resource is half made, and
the next build would take it for whole. So what is being created is noted, event by event, in a file
of the job, and whatever takes the tfstate from there (`TfstateKeeper` while this process lives,
`salvage_tfstate` in the next one) marks what was not finished as tainted: the next build makes it
anew.

Promises: a resource is marked only if this job planned or began its creation and did not see the
end of it; what was there before, was moved or was imported never is. A note is written before the
next event is looked at; those of the plan are on disk before anything is made. An end that was not
seen any more costs a second creation, never a half-made resource. What is in nobody's tfstate yet
when Terraform is ended cannot be marked: only its provider knows it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provisionerd.terraform.events import Event, Finished, PlannedChange, Started, Summary
from provisionerd.terraform.jsonvalues import mapping, text, texts
from provisionerd.terraform.tfstate import Instance, read_tfstate, taint

__all__ = ["Creations", "CreationsFile", "read_creations"]

_FILE = "creations.jsonl"


@dataclass(slots=True, kw_only=True)
class Creations:
    """What is known of them, by address. `before` has the ids of what was there when it began."""

    before: Mapping[str, str] = field(default_factory=dict[str, str])
    planned: set[str] = field(default_factory=set[str])
    anew: set[str] = field(default_factory=set[str])  # what was there is gone for certain
    deleted: set[str] = field(default_factory=set[str])
    made: set[str] = field(default_factory=set[str])

    def note(self, word: str, address: str) -> None:
        """Learns one thing; a word of a newer release means nothing."""
        match word:
            case "planned":
                self.planned.add(address)
            case "absent":  # the plan saw nothing there, whatever the tfstate said before
                self.planned.add(address)
                self.deleted.add(address)
            case "begun":
                self.planned.add(address)
                if address in self.deleted:
                    self.anew.add(address)
            case "deleted":
                self.deleted.add(address)
            case "made":
                self.made.add(address)
            case _:
                pass

    def mark(self, content: bytes) -> bytes:
        """A tfstate with what is half made marked as tainted; the same bytes if there is none."""
        if not self.planned - self.made:
            return content
        tfstate = read_tfstate(content)
        half = {each.address for each in tfstate.managed if self._is_half_made(each)}
        return taint(content, half) if half else content

    def _is_half_made(self, instance: Instance) -> bool:
        if instance.deposed or instance.tainted:
            return False
        if instance.address not in self.planned or instance.address in self.made:
            return False
        id_before = self.before.get(instance.address)
        return (
            id_before is None
            or instance.address in self.anew
            or id_before != text(instance.attributes.get("id"))
        )


class CreationsFile:
    """Notes them down in the working directory of a job, which is private. `before` is the tfstate
    the job starts from.
    """

    def __init__(self, work_dir: Path, before: bytes | None) -> None:
        self._path = work_dir / _FILE
        self._before = before
        self._known: Creations | None = None  # most builds of a living workspace create nothing
        self._is_over = False
        self.count = 0  # how much has been learned

    def take(self, event: Event) -> None:
        """Looks at one event of a command that may create."""
        match event:
            case PlannedChange(action="create", address=address):
                self._note("absent", address)
            case PlannedChange(action="replace", address=address):
                self._note("planned", address)
            case Summary(operation="plan") if self._known is not None:
                with self._path.open("rb") as file:
                    os.fsync(file.fileno())
            case Started(action="create", address=address):
                self._note("begun", address)
            case Finished(action="delete", failed=False, address=address):
                self._note("deleted", address)
            case Finished(action="create", failed=False, address=address):
                self._note("made", address)
            case _:
                pass

    def finish(self) -> None:
        """Terraform ended well: nothing is half made, whatever was not seen."""
        self._is_over = True
        self.count += 1

    def mark(self, content: bytes) -> bytes:
        """As `Creations.mark`, by what is known now."""
        if self._is_over or self._known is None:
            return content
        return self._known.mark(content)

    def _note(self, word: str, address: str) -> None:
        lines: list[Mapping[str, object]] = [{"word": word, "address": address}]
        if self._known is None:
            self._known = Creations(before=_list_ids(read_tfstate(self._before).managed))
            self._path.touch(mode=0o600)
            lines.insert(0, {"before": self._known.before})
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        self._known.note(word, address)
        self.count += 1


def read_creations(work_dir: Path) -> Creations:
    """What a process that was ended had noted; a line that was cut short is passed over."""
    try:
        lines = (work_dir / _FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return Creations()
    known = Creations()
    for line in lines:
        try:
            fields = mapping(json.loads(line))
        except ValueError:
            continue
        if "before" in fields:
            known.before = texts(fields["before"])
        else:
            known.note(text(fields.get("word")), text(fields.get("address")))
    return known


def _list_ids(instances: Iterable[Instance]) -> dict[str, str]:
    return {each.address: text(each.attributes.get("id")) for each in instances if not each.deposed}
