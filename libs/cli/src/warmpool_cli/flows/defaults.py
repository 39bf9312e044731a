"""Completing a request the way a form does: what is not given takes the template's default.

The control plane matches a preset on given values alone. So a person who types nothing but the
template's name says, with this, that its defaults will do, and gets the prebuild made of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from warmpool.common.v1.types_pb2 import ParameterValue
from warmpool.control.v1.templates_pb2 import (
    GetTemplateVersionRequest,
    ListTemplateVersionsRequest,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client

__all__ = ["complete_parameters"]


async def complete_parameters(
    client: Client,
    *,
    organization: str,
    template: str,
    version: str,
    given: Sequence[ParameterValue],
) -> list[ParameterValue]:
    """The given values, and the defaults of the version's other parameters."""
    answer = await client.templates.ListTemplateVersions(
        ListTemplateVersionsRequest(organization=organization, template=template),
        timeout=CALL_TIMEOUT_SECONDS,
    )
    asked = next((v for v in answer.versions if (v.name == version if version else v.active)), None)
    if asked is None:
        return list(given)  # the control plane says better than we could what is missing
    found = await client.templates.GetTemplateVersion(
        GetTemplateVersionRequest(version_id=asked.id), timeout=CALL_TIMEOUT_SECONDS
    )
    names = {value.name for value in given}
    return [
        *given,
        *(
            ParameterValue(name=parameter.name, value=parameter.default_value)
            for parameter in found.version.parameters
            if parameter.has_default and parameter.name not in names
        ),
    ]
