"""No method is open to whoever has no right to it: asked of every one there is, those of services
included.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

import warmpool
from svckit.auth import permission_of
from svckit.channel import open_channel
from testkit.office import OWNER_TOKEN, Office
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


SERVICES = {
    "GatewayService",
    "InstanceService",
    "NotificationService",
    "PeopleService",
    "PoolService",
    "ProvisionerService",
    "SystemService",
    "TemplateService",
    "WorkspaceService",
}
OF_THE_GATEWAY = {"warmpool.agent.v1.AgentService"}
"""Which the control plane does not serve."""


def methods() -> Iterator[MethodDescriptor]:
    """Every method the control plane has."""
    for found in pkgutil.walk_packages(warmpool.__path__, f"{warmpool.__name__}."):
        if not found.name.endswith("_pb2"):
            continue
        module = importlib.import_module(found.name)
        for service in module.DESCRIPTOR.services_by_name.values():
            if service.full_name not in OF_THE_GATEWAY:
                yield from service.methods


async def call(channel: grpc.aio.Channel, method: MethodDescriptor) -> str:
    """The code of an empty request."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    request = GetMessageClass(method.input_type)()
    try:
        untyped: Any = channel
        if method.client_streaming and method.server_streaming:
            await untyped.stream_stream(path)(iter([request.SerializeToString()])).read()
        elif method.client_streaming:
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
    keys = {
        "gateway.agent": await owner.CreateKey(pb.CreateKeyRequest(kind="gateway", name="edge")),
        "provisioner.job": await owner.CreateKey(
            pb.CreateKeyRequest(kind="provisioner", name="builder")
        ),
    }
    await owner.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))
    await owner.CreateUser(pb.CreateUserRequest(username="neil", organizations=["moon"]))
    await owner.RemoveMember(pb.RemoveMemberRequest(organization="moon", username="neil"))
    stranger = await owner.CreateToken(pb.CreateTokenRequest(username="neil", name="test"))
    all_methods = list(methods())
    assert {method.containing_service.name for method in all_methods} == SERVICES
    of_services = {
        method.full_name
        for method in all_methods
        if permission_of(method.full_name) in (*keys, "instance.report")
    }

    async def codes(token: str | None) -> dict[str, str]:
        async with open_channel(office.address, token=token) as channel:
            return {method.full_name: await call(channel, method) for method in all_methods}

    assert set((await codes(None)).values()) == {"UNAUTHENTICATED"}
    assert set((await codes("wp_guessed")).values()) == {"UNAUTHENTICATED"}
    for own, key in keys.items():
        as_service = await codes(key.secret)
        assert {name for name, code in as_service.items() if code != "PERMISSION_DENIED"} == {
            name for name in of_services if permission_of(name) in (own, "instance.report")
        }
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
    assert {name for name, code in as_owner.items() if code == "PERMISSION_DENIED"} == of_services
