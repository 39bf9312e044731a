"""Stub providers on sockets of their own, for terraform to be reattached to.

Every attribute takes a value of any type and is kept as it was given; what is only read is unknown
until an apply and then a value of the shape in which it is read. A socket lies in a private
directory, as the bundled provider's does.

Two attributes mean something: another value of `stub_replaces` forces a replacement, as nothing
else does; a resource is gone, for whoever reads it, once the file `stub_gone_at` names is there.
"""

from __future__ import annotations

import base64
import importlib
import json
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

import grpc.aio

from provisionerd.tfprovider.protocol import tfplugin5_pb2 as pb
from provisionerd.tfprovider.protocol.tfplugin5_pb2_grpc import (
    ProviderServicer,
    add_ProviderServicer_to_server,
)
from provisionerd.tfprovider.serve import describe_reattach
from testkit.stubs.hcl import BlockUsage, KindUsage, Shape, Usage

__all__ = ["serve_stubs"]

_MSGPACK: Any = importlib.import_module("msgpack")  # ships no types
_UNKNOWN: Final = _MSGPACK.ExtType(0, b"\0")
_DYNAMIC: Final = b'"dynamic"'
_CAPABILITIES: Final = pb.ServerCapabilities(get_provider_schema_optional=True)
_INNER: Final = {
    "string": b'"string"',
    "list": b'["list","string"]',
    "map": b'["map","string"]',
}
"""In a block nothing may be dynamic: terraform itself falls over where a whole block is unknown."""
REPLACES: Final = "stub_replaces"
GONE_AT: Final = "stub_gone_at"
_REPLACES_STEP: Final = pb.AttributePath.Step(attribute_name=REPLACES)
Call = grpc.aio.ServicerContext[Any, Awaitable[Any]]


@asynccontextmanager
async def serve_stubs(usage: Usage, real: Collection[str] = ()) -> AsyncGenerator[str]:
    """Serves every provider that is neither ours nor real; yields what `TF_REATTACH_PROVIDERS` must
    hold.
    """
    reattach: dict[str, Any] = {}
    servers: list[grpc.aio.Server] = []
    with tempfile.TemporaryDirectory(prefix="stubs-") as place:
        try:
            for name, address in usage.addresses.items():
                if name in real:
                    continue
                socket = Path(place) / f"{len(servers)}.sock"
                server = grpc.aio.server()
                add_ProviderServicer_to_server(StubProvider(name, usage), server)
                server.add_insecure_port(f"unix:{socket}")
                await server.start()
                servers.append(server)
                (described,) = json.loads(describe_reattach(socket)).values()
                reattach[address] = described
            yield json.dumps(reattach)
        finally:
            for server in servers:
                await server.stop(0)


class StubProvider(ProviderServicer):
    """One provider, as some files use it."""

    def __init__(self, name: str, usage: Usage) -> None:
        self._config = usage.providers.get(name, BlockUsage())
        self._resources = _of(name, usage.resources)
        self._data_sources = _of(name, usage.data_sources)

    async def GetMetadata(self, request: Any, context: Call) -> pb.GetMetadata.Response:
        """Names what there is."""
        return pb.GetMetadata.Response(
            server_capabilities=_CAPABILITIES,
            resources=[pb.GetMetadata.ResourceMetadata(type_name=name) for name in self._resources],
            data_sources=[
                pb.GetMetadata.DataSourceMetadata(type_name=name) for name in self._data_sources
            ],
        )

    async def GetSchema(self, request: Any, context: Call) -> pb.GetProviderSchema.Response:
        """As the files use it."""
        return pb.GetProviderSchema.Response(
            server_capabilities=_CAPABILITIES,
            provider=pb.Schema(block=_encode_block(self._config, Shape())),
            resource_schemas={
                name: pb.Schema(block=_encode_block(kind.given, kind.read))
                for name, kind in self._resources.items()
            },
            data_source_schemas={
                name: pb.Schema(block=_encode_block(kind.given, kind.read))
                for name, kind in self._data_sources.items()
            },
        )

    async def PrepareProviderConfig(
        self, request: pb.PrepareProviderConfig.Request, context: Call
    ) -> pb.PrepareProviderConfig.Response:
        """Anything goes."""
        return pb.PrepareProviderConfig.Response(prepared_config=request.config)

    async def Configure(self, request: Any, context: Call) -> pb.Configure.Response:
        """Anything goes."""
        return pb.Configure.Response()

    async def ValidateResourceTypeConfig(
        self, request: Any, context: Call
    ) -> pb.ValidateResourceTypeConfig.Response:
        """Anything goes."""
        return pb.ValidateResourceTypeConfig.Response()

    async def ValidateDataSourceConfig(
        self, request: Any, context: Call
    ) -> pb.ValidateDataSourceConfig.Response:
        """Anything goes."""
        return pb.ValidateDataSourceConfig.Response()

    async def UpgradeResourceState(
        self, request: pb.UpgradeResourceState.Request, context: Call
    ) -> pb.UpgradeResourceState.Response:
        """The same files wrote it."""
        return pb.UpgradeResourceState.Response(
            upgraded_state=pb.DynamicValue(json=request.raw_state.json)
        )

    async def ReadResource(
        self, request: pb.ReadResource.Request, context: Call
    ) -> pb.ReadResource.Response:
        """It is as it was, or gone."""
        if _is_gone(_unpack(request.current_state)):
            return pb.ReadResource.Response(new_state=_pack(None))
        return pb.ReadResource.Response(new_state=request.current_state, private=request.private)

    async def PlanResourceChange(
        self, request: pb.PlanResourceChange.Request, context: Call
    ) -> pb.PlanResourceChange.Response:
        """What is only read becomes known later."""
        prior, planned = _unpack(request.prior_state), _unpack(request.proposed_new_state)
        is_replaced = None not in (prior, planned) and _read(prior, REPLACES) != _read(
            planned, REPLACES
        )
        if planned is not None and (prior is None or is_replaced):
            kind = self._resources[request.type_name]
            for name in _made(kind):
                if planned.get(name) is None:
                    planned[name] = _UNKNOWN
        return pb.PlanResourceChange.Response(
            planned_state=_pack(planned),
            planned_private=request.prior_private,
            requires_replace=[pb.AttributePath(steps=[_REPLACES_STEP])] if is_replaced else [],
            legacy_type_system=True,
        )

    async def ApplyResourceChange(
        self, request: pb.ApplyResourceChange.Request, context: Call
    ) -> pb.ApplyResourceChange.Response:
        """What was unknown is made."""
        planned = _unpack(request.planned_state)
        if planned is not None:
            kind = self._resources[request.type_name]
            for name, value in planned.items():
                if isinstance(value, _MSGPACK.ExtType):
                    planned[name] = _fake(name, kind.read.children.get(name, Shape()))
        return pb.ApplyResourceChange.Response(
            new_state=_pack(planned), private=request.planned_private, legacy_type_system=True
        )

    async def ReadDataSource(
        self, request: pb.ReadDataSource.Request, context: Call
    ) -> pb.ReadDataSource.Response:
        """What is only read is made."""
        kind = self._data_sources[request.type_name]
        state = _unpack(request.config) or {}
        for name in _made(kind):
            if state.get(name) is None:
                state[name] = _fake(name, kind.read.children.get(name, Shape()))
        return pb.ReadDataSource.Response(state=_pack(state))

    async def Stop(self, request: Any, context: Call) -> pb.Stop.Response:
        """Nothing is under way."""
        return pb.Stop.Response()


