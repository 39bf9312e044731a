"""Templates, for people and CI: push, look, promote, delete.

Who may not read an organization's templates is told that the organization does not exist; who may
read but not change them is told which permission is missing. Both before an upload is taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import UUID

from reconciler.core.dryruns import decide_dry_runs
from reconciler.core.hints import Hints
from reconciler.core.identity import DEFAULT_ORGANIZATION_NAME
from reconciler.core.names import check_name
from reconciler.core.permissions import UserPrincipal, may, organizations_where
from reconciler.core.templates import (
    TemplateView,
    Upload,
    VersionView,
    check_push,
    check_version_name,
)
from reconciler.rpc.principals import calling_actor, calling_user
from reconciler.store.checks import Checks
from reconciler.store.db import Database
from reconciler.store.identity import Identities
from reconciler.store.lifecycle import Lifecycles
from reconciler.store.templates import PushIds, Templates
from reconciler.wire.checks import encode_check
from reconciler.wire.templates import decode_policy, decode_push, encode_template, encode_version
from reconciler.wire.values import decode_parameters, decode_uuid
from svckit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from svckit.log import get_logger
from svckit.system import Clock
from svckit.telemetry import current_traceparent
from warmpool.control.v1 import templates_pb2 as pb
from warmpool.control.v1 import templates_pb2_grpc as rpc

__all__ = ["TemplateServicer"]

LOG = get_logger(__name__)


class TemplateServicer(rpc.TemplateServiceServicer):
    """Implements TemplateService."""

    def __init__(
        self, database: Database, hints: Hints, clock: Clock, new_id: Callable[[], UUID]
    ) -> None:
        self._templates = Templates(database)
        self._checks = Checks(database)
        self._lifecycles = Lifecycles(database)
        self._identities = Identities(database)
        self._hints = hints
        self._clock = clock
        self._new_id = new_id

    async def PushTemplateVersion(
        self, request_iterator: AsyncIterator[pb.PushTemplateVersionRequest], context: object
    ) -> pb.PushTemplateVersionResponse:
        caller = calling_user()
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidArgument(
                "header: missing; the first message is the header, the others are chunks",
                reason="HEADER_MISSING",
                field="header",
            )
        push = decode_push(first.header)
        check_push(push)
        organization_id = await self._find_organization(
            first.header.organization, "template.update", caller, "header.organization"
        )
        upload = Upload()
        async for part in request_iterator:
            if part.WhichOneof("part") != "chunk":
                raise InvalidArgument(
                    "chunk: missing; after the header every message is a chunk",
                    reason="CHUNK_MISSING",
                    field="chunk",
                )
            upload.add(part.chunk)
        ids = PushIds(template_id=self._new_id(), version_id=self._new_id(), job_id=self._new_id())
        await self._templates.push(
            organization_id,
            push,
            upload.finish(),
            caller.user_id,
            ids,
            traceparent=current_traceparent(),
            now=self._clock.now(),
        )
        self._hints.job_posted(organization_id, ids.job_id, push.provisioner_type)
        LOG.info(
            "a template version was pushed",
            template_name=push.template,
            template_version_id=str(ids.version_id),
            job_id=str(ids.job_id),
        )
        version = await self._templates.find_version(ids.version_id)
        return pb.PushTemplateVersionResponse(
            template=encode_template(await self._templates.get(organization_id, push.template)),
            version=None if version is None else encode_version(version),
        )

    async def ListTemplates(
        self, request: pb.ListTemplatesRequest, context: object
    ) -> pb.ListTemplatesResponse:
        caller = calling_user()
        if request.organization:
            ids = frozenset(
                {await self._find_organization(request.organization, "template.read", caller)}
            )
        else:
            ids = organizations_where(caller, "template.read")
        found = await self._templates.list(None if ids is None else tuple(ids))
        return pb.ListTemplatesResponse(templates=map(encode_template, found))

    async def GetTemplate(
        self, request: pb.GetTemplateRequest, context: object
    ) -> pb.GetTemplateResponse:
        template = await self._get(request.organization, request.template, "template.read")
        return pb.GetTemplateResponse(template=encode_template(template))

    async def ListTemplateVersions(
        self, request: pb.ListTemplateVersionsRequest, context: object
    ) -> pb.ListTemplateVersionsResponse:
        template = await self._get(request.organization, request.template, "template.read")
        versions = await self._templates.list_versions(template.id)
        return pb.ListTemplateVersionsResponse(versions=map(encode_version, versions))

    async def GetTemplateVersion(
        self, request: pb.GetTemplateVersionRequest, context: object
    ) -> pb.GetTemplateVersionResponse:
        caller = calling_user()
        version_id = decode_uuid(request.version_id, "version_id")
        version = await self._templates.find_version(version_id)
        if version is None or not may(
            caller, "template.read", organization_id=version.organization_id
        ):
            raise NotFound(
                f"version_id: there is no template version {version_id}",
                reason="VERSION_UNKNOWN",
                field="version_id",
            )
        return pb.GetTemplateVersionResponse(version=encode_version(version))

    async def PromoteTemplateVersion(
        self, request: pb.PromoteTemplateVersionRequest, context: object
    ) -> pb.PromoteTemplateVersionResponse:
        template = await self._get(request.organization, request.template, "template.update")
        version = check_version_name(request.version, "version")
        preset_ids = await self._templates.promote_version(
            template, version, calling_actor(self._new_id()), self._clock.now()
        )
        for preset_id in preset_ids:
            self._hints.pool_changed(preset_id, "promoted")
        LOG.info("a template version was promoted", template_name=template.name, version=version)
        promoted = await self._templates.get(template.organization_id, template.name)
        return pb.PromoteTemplateVersionResponse(template=encode_template(promoted))

    async def SetTemplatePolicy(
        self, request: pb.SetTemplatePolicyRequest, context: object
    ) -> pb.SetTemplatePolicyResponse:
        template = await self._get(request.organization, request.template, "template.update")
        policy = decode_policy(request.policy)
        await self._lifecycles.set_policy(
            template, policy, calling_actor(self._new_id()), self._clock.now()
        )
        LOG.info("a template's policy was set", template_name=template.name)
        changed = await self._templates.get(template.organization_id, template.name)
        return pb.SetTemplatePolicyResponse(template=encode_template(changed))

    async def CheckTemplateVersion(
        self, request: pb.CheckTemplateVersionRequest, context: object
    ) -> pb.CheckTemplateVersionResponse:
        template = await self._get(request.organization, request.template, "template.update")
        version = await self._find_version(template, request.version)
        asked = decide_dry_runs(version, request.preset, decode_parameters(request.parameters))
        checks = await self._checks.queue(
            version.id,
            calling_user().user_id,
            [(self._new_id(), each) for each in asked],
            traceparent=current_traceparent(),
            now=self._clock.now(),
        )
        for check in checks:
            self._hints.job_posted(check.organization_id, check.job_id, check.provisioner_type)
        LOG.info(
            "a template version is checked",
            template_name=template.name,
            template_version_id=str(version.id),
            total=len(checks),
        )
        return pb.CheckTemplateVersionResponse(
            version=encode_version(version), checks=map(encode_check, checks)
        )

    async def GetTemplateCheck(
        self, request: pb.GetTemplateCheckRequest, context: object
    ) -> pb.GetTemplateCheckResponse:
        job_id = decode_uuid(request.job_id, "job_id")
        check = await self._checks.find(job_id)
        if check is None or not may(
            calling_user(), "template.update", organization_id=check.organization_id
        ):
            raise NotFound(
                f"job_id: there is no check {job_id}", reason="CHECK_UNKNOWN", field="job_id"
            )
        return pb.GetTemplateCheckResponse(check=encode_check(check))

    async def _find_version(self, template: TemplateView, name: str) -> VersionView:
        """The version of that name, the active one for none."""
        if name:
            version_id = await self._templates.find_version_id(
                template, check_version_name(name, "version")
            )
        elif template.active_version_id is None:
            raise FailedPrecondition(
                f'version: template "{template.name}" has no active version; name one',
                reason="NO_ACTIVE_VERSION",
                field="version",
            )
        else:
            version_id = template.active_version_id
        version = await self._templates.find_version(version_id)
        if version is None:
            raise NotFound(
                f'template: "{template.name}" was deleted meanwhile',
                reason="TEMPLATE_UNKNOWN",
                field="template",
            )
        return version

    async def DeleteTemplate(
        self, request: pb.DeleteTemplateRequest, context: object
    ) -> pb.DeleteTemplateResponse:
        template = await self._get(request.organization, request.template, "template.delete")
        preset_ids = await self._templates.delete(
            template, calling_actor(self._new_id()), self._clock.now()
        )
        for preset_id in preset_ids:
            self._hints.pool_changed(preset_id, "template_deleted")
        LOG.info("a template was deleted", template_name=template.name)
        return pb.DeleteTemplateResponse()

    async def _get(self, organization: str, name: str, permission: str) -> TemplateView:
        check_name(name, "template")
        organization_id = await self._find_organization(organization, permission, calling_user())
        return await self._templates.get(organization_id, name)

    async def _find_organization(
        self, name: str, permission: str, caller: UserPrincipal, field: str = "organization"
    ) -> UUID:
        name = name or DEFAULT_ORGANIZATION_NAME
        found = await self._identities.find_organization(check_name(name, field))
        if found is None or not may(caller, "template.read", organization_id=found.id):
            raise NotFound(
                f'{field}: there is no organization "{name}" that you belong to',
                reason="ORGANIZATION_UNKNOWN",
                field=field,
            )
        if not may(caller, permission, organization_id=found.id):
            raise PermissionDenied(
                f'{field}: you need the permission "{permission}" in "{name}"; its admins, template'
                " admins and owners hold it",
                reason="PERMISSION_MISSING",
                metadata={"permission": permission, "organization": name},
            )
        return found.id
