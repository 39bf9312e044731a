"""No method of the API is open to whoever has no right to it: asked of every one there is."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from svckit.auth import permission_of
from svckit.channel import open_channel
from testkit.office import OWNER_TOKEN, Office
from warmpool.control import v1
from warmpool.control.v1 import people_pb2 as pb

pytestmark = pytest.mark.integration
FOR_EVERYBODY = {
    "self.read",
    "system.read",
    "token.read",
    "token.update",
    "notification.read",
    "notification.update",
}
OF_THE_INSTALLATION = {"ListDeliveries", "RetryDeliveries"}
"""Behind a door that is everybody's, for owners alone."""


def methods() -> Iterator[MethodDescriptor]:
    """Every method of the API."""
    for found in pkgutil.iter_modules(v1.__path__, f"{v1.__name__}."):
        if not found.name.endswith("_pb2"):
            continue
        module = importlib.import_module(found.name)
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


async def call(channel: grpc.aio.Channel, method: MethodDescriptor) -> str:
    """The code of an empty request."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    request = GetMessageClass(method.input_type)()
    try:
        untyped: Any = channel
        if method.client_streaming:
            await untyped.stream_unary(path)(iter([request.SerializeToString()]))
        elif method.server_streaming:
            await untyped.unary_stream(path)(request.SerializeToString()).read()
        else:
            await channel.unary_unary(path)(request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_every_method_is_shut_for_whoever_has_no_right(office: Office) -> None:
    owner = (await office.calling()).people
    key = await owner.CreateKey(pb.CreateKeyRequest(kind="gateway", name="edge"))
    await owner.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))
    await owner.CreateUser(pb.CreateUserRequest(username="neil", organizations=["moon"]))
    await owner.RemoveMember(pb.RemoveMemberRequest(organization="moon", username="neil"))
    stranger = await owner.CreateToken(pb.CreateTokenRequest(username="neil", name="test"))
    all_methods = list(methods())
    assert len(all_methods) >= 45  # the walk did find them

    async def codes(token: str | None) -> dict[str, str]:
        async with open_channel(office.address, token=token) as channel:
            return {method.full_name: await call(channel, method) for method in all_methods}

    assert set((await codes(None)).values()) == {"UNAUTHENTICATED"}
    assert set((await codes("wp_guessed")).values()) == {"UNAUTHENTICATED"}
    assert set((await codes(key.secret)).values()) == {"PERMISSION_DENIED"}
    open_to_strangers = {
        name for name, code in (await codes(stranger.secret)).items() if code != "PERMISSION_DENIED"
    }
    assert open_to_strangers == {
        method.full_name
        for method in all_methods
        if permission_of(method.full_name) in FOR_EVERYBODY
        and method.name not in OF_THE_INSTALLATION
    }
    as_owner = await codes(OWNER_TOKEN)
    assert {name for name, code in as_owner.items() if code == "PERMISSION_DENIED"} == set()
