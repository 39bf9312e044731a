"""All the provider offers, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisionerd.tfprovider.checks import url
from provisionerd.tfprovider.kinds import DataSource, Resource
from provisionerd.tfprovider.resources.agent import AGENT
from provisionerd.tfprovider.resources.links import (
    AGENT_INSTANCE,
    AI_TASK,
    EXTERNAL_AGENT,
    METADATA,
)
from provisionerd.tfprovider.resources.workload import APP, DEVCONTAINER, ENV, SCRIPT
from provisionerd.tfprovider.schema import BOOL, STRING, Block, optional
from provisionerd.tfprovider.sources.parameter import PARAMETER
from provisionerd.tfprovider.sources.preset import PRESET
from provisionerd.tfprovider.sources.secrets import EXTERNAL_AUTH, GIT_AUTH, SECRET
from provisionerd.tfprovider.sources.workspace import (
    OWNER,
    PROVISIONER,
    TAGS,
    TASK,
    WORKSPACE,
)

__all__ = ["DATA_SOURCES", "PROVIDER_SCHEMA", "RESOURCES"]

PROVIDER_SCHEMA: Final = Block(
    attributes=(
        optional("url", STRING, url),
        optional("feature_use_managed_variables", BOOL, deprecated=True),  # templates before 2.0
    )
)

RESOURCES: Final[Mapping[str, Resource]] = {
    kind.name: kind
    for kind in (
        AGENT,
        AGENT_INSTANCE,
        AI_TASK,
        APP,
        DEVCONTAINER,
        ENV,
        EXTERNAL_AGENT,
        METADATA,
        SCRIPT,
    )
}

DATA_SOURCES: Final[Mapping[str, DataSource]] = {
    kind.name: kind
    for kind in (
        EXTERNAL_AUTH,
        GIT_AUTH,
        OWNER,
        PARAMETER,
        PRESET,
        PROVISIONER,
        SECRET,
        TAGS,
        TASK,
        WORKSPACE,
    )
}
