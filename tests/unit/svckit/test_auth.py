"""Permissions from the proto, and tokens from the metadata."""

from __future__ import annotations

import pytest

from svckit.auth import bearer_of, hash_token, permission_of
from warmpool.agent.v1 import agent_pb2
from warmpool.control.v1 import pools_pb2, system_pb2, templates_pb2, workspaces_pb2
from warmpool.gateway.v1 import gateway_pb2
from warmpool.provisioner.v1 import provisioner_pb2

FILES = [
    agent_pb2.DESCRIPTOR,
    gateway_pb2.DESCRIPTOR,
    pools_pb2.DESCRIPTOR,
    provisioner_pb2.DESCRIPTOR,
    system_pb2.DESCRIPTOR,
    templates_pb2.DESCRIPTOR,
    workspaces_pb2.DESCRIPTOR,
]


def test_the_permission_is_found_by_either_name() -> None:
    assert permission_of("/warmpool.control.v1.SystemService/WhoAmI") == "self.read"
    assert permission_of("warmpool.control.v1.SystemService.WhoAmI") == "self.read"


@pytest.mark.parametrize(
    "method",
    ["/warmpool.control.v1.SystemService/None", "/grpc.health.v1.Health/Check", "", "/", "a b"],
)
def test_who_declares_nothing_has_no_permission(method: str) -> None:
    assert permission_of(method) is None


def test_every_method_of_ours_declares_a_permission() -> None:
    methods = [
        f"/{service.full_name}/{method.name}"
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
    ]

    assert len(methods) > len(FILES)
    assert [method for method in methods if permission_of(method) is None] == []


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ([("authorization", "Bearer abc")], "abc"),
        ([("Authorization", "bearer abc ")], "abc"),
        ([("x", "y"), ("authorization", "Bearer a.b_c-d=")], "a.b_c-d="),
        ([("authorization", "Bearer ")], None),
        ([("authorization", "abc")], None),
        ([("authorization", "Basic abc")], None),
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], None),
        ([("authorization", b"Bearer abc")], None),
        ([], None),
        (None, None),
    ],
)
def test_the_token_is_read_strictly(
    metadata: list[tuple[str, str | bytes]] | None, token: str | None
) -> None:
    assert bearer_of(metadata) == token


def test_a_token_is_stored_as_its_sha_256() -> None:
    assert hash_token("abc").hex() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