def _of(name: str, kinds: Mapping[str, KindUsage]) -> dict[str, KindUsage]:
    return {type_: kind for type_, kind in kinds.items() if type_.split("_")[0] == name}


def _made(kind: KindUsage) -> list[str]:
    """The attributes a provider makes: those that are read and are no block."""
    return sorted({"id", *kind.read.children} - kind.given.blocks.keys())


def _encode_block(given: BlockUsage, read: Shape) -> pb.Schema.Block:
    names = sorted({"id", *given.attributes, *read.children} - given.blocks.keys())
    return pb.Schema.Block(
        attributes=[
            pb.Schema.Attribute(name=name, type=_DYNAMIC, optional=True, computed=True)
            for name in names
        ],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                nesting=pb.Schema.NestedBlock.LIST,
                block=_encode_inner(block),
            )
            for name, block in sorted(given.blocks.items())
        ],
    )


def _encode_inner(given: BlockUsage) -> pb.Schema.Block:
    return pb.Schema.Block(
        attributes=[
            pb.Schema.Attribute(name=name, type=_INNER[kind], optional=True)
            for name, kind in sorted(given.attributes.items())
            if name not in given.blocks
        ],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name, nesting=pb.Schema.NestedBlock.LIST, block=_encode_inner(block)
            )
            for name, block in sorted(given.blocks.items())
        ],
    )


def _unpack(value: pb.DynamicValue) -> dict[str, Any] | None:
    if value.json:
        raise ValueError("terraform sends msgpack")
    return _MSGPACK.unpackb(value.msgpack, raw=False, ext_hook=_MSGPACK.ExtType)


def _pack(value: Mapping[str, Any] | None) -> pb.DynamicValue:
    return pb.DynamicValue(msgpack=_MSGPACK.packb(value, use_bin_type=True))


def _read(state: Mapping[str, Any] | None, name: str) -> object:
    """The value of an attribute, which travels with its type; None for none."""
    stored = (state or {}).get(name)
    return cast("list[object]", stored)[1] if isinstance(stored, list) else stored


def _is_gone(state: Mapping[str, Any] | None) -> bool:
    file = _read(state, GONE_AT)
    return isinstance(file, str) and Path(file).exists()


def _fake(name: str, shape: Shape) -> list[Any]:
    """A made-up value: its type, and itself."""
    type_, value = _make(name, shape)
    return [json.dumps(type_).encode(), value]


def _make(name: str, shape: Shape) -> tuple[Any, Any]:
    if shape.children and not (shape.is_list and not shape.children):
        inner = {key: _make(key, child) for key, child in shape.children.items()}
        type_: Any = ["object", {key: each[0] for key, each in inner.items()}]
        value: Any = {key: each[1] for key, each in inner.items()}
    elif shape.is_map:
        type_, value = ["map", "string"], {}
    else:
        type_, value = _make_scalar(name, shape.wish)
    if shape.is_list:
        return ["tuple", [type_]], [value]
    return type_, value


def _make_scalar(name: str, wish: str) -> tuple[str, Any]:
    match wish:
        case "json":
            return "string", "{}"
        case "base64":
            return "string", base64.b64encode(b"stub").decode()
        case "number":
            return "number", 1
        case _:
            pass
    if name == "id" or name.endswith("_id"):
        return "string", str(uuid4())
    if "ip" in name.split("_"):
        return "string", "192.0.2.1"
    return "string", f"stub-{name}"
