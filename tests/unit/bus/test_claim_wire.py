"""The claim event between releases: every writer there is or was, read by every listener.

`golden/` holds payloads as they were written: they are deployed, and never change. `releases/`
holds the sources of released listeners, as they were. The four pairs of an upgrade:

| writer | listener | what it needs |
|---|---|---|
| new | new | everything arrives |
| old | new | everything arrives that was written |
| new | old | all that it knows arrives; unknown fields and versions do no harm |
| raw, for a listener without JSON | any | the workspace from the subject, and the reason |
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from bus.errors import EventInvalid
from bus.events import PrebuildClaimed, decode_claim, encode_event
from bus.subjects import claims_subject

HERE = Path(__file__).parent
WORKSPACE = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b000"
OWNER = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b001"
CLAIM = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b002"
SUBJECT = claims_subject(WORKSPACE)
CLAIMED = PrebuildClaimed(workspace_id=WORKSPACE, owner_id=OWNER, claim_id=CLAIM)
FULL = (WORKSPACE, OWNER, "prebuild_claimed", CLAIM)
BARE = (WORKSPACE, "", "prebuild_claimed", "")

Listener = Callable[[str, bytes], tuple[str, str, str, str]]
Release = Callable[[str], ModuleType]


def golden(name: str) -> bytes:
    return (HERE / "golden" / name).read_bytes()


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    """The bus of a release, as modules of its own."""
    names: list[str] = []

    def load(version: str) -> ModuleType:
        package = f"bus_of_{version.replace('.', '_')}"
        for part in ("", ".errors", ".subjects", ".events"):
            name = package + part
            if name in sys.modules:
                continue
            module = ModuleType(name)
            module.__path__ = []
            sys.modules[name] = module
            names.append(name)
            if part:
                path = HERE / "releases" / version / f"{part[1:]}.txt"
                source = path.read_text().replace("from bus", f"from {package}")
                exec(compile(source, str(path), "exec"), module.__dict__)
                setattr(sys.modules[package], part[1:], module)
        return sys.modules[f"{package}.events"]

    yield load
    for name in names:
        del sys.modules[name]


def read_today(subject: str, payload: bytes) -> tuple[str, str, str, str]:
    return _show(decode_claim(subject, payload))


def read_without_json(subject: str, payload: bytes) -> tuple[str, str, str, str]:
    """A listener from before there was JSON: the payload is the reason."""
    return subject.rpartition(".")[2], "", payload.decode(), ""


def _show(claim: Any) -> tuple[str, str, str, str]:
    return claim.workspace_id, claim.owner_id, claim.reason, claim.claim_id


def read_of(module: ModuleType) -> Listener:
    def read(subject: str, payload: bytes) -> tuple[str, str, str, str]:
        return _show(module.decode_claim(subject, payload))

    return read


def test_what_is_written_today_is_what_was_always_written() -> None:
    assert encode_event(CLAIMED) == golden("claim-v1.json")
    assert encode_event(CLAIMED, raw=True) == golden("claim-raw.txt")


@pytest.mark.parametrize("listener", ["today", "v0.1.0"])
@pytest.mark.parametrize(
    ("writer", "expected"),
    [
        ("today", FULL),
        ("today, raw", BARE),
        ("v0.1.0", FULL),
        ("v0.1.0, raw", BARE),
        ("claim-v1.json", FULL),
        ("claim-raw.txt", BARE),
        ("claim-v2.json", FULL),
    ],
)
def test_every_listener_reads_every_writer(
    release: Release, writer: str, listener: str, expected: tuple[str, str, str, str]
) -> None:
    read = read_today if listener == "today" else read_of(release(listener))
    assert read(SUBJECT, _write(release, writer)) == expected


@pytest.mark.parametrize("writer", ["today, raw", "v0.1.0, raw", "claim-raw.txt"])
def test_a_listener_without_json_reads_every_raw_writer(release: Release, writer: str) -> None:
    assert read_without_json(SUBJECT, _write(release, writer)) == BARE


@pytest.mark.parametrize("writer", ["today", "v0.1.0", "claim-v2.json"])
def test_to_a_listener_without_json_an_object_is_still_a_hint(
    release: Release, writer: str
) -> None:
    """It looks at the right workspace, which is all a hint is for; only its reason is odd."""
    workspace_id, *_ = read_without_json(SUBJECT, _write(release, writer))
    assert workspace_id == WORKSPACE


def _write(release: Release, writer: str) -> bytes:
    name, _, raw = writer.partition(", ")
    if name.startswith("claim-"):
        return golden(name)
    if name == "today":
        return encode_event(CLAIMED, raw=bool(raw))
    module = release(name)
    event = module.PrebuildClaimed(workspace_id=WORKSPACE, owner_id=OWNER, claim_id=CLAIM)
    return cast("bytes", module.encode_event(event, raw=bool(raw)))


ODD_BUT_READABLE = {
    "not a number": b'{"version":1,"weight":NaN,"height":Infinity}',
    "a key twice": (b'{"workspace_id":"nobody","workspace_id":"%s"}' % WORKSPACE.encode()),
    "half a character in an unknown field": b'{"version":1,"colour":"\\ud800"}',
    "spaces around it": b'  {"version":1}\n',
}


@pytest.mark.parametrize("payload", ODD_BUT_READABLE.values(), ids=ODD_BUT_READABLE.keys())
def test_what_is_odd_and_harmless_is_read(payload: bytes) -> None:
    assert read_today(SUBJECT, payload) == BARE


HOSTILE = {
    "a version that is not a number": b'{"version":NaN}',
    "a version beyond measure": b'{"version":1e400}',
    "another workspace after the right one": (
        b'{"workspace_id":"%s","workspace_id":"%s"}' % (WORKSPACE.encode(), OWNER.encode())
    ),
    "a NUL": b'{"reason":"a\\u0000b"}',
    "a bare NUL": b"a\0b",
    "half a character": b'{"reason":"\\ud800"}',
    "invalid UTF-8": b'{"reason":"\xc3\x28"}',
    "another encoding": '{"version":1}'.encode("utf-16"),
    "a terminal's escape": b'{"reason":"\\u001b[2J"}',
    "text that reads backwards": '{"reason":"\N{RIGHT-TO-LEFT OVERRIDE}x"}'.encode(),
    "depth": b'{"a":' * 4_000 + b"1" + b"}" * 4_000,
    "depth within lists": b"[" * 4_000 + b"]" * 4_000,
    "size": b'{"reason":"' + b"x" * 1_000_000 + b'"}',
    "many digits": b'{"version":' + b"9" * 6_000 + b"}",
    "a list for an id": b'{"claim_id":["%s"]}' % CLAIM.encode(),
    "a path for an id": b'{"owner_id":"../../../etc/passwd"}',
    "a wildcard for an id": b'{"workspace_id":"*"}',
    "a truth for a reason": b'{"reason":true}',
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_hostile_is_refused(payload: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode_claim(SUBJECT, payload)


@pytest.mark.parametrize(
    "subject",
    [
        "warmpool.v1.claims.*",
        "warmpool.v1.claims.>",
        "warmpool.v1.claims",
        "warmpool.v1.claims.",
        f"warmpool.v1.claims.{WORKSPACE}.more",
        f"warmpool.v1.claims.{WORKSPACE.replace('-', '')}",
        f"warmpool.v2.claims.{WORKSPACE}",
    ],
)
def test_a_subject_that_names_no_workspace_is_refused(subject: str) -> None:
    with pytest.raises(EventInvalid):
        decode_claim(subject, golden("claim-v1.json"))
