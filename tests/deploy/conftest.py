"""The Kubernetes installations as `kubectl` renders them, and what the services really take."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from agentgw.wiring.settings import GatewaySettings
from provisionerd.wiring.settings import ProvisionerdSettings
from reconciler.wiring.settings import ReconcilerSettings
from svckit.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("evaluation", "production")
SETTINGS: dict[str, type[ServiceSettings]] = {
    cls.service: cls for cls in (ReconcilerSettings, GatewaySettings, ProvisionerdSettings)
}
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything an overlay comes to."""

    name: str
    documents: tuple[Document, ...]

    def of_kind(self, *kinds: str) -> dict[str, Document]:
        """The objects of these kinds, by name."""
        return {
            document["metadata"]["name"]: document
            for document in self.documents
            if document["kind"] in kinds
        }

    def workloads(self) -> dict[str, Document]:
        """What runs pods, by name; `migrate` is the only one that is no service."""
        return self.of_kind("Deployment", "StatefulSet", "Job")

    def pod(self, workload: str) -> Document:
        """The pod template of a workload."""
        return self.workloads()[workload]["spec"]["template"]

    def container(self, workload: str) -> Document:
        """Its one container."""
        [container] = self.pod(workload)["spec"]["containers"]
        return container

    def environment(self, workload: str) -> dict[str, str]:
        """What the process finds in its environment, from everywhere it comes."""
        container, maps = self.container(workload), self.of_kind("ConfigMap")
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            found |= maps[source["configMapRef"]["name"]]["data"]
        return found | {entry["name"]: entry["value"] for entry in container.get("env", [])}


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def settings() -> dict[str, type[ServiceSettings]]:
    """The settings class of each service."""
    return SETTINGS


@pytest.fixture(scope="session")
def load_yaml() -> Callable[[str], Any]:
    """Reads a file of the repository."""

    def load(path: str) -> Any:
        return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))

    return load


@pytest.fixture(scope="session", params=OVERLAYS)
def installation(request: pytest.FixtureRequest) -> Installation:
    """One overlay, rendered by the real kubectl; every test sees each of them."""
    name = cast("str", request.param)
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    run = subprocess.run(
        [kubectl, "kustomize", ROOT / "deploy" / "kubernetes" / "overlays" / name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return Installation(name, tuple(_documents(run.stdout)))


def _documents(text: str) -> Iterator[Document]:
    for document in yaml.safe_load_all(text):
        assert isinstance(document, dict)
        yield cast("Document", document)
