"""Values cross the wire unchanged, unknown ones included; what does not fit is refused by place."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisionerd.tfprovider.cty import (
    UNKNOWN,
    ListOf,
    MapOf,
    NotConforming,
    ObjectOf,
    Scalar,
    SetOf,
    Type,
    Value,
    conform,
    decode,
    encode,
    encode_type,
    is_wholly_known,
)

MSGPACK: Any = importlib.import_module("msgpack")  # ships no types
STRING, NUMBER, BOOL = Scalar("string"), Scalar("number"), Scalar("bool")
PERSON = ObjectOf({"name": STRING, "age": NUMBER})


def pack(raw: object) -> bytes:
    return bytes(MSGPACK.packb(raw))


def value_of(type_: Type) -> st.SearchStrategy[Any]:
    match type_:
        case Scalar("string"):
            known: st.SearchStrategy[Any] = st.text(max_size=8)
        case Scalar("number"):
            known = st.integers(-(2**62), 2**62) | st.floats(
                allow_nan=False, allow_infinity=False, width=64
            ).filter(lambda number: not number.is_integer())
        case Scalar():
            known = st.booleans()
        case ListOf(element) | SetOf(element):
            known = st.lists(value_of(element), max_size=3).map(tuple)
        case MapOf(element):
            known = st.dictionaries(st.text(max_size=4), value_of(element), max_size=3)
        case ObjectOf(attributes):
            known = st.fixed_dictionaries({n: value_of(t) for n, t in attributes.items()})
    return st.none() | st.just(UNKNOWN) | known


def a_type() -> st.SearchStrategy[Type]:
    return st.recursive(
        st.sampled_from([STRING, NUMBER, BOOL]),
        lambda inner: (
            st.builds(ListOf, inner)
            | st.builds(SetOf, inner)
            | st.builds(MapOf, inner)
            | st.builds(ObjectOf, st.dictionaries(st.text(max_size=4), inner, max_size=3))
        ),
        max_leaves=5,
    )


@given(st.data())
def test_a_value_comes_back_as_it_went(data: st.DataObject) -> None:
    type_ = data.draw(a_type())
    value = data.draw(value_of(type_))
    assert decode(type_, encode(type_, value)) == value


@pytest.mark.parametrize("packed", [b"\xd4\x00\x00", pack(MSGPACK.ExtType(12, b"\x81\x01\xc2"))])
def test_unknown_and_refined_unknown_are_unknown(packed: bytes) -> None:
    assert decode(STRING, packed) is UNKNOWN
    assert decode(ListOf(STRING), b"\x91" + packed) == (UNKNOWN,)


def test_unknown_is_written_as_terraform_reads_it() -> None:
    assert encode(STRING, UNKNOWN) == b"\xd4\x00\x00"


@pytest.mark.parametrize(
    ("text", "number"),
    [("12345678901234567890123", 12345678901234567890123), ("1.5", 1.5), ("2", 2)],
)
def test_numbers_may_travel_as_text(text: str, number: float) -> None:
    assert decode(NUMBER, pack(text)) == number


def test_whole_floats_are_integers() -> None:
    value = decode(NUMBER, pack(30.0))
    assert (value, type(value)) == (30, int)


@pytest.mark.parametrize(
    ("type_", "raw", "message"),
    [
        (STRING, 1, "value: a string is needed, got int"),
        (NUMBER, True, "value: a number is needed, got bool"),
        (NUMBER, "many", "value: 'many' is not a number"),
        (BOOL, "true", "value: a bool is needed, got str"),
        (ListOf(BOOL), [True, 1], r"value\[1\]: a bool is needed, got int"),
        (ListOf(BOOL), {}, "value: a list is needed, got dict"),
        (MapOf(STRING), {"a": []}, "value.a: a string is needed, got list"),
        (PERSON, {"name": "x"}, "value: these attributes are missing or not known: age"),
        (PERSON, {"name": "x", "age": 1, "odd": 1}, "missing or not known: odd"),
        (PERSON, [], "value: a mapping is needed, got list"),
    ],
)
def test_what_does_not_fit_is_refused_by_place(type_: Type, raw: object, message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        decode(type_, pack(raw))


@pytest.mark.parametrize(
    "packed",
    [b"", b"\xc1", b"\x92\x01", b"\x01\x01", pack(MSGPACK.ExtType(7, b""))],
)
def test_what_is_not_a_value_is_refused(packed: bytes) -> None:
    with pytest.raises(NotConforming, match="not a msgpack value"):
        decode(STRING, packed)


def test_a_value_that_does_not_fit_is_not_written() -> None:
    with pytest.raises(NotConforming, match="age"):
        encode(PERSON, {"name": "x"})


def test_another_versions_object_is_read() -> None:
    stored = {"name": "ann", "shoe_size": 44}
    assert conform(PERSON, stored, missing_is_null=True) == {"name": "ann", "age": None}


def test_types_are_written_as_schemas_carry_them() -> None:
    type_ = ListOf(ObjectOf({"a": SetOf(NUMBER), "b": MapOf(BOOL)}))
    described = ["list", ["object", {"a": ["set", "number"], "b": ["map", "bool"]}]]
    assert json.loads(encode_type(type_)) == described
    assert encode_type(STRING) == b'"string"'


@pytest.mark.parametrize(
    ("value", "known"),
    [(None, True), (UNKNOWN, False), (("a", UNKNOWN), False), ({"a": ({"b": UNKNOWN},)}, False)],
)
def test_wholly_known(value: Value, known: bool) -> None:
    assert is_wholly_known(value) is known
