"""The bundled Terraform provider: answers to `coder/coder`, served in process for one build.

    async with serve_provider(ProviderContext(...), directory) as reattach:
        ... run terraform with reattach.env in its environment ...

Templates written for Coder run unchanged and without a registry. Two things differ from upstream
on purpose: `coder_*` resources are updated in place, so an agent keeps its id and token when its
prebuild is claimed; and values reach templates through a private socket, never through the
environment.
"""

from __future__ import annotations

from provisionerd.tfprovider.context import ProviderContext, RbacRole, TransitionName
from provisionerd.tfprovider.serve import Reattach, serve_provider

__all__ = ["ProviderContext", "RbacRole", "Reattach", "TransitionName", "serve_provider"]
