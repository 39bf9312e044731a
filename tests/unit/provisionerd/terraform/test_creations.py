"""What was being created when Terraform was ended is marked, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisionerd.terraform.creations import CreationsFile, read_creations
from provisionerd.terraform.events import read
from provisionerd.terraform.tfstate import read_tfstate, taint

VM = "cloud_vm.one"


def an_instance(id_: str | None = "new", **more: object) -> dict[str, object]:
    return {"schema_version": 0, "attributes": {"id": id_, "size": 1.10}, **more}


def a_tfstate(*instances: dict[str, object], module: str = "", mode: str = "managed") -> bytes:
    resource: dict[str, object] = {
        **({"module": module} if module else {}),
        "mode": mode,
        "type": "cloud_vm",
        "name": "one",
        "instances": list(instances),
    }
    return json.dumps({"version": 4, "lineage": "l", "resources": [resource]}, indent=2).encode()


def said(*words: str) -> tuple[str, ...]:
    """What terraform prints of one resource; each word is what happens to it."""
    lines: list[str] = []
    for word in words:
        kind, _, address = word.partition(" ")
        type_, action = kind.split(":")
        resource = {"resource": {"addr": address or VM}, "action": action}
        key = "change" if type_ == "planned_change" else "hook"
        lines.append(json.dumps({"@message": word, "type": type_, key: resource}))
    return tuple(lines)


BEGUN = said("planned_change:create", "apply_start:create")
ENDED = said("apply_complete:create")
CREATED = said("planned_change:create", "apply_start:create")
REPLACED = said(
    "planned_change:replace", "apply_start:delete", "apply_complete:delete", "apply_start:create"
)
BESIDE = said("planned_change:replace", "apply_start:create")  # create before destroy


def list_marked(content: bytes) -> list[str]:
    return [each.address for each in read_tfstate(content).managed if each.tainted]


@pytest.mark.parametrize(
    ("lines", "before", "now", "marked"),
    [
        pytest.param(BEGUN, b"", [an_instance()], [VM], id="cut off"),
        pytest.param(BEGUN[:1], b"", [an_instance()], [VM], id="begun, unheard"),
        pytest.param((*BEGUN, *ENDED), b"", [an_instance()], [], id="finished"),
        pytest.param(
            (*BEGUN, *said("apply_errored:create")), b"", [an_instance()], [VM], id="failed"
        ),
        pytest.param((), b"", [an_instance()], [], id="imported or moved"),
        pytest.param(
            said("planned_change:update", "apply_start:update"),
            a_tfstate(an_instance("old")),
            [an_instance("old")],
            [],
            id="updated",
        ),
        pytest.param(
            said("planned_change:delete", "apply_start:delete"),
            a_tfstate(an_instance("old")),
            [an_instance("old")],
            [],
            id="deleted",
        ),
        pytest.param(
            REPLACED[:2], a_tfstate(an_instance("old")), [an_instance("old")], [], id="going"
        ),
        pytest.param(REPLACED, a_tfstate(an_instance("old")), [an_instance()], [VM], id="replaced"),
        pytest.param(
            REPLACED, a_tfstate(an_instance("same")), [an_instance("same")], [VM], id="same id"
        ),
        pytest.param(
            CREATED, a_tfstate(an_instance("same")), [an_instance("same")], [VM], id="gone outside"
        ),
        pytest.param(
            REPLACED, a_tfstate(an_instance(None)), [an_instance(None)], [VM], id="without id"
        ),
        pytest.param(
            BESIDE, a_tfstate(an_instance("old")), [an_instance("old")], [], id="not yet stored"
        ),
        pytest.param(
            BESIDE,
            a_tfstate(an_instance("old")),
            [an_instance(), an_instance("old", deposed="0a1b2c3d")],
            [VM],
            id="beside the old one",
        ),
    ],
)
def test_what_is_half_made(
    tmp_path: Path,
    lines: tuple[str, ...],
    before: bytes,
    now: list[dict[str, object]],
    marked: list[str],
) -> None:
    file = CreationsFile(tmp_path, before)
    for line in lines:
        file.take(read(line))
    content = a_tfstate(*now)
    assert list_marked(file.mark(content)) == marked
    # the next process knows as much
    assert read_creations(tmp_path).mark(content) == file.mark(content)
    file.finish()
    assert file.mark(content) is content


def test_only_the_current_object_of_the_right_instance_is_marked(tmp_path: Path) -> None:
    file = CreationsFile(tmp_path, b"")
    for line in said('planned_change:create module.a["x.y"].cloud_vm.one[1]'):
        file.take(read(line))
    content = a_tfstate(
        an_instance(index_key=0),
        an_instance(index_key=1),
        an_instance(index_key=1, deposed="0a1b2c3d"),
        module='module.a["x.y"]',
    )
    assert list_marked(file.mark(content)) == ['module.a["x.y"].cloud_vm.one[1]']
    assert file.mark(content).count(b'"tainted"') == 1


def test_a_note_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    file = CreationsFile(tmp_path, b"")
    for line in (*BEGUN, *ENDED):
        file.take(read(line))
    path = tmp_path / "creations.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text()[:-4])
    assert list_marked(read_creations(tmp_path).mark(a_tfstate(an_instance()))) == [VM]


def test_what_is_marked_says_everything_else_as_before() -> None:
    content = b'{"version": 4, "resources": [{"mode": "managed", "type": "t", "name": "n",'
    content += b' "instances": [{"attributes": {"a": 1.10, "b": 12345678901234567890.123,'
    content += b' "c": 98765432109876543210, "d": 1e400, "e": "\xc3\xa9 \\u0000 3.5"}}]}]}'
    expected = content.removesuffix(b"}]}]}") + b', "status": "tainted"}]}]}'
    assert taint(content, {"t.n"}) == expected
