"""The provider's calls: decode, call, encode. Decides nothing.

Promises: every call returns at once (nothing waits, so Stop has nothing to interrupt); a problem
is a diagnostic, never a broken call; neither values nor secrets are logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

import grpc.aio

from provisionerd.tfprovider import lifecycle
from provisionerd.tfprovider.catalog import DATA_SOURCES, PROVIDER_SCHEMA, RESOURCES
from provisionerd.tfprovider.checking import check_block, check_config
from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.cty import NotConforming
from provisionerd.tfprovider.kinds import DataSource, Dice, Refused, Resource, refuse
from provisionerd.tfprovider.protocol import tfplugin5_pb2 as pb
from provisionerd.tfprovider.protocol.tfplugin5_pb2_grpc import ProviderServicer
from provisionerd.tfprovider.wire import (
    decode_object,
    decode_optional_object,
    encode_problems,
    encode_schema,
    encode_value,
)

__all__ = ["TerraformProvider"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Kind = TypeVar("_Kind", Resource, DataSource)
_Call: TypeAlias = grpc.aio.ServicerContext[_Request, Awaitable[_Response]]

_CAPABILITIES = pb.ServerCapabilities(get_provider_schema_optional=True)
_ANSWERABLE = (Refused, NotConforming)


class TerraformProvider(ProviderServicer):
    """Answers for one build. A provider block's `url` overrides the context's access URL; several
    provider blocks with different URLs in one template share the last one.
    """

    def __init__(self, context: ProviderContext, dice: Dice) -> None:
        self._context = context
        self._dice = dice

    async def GetMetadata(
        self,
        request: pb.GetMetadata.Request,
        context: _Call[pb.GetMetadata.Request, pb.GetMetadata.Response],
    ) -> pb.GetMetadata.Response:
        """Names what there is."""
        return pb.GetMetadata.Response(
            server_capabilities=_CAPABILITIES,
            resources=[pb.GetMetadata.ResourceMetadata(type_name=name) for name in RESOURCES],
            data_sources=[
                pb.GetMetadata.DataSourceMetadata(type_name=name) for name in DATA_SOURCES
            ],
        )

    async def GetSchema(
        self,
        request: pb.GetProviderSchema.Request,
        context: _Call[pb.GetProviderSchema.Request, pb.GetProviderSchema.Response],
    ) -> pb.GetProviderSchema.Response:
        """Describes what there is."""
        return pb.GetProviderSchema.Response(
            server_capabilities=_CAPABILITIES,
            provider=encode_schema(PROVIDER_SCHEMA),
            resource_schemas={name: encode_schema(kind.schema) for name, kind in RESOURCES.items()},
            data_source_schemas={
                name: encode_schema(kind.schema) for name, kind in DATA_SOURCES.items()
            },
        )

    async def PrepareProviderConfig(
        self,
        request: pb.PrepareProviderConfig.Request,
        context: _Call[pb.PrepareProviderConfig.Request, pb.PrepareProviderConfig.Response],
    ) -> pb.PrepareProviderConfig.Response:
        """Checks the provider block."""
        response = pb.PrepareProviderConfig.Response(prepared_config=request.config)
        try:
            config = decode_object(PROVIDER_SCHEMA, request.config)
            response.diagnostics.extend(encode_problems(check_block(PROVIDER_SCHEMA, config)))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def Configure(
        self,
        request: pb.Configure.Request,
        context: _Call[pb.Configure.Request, pb.Configure.Response],
    ) -> pb.Configure.Response:
        """Takes the provider block."""
        response = pb.Configure.Response()
        try:
            url = decode_object(PROVIDER_SCHEMA, request.config).get("url")
            if isinstance(url, str) and url:
                self._context = replace(self._context, access_url=url)
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def ValidateResourceTypeConfig(
        self,
        request: pb.ValidateResourceTypeConfig.Request,
        context: _Call[
            pb.ValidateResourceTypeConfig.Request, pb.ValidateResourceTypeConfig.Response
        ],
    ) -> pb.ValidateResourceTypeConfig.Response:
        """Checks a resource block."""
        response = pb.ValidateResourceTypeConfig.Response()
        try:
            kind = _find(RESOURCES, request.type_name)
            config = decode_object(kind.schema, request.config)
            response.diagnostics.extend(encode_problems(check_config(kind, config)))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def ValidateDataSourceConfig(
        self,
        request: pb.ValidateDataSourceConfig.Request,
        context: _Call[pb.ValidateDataSourceConfig.Request, pb.ValidateDataSourceConfig.Response],
    ) -> pb.ValidateDataSourceConfig.Response:
        """Checks a data block."""
        response = pb.ValidateDataSourceConfig.Response()
        try:
            kind = _find(DATA_SOURCES, request.type_name)
            config = decode_object(kind.schema, request.config)
            response.diagnostics.extend(encode_problems(check_config(kind, config)))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def UpgradeResourceState(
        self,
        request: pb.UpgradeResourceState.Request,
        context: _Call[pb.UpgradeResourceState.Request, pb.UpgradeResourceState.Response],
    ) -> pb.UpgradeResourceState.Response:
        """Reads a stored resource, whichever version wrote it."""
        response = pb.UpgradeResourceState.Response()
        try:
            kind = _find(RESOURCES, request.type_name)
            upgraded = lifecycle.upgrade_tfstate(kind.schema, request.raw_state.json)
            response.upgraded_state.CopyFrom(encode_value(kind.schema, upgraded))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def ReadResource(
        self,
        request: pb.ReadResource.Request,
        context: _Call[pb.ReadResource.Request, pb.ReadResource.Response],
    ) -> pb.ReadResource.Response:
        """Refreshes a resource."""
        response = pb.ReadResource.Response(private=request.private)
        try:
            kind = _find(RESOURCES, request.type_name)
            stored = decode_optional_object(kind.schema, request.current_state)
            new = lifecycle.refresh_resource(kind, self._context, stored)
            response.new_state.CopyFrom(encode_value(kind.schema, new))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def PlanResourceChange(
        self,
        request: pb.PlanResourceChange.Request,
        context: _Call[pb.PlanResourceChange.Request, pb.PlanResourceChange.Response],
    ) -> pb.PlanResourceChange.Response:
        """Plans a change; never a replacement."""
        response = pb.PlanResourceChange.Response(
            planned_private=request.prior_private, legacy_type_system=True
        )
        try:
            kind = _find(RESOURCES, request.type_name)
            prior = decode_optional_object(kind.schema, request.prior_state)
            proposed = decode_optional_object(kind.schema, request.proposed_new_state)
            planned = lifecycle.plan_change(kind, self._context, prior, proposed)
            response.planned_state.CopyFrom(encode_value(kind.schema, planned))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def ApplyResourceChange(
        self,
        request: pb.ApplyResourceChange.Request,
        context: _Call[pb.ApplyResourceChange.Request, pb.ApplyResourceChange.Response],
    ) -> pb.ApplyResourceChange.Response:
        """Carries a planned change out. A refused one leaves the prior values."""
        response = pb.ApplyResourceChange.Response(
            new_state=request.prior_state, private=request.planned_private, legacy_type_system=True
        )
        try:
            kind = _find(RESOURCES, request.type_name)
            planned = decode_optional_object(kind.schema, request.planned_state)
            config = decode_optional_object(kind.schema, request.config)
            new = lifecycle.apply_change(kind, self._context, config, planned, self._dice)
            response.new_state.CopyFrom(encode_value(kind.schema, new))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def ReadDataSource(
        self,
        request: pb.ReadDataSource.Request,
        context: _Call[pb.ReadDataSource.Request, pb.ReadDataSource.Response],
    ) -> pb.ReadDataSource.Response:
        """Reads a data source."""
        response = pb.ReadDataSource.Response()
        try:
            kind = _find(DATA_SOURCES, request.type_name)
            config = decode_object(kind.schema, request.config)
            values = lifecycle.read_data_source(kind, self._context, config)
            response.state.CopyFrom(encode_value(kind.schema, values))
        except _ANSWERABLE as error:
            response.diagnostics.extend(_explain(error))
        return response

    async def Stop(
        self, request: pb.Stop.Request, context: _Call[pb.Stop.Request, pb.Stop.Response]
    ) -> pb.Stop.Response:
        """Agrees to stop: calls in flight return by themselves, the server stays up for them."""
        return pb.Stop.Response()


def _find(kinds: Mapping[str, _Kind], name: str) -> _Kind:
    kind = kinds.get(name)
    if kind is None:
        raise refuse(
            f"The bundled provider has no {name}", f"There are: {', '.join(sorted(kinds))}."
        )
    return kind


def _explain(error: Refused | NotConforming) -> list[pb.Diagnostic]:
    match error:
        case Refused():
            return encode_problems(error.problems)
        case NotConforming():
            return encode_problems(
                refuse("Terraform sent a value that does not fit", str(error)).problems
            )
