"""The manifests are what Kubernetes takes, and say the same as the services they run."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from agentgw.wiring.gateway import STOP_GRACE_SECONDS
from svckit.addresses import parse_listen
from svckit.server import CLEANUP_SECONDS_MAX, LIVENESS
from svckit.settings import ServiceSettings, parse_settings
from svckit.settings_sources import variable_name
from svckit.telemetry import CLOSE_SECONDS_MAX

Installation = Any  # tests/deploy/conftest.py
Document = Mapping[str, Any]
Settings = dict[str, type[ServiceSettings]]

SERVICES = ("reconciler", "agentgw", "provisionerd")
KUBERNETES = ("1.34", "1.37")  # the oldest these manifests are for, and the newest checked
OTHERS = {  # kinds of others' controllers, for which no schema is here
    "ScaledObject": "keda.sh/v1alpha1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "Certificate": "cert-manager.io/v1",
}
BUS_CLOSE_SECONDS = 5.0  # agentgw and reconciler close the bus and their channels in this time
ENDPOINTS_SECONDS = 5.0  # until every node knows of a change of endpoints
ENDING_SECONDS = STOP_GRACE_SECONDS + CLEANUP_SECONDS_MAX + BUS_CLOSE_SECONDS + CLOSE_SECONDS_MAX


def _typed(settings: Settings, installation: Installation, service: str) -> ServiceSettings:
    """What the service itself makes of its environment; a wrong name or value raises."""
    return parse_settings(settings[service], [], installation.environment(service))


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_official_schemas_take_every_object(installation: Installation, version: str) -> None:
    kinds = {document["kind"]: document["apiVersion"] for document in installation.documents}

    for document in installation.documents:
        if document["kind"] not in OTHERS:
            kubernetes_validate.validate(document, version, strict=True)

    assert kinds | OTHERS == {**OTHERS, **kinds}, "a kind of another API version"


def test_everything_is_in_the_one_namespace(installation: Installation) -> None:
    outside = {
        (document["kind"], document["metadata"]["name"])
        for document in installation.documents
        if document["metadata"].get("namespace") != "warmpool"
    }
    assert outside == {("Namespace", "warmpool")}


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_with_an_allowed_value(
    installation: Installation, settings: Settings, service: str
) -> None:
    environment = installation.environment(service)
    known = {variable_name(service, name) for name in settings[service].model_fields}

    _typed(settings, installation, service)

    assert {name for name in environment if name.startswith("WARMPOOL_")} - known == set()


def test_the_migration_has_the_settings_of_its_service(
    installation: Installation, settings: Settings
) -> None:
    environment = installation.environment("migrate")
    known = {variable_name("reconciler", n) for n in settings["reconciler"].model_fields}

    assert installation.container("migrate")["args"] == ["migrate"]
    assert set(environment) - known == set()
    assert (
        installation.container("migrate")["image"]
        == (installation.container("reconciler")["image"])
    )
    reconciler = _typed(settings, installation, "reconciler")
    assert getattr(reconciler, "migrate") is False, "replicas leave the schema to the job"  # noqa: B009


def _mounted(installation: Installation, workload: str) -> Iterator[str]:
    """Every file and directory that the container finds, and can name in a setting."""
    spec = installation.pod(workload)["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for claim in installation.workloads()[workload]["spec"].get("volumeClaimTemplates", []):
        volumes[claim["metadata"]["name"]] = {}
    for mount in installation.container(workload)["volumeMounts"]:
        path, volume = mount["mountPath"], volumes[mount["name"]]
        yield path
        if secret := volume.get("secret"):
            keys = [item["path"] for item in secret.get("items", [])]
            keys = keys or ["tls.crt", "tls.key", "ca.crt"]  # kubernetes.io/tls
            yield from (f"{path}/{key}" for key in keys)


@pytest.mark.parametrize("workload", [*SERVICES, "migrate"])
def test_every_file_and_directory_that_is_named_is_mounted(
    installation: Installation, workload: str
) -> None:
    named = {
        value
        for name, value in installation.environment(workload).items()
        if name.endswith(("_FILE", "_DIR"))
    }
    assert named
    assert named - set(_mounted(installation, workload)) == set()


@pytest.mark.parametrize("workload", [*SERVICES, "migrate"])
def test_every_volume_is_mounted_and_every_mount_has_a_volume(
    installation: Installation, workload: str
) -> None:
    spec = installation.workloads()[workload]["spec"]
    volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in installation.container(workload)["volumeMounts"]} == volumes


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_those_the_service_listens_on(
    installation: Installation, settings: Settings, service: str
) -> None:
    typed = _typed(settings, installation, service)
    ports = {p["name"]: p["containerPort"] for p in installation.container(service)["ports"]}

    expected = {
        "health": parse_listen(typed.health_listen),
        "metrics": parse_listen(typed.metrics_listen),
    }
    if service != "provisionerd":  # nobody calls a provisioner
        expected["grpc"] = parse_listen(typed.listen)
    assert {name: ("0.0.0.0", port) for name, port in ports.items()} == expected
    assert len(set(ports.values())) == len(ports)


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_for_health_names_that_exist_at_the_plain_port(
    installation: Installation, settings: Settings, service: str
) -> None:
    _, port = parse_listen(_typed(settings, installation, service).health_listen)
    container = installation.container(service)

    assert {probe: container[probe]["grpc"] for probe in container if probe.endswith("Probe")} == {
        "startupProbe": {"port": port, "service": LIVENESS},
        "livenessProbe": {"port": port, "service": LIVENESS},
        "readinessProbe": {"port": port},  # the server as a whole, which a drain turns off
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_has_longer_to_end_than_its_service_needs(
    installation: Installation, settings: Settings, service: str
) -> None:
    typed = _typed(settings, installation, service)
    pause = installation.container(service)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = installation.pod(service)["spec"]["terminationGracePeriodSeconds"]

    assert grace >= pause + typed.drain_seconds + ENDING_SECONDS
    if service == "agentgw":
        window: float = getattr(typed, "drain_window_seconds")  # noqa: B009 -- of one service only
        assert window <= typed.drain_seconds / 2, "the gateway would shorten it"


def test_a_gateway_that_ends_gets_no_new_connections(installation: Installation) -> None:
    """An agent that it sends away must not come back to it: see externalTrafficPolicy."""
    service = installation.of_kind("Service")["agentgw"]["spec"]
    spec = installation.workloads()["agentgw"]["spec"]
    pause = installation.container("agentgw")["lifecycle"]["preStop"]["sleep"]["seconds"]

    if service["type"] == "LoadBalancer":
        assert service["externalTrafficPolicy"] == "Cluster"
    assert service.get("internalTrafficPolicy", "Cluster") == "Cluster"
    assert not service.get("publishNotReadyAddresses")
    assert service.get("sessionAffinity", "None") == "None", "it would lead back to the old one"
    assert pause >= ENDPOINTS_SECONDS
    assert spec["minReadySeconds"] >= 2 * ENDPOINTS_SECONDS, "the next may end when this is known"


@pytest.mark.parametrize("workload", [*SERVICES, "migrate"])
def test_pods_are_restricted(installation: Installation, workload: str) -> None:
    spec, container = installation.pod(workload)["spec"], installation.container(workload)

    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == workload
    accounts = installation.of_kind("ServiceAccount")
    assert accounts[workload]["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["resources"]["limits"].keys() == {"memory"}
    assert not [name for name in spec if name.startswith("host")]


@pytest.mark.parametrize("workload", [*SERVICES, "migrate"])
def test_secrets_are_referenced_and_never_in_an_environment(
    installation: Installation, workload: str
) -> None:
    assert installation.of_kind("Secret") == {}
    for source in installation.container(workload).get("envFrom", []):
        assert source.keys() == {"configMapRef"}
    values = installation.environment(workload).items()
    assert not [
        name
        for name, value in values
        if name.endswith(("_DATABASE_URL", "_TOKEN", "_KEY")) or ("@" in value and "://" in value)
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_control_plane_gets_the_databases_address(
    installation: Installation, service: str
) -> None:
    has = "database-url" in str(installation.pod(service))
    assert has == (service == "reconciler")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_outlives_the_loss_of_a_node_and_a_rollout(
    installation: Installation, service: str
) -> None:
    workload = installation.workloads()[service]
    labels = installation.pod(service)["metadata"]["labels"]
    selector = {"app.kubernetes.io/name": service}

    assert workload["spec"]["selector"] == {"matchLabels": selector}
    assert selector.items() <= labels.items()
    budget = installation.of_kind("PodDisruptionBudget")[service]["spec"]
    assert (budget["maxUnavailable"], budget["selector"]) == (1, {"matchLabels": selector})
    spread = installation.pod(service)["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert all(each["labelSelector"] == {"matchLabels": selector} for each in spread)
    if workload["kind"] == "Deployment":
        assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_provisioner_keeps_its_disk(installation: Installation, settings: Settings) -> None:
    spec = installation.of_kind("StatefulSet")["provisionerd"]["spec"]
    data_dir = str(getattr(_typed(settings, installation, "provisionerd"), "data_dir"))  # noqa: B009

    assert spec["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }
    [claim] = [c["metadata"]["name"] for c in spec["volumeClaimTemplates"]]
    mounts = {m["name"]: m for m in installation.container("provisionerd")["volumeMounts"]}
    assert mounts[claim]["mountPath"] == data_dir
    assert not mounts[claim].get("readOnly")
    assert installation.of_kind("Service")[spec["serviceName"]]["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("service", ["agentgw", "provisionerd"])
def test_the_control_plane_is_called_by_its_headless_name_and_the_pods_port(
    installation: Installation, settings: Settings, service: str
) -> None:
    address: str = getattr(  # noqa: B009 -- two of the three services have it
        _typed(settings, installation, service), "reconciler_address"
    )
    headless = installation.of_kind("Service")["reconciler"]["spec"]
    [port] = headless["ports"]
    ports = {p["name"]: p["containerPort"] for p in installation.container("reconciler")["ports"]}

    assert address == (f"https://reconciler.warmpool.svc.cluster.local:{ports[port['targetPort']]}")
    assert headless["clusterIP"] == "None"
    assert port["port"] == ports[port["targetPort"]], "a headless name leads to the pods' port"


def test_services_lead_to_ports_that_pods_have(installation: Installation) -> None:
    for name, service in installation.of_kind("Service").items():
        workload = service["spec"]["selector"]["app.kubernetes.io/name"]
        ports = {port["name"] for port in installation.container(workload)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name


def test_images_are_built_by_the_dockerfile_and_have_the_version_of_the_release(
    installation: Installation, root: Path
) -> None:
    dockerfile = (root / "deploy" / "Dockerfile").read_text(encoding="utf-8")

    for service in SERVICES:
        member = (root / "services" / service / "pyproject.toml").read_text(encoding="utf-8")
        version = tomllib.loads(member)["project"]["version"]
        assert installation.container(service)["image"].endswith(f"/warmpool/{service}:{version}")
        assert f" AS {service}\n" in dockerfile


def test_secrets_that_are_named_are_made_as_the_page_says(
    installation: Installation, root: Path
) -> None:
    """docs/deployment.md creates each, with exactly the keys that the pods take."""
    page = (root / "docs" / "deployment.md").read_text(encoding="utf-8").replace("\\\n", " ")
    for workload in installation.workloads():
        for volume in installation.pod(workload)["spec"]["volumes"]:
            if (secret := volume.get("secret")) is None:
                continue
            [line] = [
                line
                for line in page.splitlines()
                if f" {secret['secretName']} " in f"{line} " and "create secret" in line
            ]
            for item in secret.get("items", []):
                assert f"--from-file={item['key']}=" in line, (secret["secretName"], item["key"])


def test_who_scales_owns_the_count(
    installation: Installation, settings: Settings, load_yaml: Callable[[str], Any]
) -> None:
    scaled = {
        document["spec"]["scaleTargetRef"]["name"]: document["spec"]["scaleTargetRef"]["kind"]
        for document in installation.of_kind("HorizontalPodAutoscaler", "ScaledObject").values()
    }
    workloads = installation.workloads()
    if installation.name == "evaluation":
        assert scaled == {}
        return

    assert scaled == {"agentgw": "Deployment", "provisionerd": "StatefulSet"}
    for name, kind in scaled.items():
        assert workloads[name]["kind"] == kind
        assert "replicas" not in workloads[name]["spec"]
    [metric] = installation.of_kind("HorizontalPodAutoscaler")["agentgw"]["spec"]["metrics"]
    [rule] = load_yaml("deploy/kubernetes/components/autoscaling/metrics-adapter.yaml")["rules"][
        "custom"
    ]
    name = metric["pods"]["metric"]["name"]
    assert rule["seriesQuery"].startswith(f"{name}{{")
    gateway, worker = (_typed(settings, installation, s) for s in ("agentgw", "provisionerd"))
    sessions_max: int = getattr(gateway, "sessions_max")  # noqa: B009
    slots: int = getattr(worker, "slots")  # noqa: B009
    assert int(metric["pods"]["target"]["averageValue"]) <= sessions_max / 2
    [trigger] = installation.of_kind("ScaledObject")["provisionerd"]["spec"]["triggers"]
    assert trigger["metadata"]["threshold"] == str(slots)


def test_what_others_controllers_take_is_complete(installation: Installation) -> None:
    """No schema of theirs is here: what each cannot do without."""
    for monitor in installation.of_kind("PodMonitor").values():
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        for service in SERVICES:
            ports = {port["name"] for port in installation.container(service)["ports"]}
            assert endpoint["port"] in ports
    for certificate in installation.of_kind("Certificate").values():
        spec = certificate["spec"]
        assert spec["dnsNames"]
        assert spec["issuerRef"].keys() >= {"kind", "name"}
        mounted = {
            volume["secret"]["secretName"]
            for workload in SERVICES
            for volume in installation.pod(workload)["spec"]["volumes"]
            if "secret" in volume
        }
        assert spec["secretName"] in mounted
        if spec["secretName"] == "warmpool-reconciler-tls":
            hosts = ("reconciler", "warmpool")  # the headless service, and the one for people
            names = {f"{host}.warmpool.svc.cluster.local" for host in hosts}
            assert {*names, "localhost"} <= set(spec["dnsNames"]), "doctor's way in"
    for scaled in installation.of_kind("ScaledObject").values():
        spec = scaled["spec"]
        assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
        assert all(
            trigger["type"] == "prometheus"
            and trigger["metadata"].keys() == {"serverAddress", "query", "threshold"}
            for trigger in spec["triggers"]
        )
