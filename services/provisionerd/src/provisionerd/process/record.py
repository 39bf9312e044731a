"""The tfstate of the `process` provisioner: a small JSON document.

It names the workspace's agents, their tokens and the processes they run as. A process is told apart
from a later one with the same number by when it began. Ids and tokens are written down before a
process is started with them, so a build that crashed is repeated with the same ones.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import cast

from provisionerd.core.errors import ProvisionError

__all__ = ["AgentRecord", "Record", "decode_record", "encode_record"]

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """One agent. `pid` 0 means that it was not started; `began` is the mark of its process."""

    name: str
    id: str
    token: str = field(repr=False)
    url: str
    pid: int = 0
    began: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a build left."""

    workspace_id: str
    agents: tuple[AgentRecord, ...] = ()

    def find(self, name: str) -> AgentRecord | None:
        """The agent of that name."""
        return next((agent for agent in self.agents if agent.name == name), None)


def encode_record(record: Record) -> bytes:
    """The document, with the keys in order, so that equal records are equal bytes."""
    document = {
        "version": VERSION,
        "provisioner": "process",
        "workspace_id": record.workspace_id,
        "agents": [asdict(agent) for agent in record.agents],
    }
    return json.dumps(document, indent=1, sort_keys=True).encode()


def decode_record(tfstate: bytes | None, workspace_id: str) -> Record:
    """Reads it; an empty one if there is none. ProvisionError if it is somebody else's."""
    if not tfstate:
        return Record(workspace_id=workspace_id)
    try:
        document = cast("dict[str, object]", json.loads(tfstate))
        if document["provisioner"] != "process" or document["version"] != VERSION:
            raise ValueError(f"provisioner {document['provisioner']} version {document['version']}")
        agents = tuple(
            AgentRecord(
                name=str(agent["name"]),
                id=str(agent["id"]),
                token=str(agent["token"]),
                url=str(agent["url"]),
                pid=int(str(agent["pid"])),
                began=str(agent["began"]),
            )
            for agent in cast("list[dict[str, object]]", document["agents"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ProvisionError(
            f"the tfstate was not written by the process provisioner, version {VERSION}: {error}"
        ) from error
    if document["workspace_id"] != workspace_id:
        raise ProvisionError(
            f"the tfstate is that of workspace {document['workspace_id']}, not of {workspace_id}"
        )
    return Record(workspace_id=workspace_id, agents=agents)
