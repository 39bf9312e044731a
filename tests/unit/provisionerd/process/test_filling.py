"""Placeholders and parameter values: what they stand for, and what is refused."""

from __future__ import annotations

import pytest

from provisionerd.core.errors import ParameterInvalid, ProvisionError
from provisionerd.core.provisioner import Option, Parameter
from provisionerd.process.placeholders import fill
from provisionerd.process.record import AgentRecord, Record, decode_record, encode_record
from provisionerd.process.values import resolve

VALUES = {"owner.full_name": "Ada $(id) O'Neil", "parameter.size": "small", "owner.id": "7"}


def test_placeholders_are_filled_and_other_braces_left_alone() -> None:
    text = "{parameter.size} ${HOME} {a,b} awk '{print $1}' {{owner.id}} {owner.id}"
    filled = "small ${HOME} {a,b} awk '{print $1}' {owner.id} 7"
    assert fill(text, VALUES, is_script=True) == filled


def test_the_environment_takes_any_value_and_fills_it_once() -> None:
    assert fill("{owner.full_name}", VALUES, is_script=False) == "Ada $(id) O'Neil"
    assert fill("{parameter.size}", {"parameter.size": "{owner.id}"}, is_script=False) == (
        "{owner.id}"
    )


@pytest.mark.parametrize("value", ["$(id)", "a'b", 'a"b', "a;b", "a\nb", "`id`", "a|b", "a\\b"])
def test_a_script_takes_no_value_a_shell_could_misread(value: str) -> None:
    with pytest.raises(ParameterInvalid, match=r"parameter.size is .*; a script of the template"):
        fill("echo {parameter.size}", {"parameter.size": value}, is_script=True)


SIZE = Parameter(
    name="size",
    type="string",
    default="small",
    options=(Option(name="Small", value="small"), Option(name="Large", value="large")),
)
CPUS = Parameter(
    name="cpus", type="number", mutable=True, minimum=1, maximum=8, monotonic="increasing"
)


def test_values_are_resolved_and_undeclared_ones_ignored() -> None:
    assert resolve((SIZE, CPUS), {"cpus": "4", "gone": "x"}, {"cpus": "2", "size": "small"}) == {
        "size": "small",
        "cpus": "4",
    }


@pytest.mark.parametrize(
    ("given", "previous", "complaint"),
    [
        ({}, {}, "'cpus' has no value and no default"),
        ({"cpus": "9"}, {}, "'cpus' is 9; it must be 8 or less"),
        ({"cpus": "x"}, {}, "'cpus' is \"x\"; it must be a number"),
        ({"cpus": "2"}, {"cpus": "3"}, "'cpus' is 2; it must be 3 or more"),
        ({"cpus": "2", "size": "huge"}, {}, "'size' is \"huge\"; it must be one of"),
        ({"cpus": "2", "size": "large"}, {"size": "small"}, "it is immutable and was 'small'"),
    ],
)
def test_a_wrong_value_is_named(
    given: dict[str, str], previous: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ParameterInvalid, match=complaint):
        resolve((SIZE, CPUS), given, previous)


WORKSPACE_ID = "00000000-0000-0000-0000-000000000002"
RECORD = Record(
    workspace_id=WORKSPACE_ID,
    agents=(AgentRecord(name="main", id="a", token="secret", url="u", pid=7, began="b/1"),),
)


def test_the_tfstate_is_read_back_and_hides_the_token_in_messages() -> None:
    assert decode_record(encode_record(RECORD), WORKSPACE_ID) == RECORD
    assert decode_record(None, WORKSPACE_ID) == Record(workspace_id=WORKSPACE_ID)
    assert "secret" not in repr(RECORD)


@pytest.mark.parametrize(
    ("tfstate", "complaint"),
    [
        (b"{", "was not written by the process provisioner, version 1"),
        (b"[]", "was not written by the process provisioner"),
        (b'{"version": 4, "provisioner": "process"}', "provisioner process version 4"),
        (encode_record(Record(workspace_id="other")), "is that of workspace other, not of 0000"),
    ],
)
def test_somebody_elses_tfstate_is_refused(tfstate: bytes, complaint: str) -> None:
    with pytest.raises(ProvisionError, match=complaint):
        decode_record(tfstate, WORKSPACE_ID)
