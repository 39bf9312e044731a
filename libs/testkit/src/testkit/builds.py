"""A build as provisioners are given it; tests change what they are about with `replace`."""

from __future__ import annotations

from provisionerd.core.provisioner import Build, Owner, Stage, Transition

__all__ = ["START"]

START = Build(
    build_id="00000000-0000-0000-0000-000000000001",
    workspace_id="00000000-0000-0000-0000-000000000002",
    workspace_name="one",
    transition=Transition.START,
    stage=Stage.ORDINARY,
    owner=Owner(id="00000000-0000-0000-0000-000000000005", username="ada"),
    organization_name="default",
    template_id="00000000-0000-0000-0000-000000000003",
    template_name="example",
    template_version_id="00000000-0000-0000-0000-000000000004",
    template_version_name="v1",
    access_url="http://127.0.0.1:7080",
)
