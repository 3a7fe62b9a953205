"""The chart, by the real helm, for every ring there is, against Kubernetes' own schemas."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from factories.cluster_tools import cluster_tool

from engines.config.yaml import load_yaml
from engines.machine.fingerprint import NODE_FILE
from pipeline.repository.fleet import release_name
from release.rollout.release_yaml import NOTHING, ImageValues, Model, ReleaseValues, dump

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CHART = ROOT / "release" / "charts" / "inference"
RINGS = sorted((ROOT / "release" / "fleet").glob("*/*/*/fleet.yaml"))
DIGEST = "sha256:" + "a" * 64
TAG = f"v1.0-x86-openvino-fp16-0123456789ab@{DIGEST}"
RELEASE = ReleaseValues(
    image=ImageValues(tag=TAG), model=Model(path="/models/engine.blob", version="1.0")
)
BASE: dict[str, Any] = {"image": {"repository": "registry.example.com/m"}}
KUBERNETES = ("1.32", "1.34", "1.36")
"""Of K3s at sites, as far as kubernetes-validate has them."""

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm() -> Path:
    return cluster_tool("helm")


def run(helm: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(helm), *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def template(helm: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`helm template` with these values, and release.yaml over them, as Fleet merges the two."""

    def call(
        values: dict[str, Any], release: ReleaseValues = RELEASE, name: str = "m-x86"
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "values.json").write_text(json.dumps(values))
        (tmp_path / "release.yaml").write_text(dump(release))
        files = ("-f", tmp_path / "values.json", "-f", tmp_path / "release.yaml")
        return run(helm, "template", name, CHART, "--namespace", "inference", *files)

    return call


@pytest.fixture
def render(template: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Render:
    """What it gives, each checked by Kubernetes' schemas but for what others' operators define."""

    def call(*arguments: Any, **named: Any) -> list[dict[str, Any]]:
        done = template(*arguments, **named)
        assert done.returncode == 0, done.stderr
        objects = documents(done.stdout, tmp_path)
        for one in objects:
            if one["kind"] != "PodMonitor":
                for version in KUBERNETES:
                    kubernetes_validate.validate(one, version, strict=True)
        return objects

    return call


def documents(text: str, folder: Path) -> list[dict[str, Any]]:
    found = []
    for number, part in enumerate(text.split("\n---\n")):
        path = folder / f"{number}.yaml"
        path.write_text(part)
        if (content := load_yaml(path)) is not None:
            found.append(content)
    return found


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (one for one in objects if one["kind"] == kind)
    return found


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    (found,) = spec["containers"]
    return dict(found)


def test_lint(helm: Path) -> None:
    done = run(helm, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


# --- rings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RINGS, ids=lambda path: "-".join(path.parts[-4:-1]))
def test_every_ring_fits_the_chart(path: Path, render: Render) -> None:
    fleet = load_yaml(path)
    row = load_yaml(CHART / "Chart.yaml")
    assert fleet["helm"]["version"] == row["version"]
    assert fleet["helm"]["chart"].rpartition("/")[2] == row["name"]
    values, name = fleet["helm"]["values"], fleet["helm"]["releaseName"]
    model, target = path.parts[-4:-2]
    assert name == release_name(model, target)
    objects = render(values, name=name)
    assert {one["kind"] for one in objects} == {"ConfigMap", "Deployment", "NetworkPolicy"}
    spec = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    gpu = load_yaml(ROOT / "engines" / "targets" / target / "params.yaml")["backend"] != "openvino"
    assert ("nvidia.com/gpu" in spec["containers"][0]["resources"]["limits"]) == gpu
    assert spec.get("runtimeClassName") == ("nvidia" if gpu else None)
    assert spec["containers"][0]["image"] == f"{values['image']['repository']}:{TAG}"


@pytest.mark.parametrize("path", RINGS[:1])
def test_before_a_ring_s_first_release_nothing_is_rendered(path: Path, render: Render) -> None:
    fleet = load_yaml(path)
    assert render(fleet["helm"]["values"], NOTHING) == []
    assert load_yaml(path.with_name("release.yaml"))["image"]["tag"] == ""


# --- what it gives -------------------------------------------------------------------------------


def test_a_new_pod_starts_beside_the_old_one(render: Render) -> None:
    spec = of_kind(render(BASE), "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    spec = of_kind(render(BASE | {"strategy": "Recreate"}), "Deployment")["spec"]
    assert spec["strategy"] == {"type": "Recreate"}


def test_probes_run_an_inference(render: Render) -> None:
    health = {"deadlineMilliseconds": 1500, "startupSeconds": 60}
    one = container(render(BASE | {"healthcheck": health}))
    probes = {name: one[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    get = {"path": "/health/inference", "port": "http"}
    assert all(probe["httpGet"] == get for probe in probes.values())
    # The pod answers within its deadline, so the kubelet has the reason and no timeout.
    assert all(probe["timeoutSeconds"] == 3 for probe in probes.values())
    startup = probes["startup"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 60
    liveness = probes["liveness"]
    assert (liveness["initialDelaySeconds"], liveness["periodSeconds"]) == (30, 10)
    assert liveness["failureThreshold"] == 3
    assert one["ports"] == [{"name": "http", "containerPort": 8080}]
    one = container(render(BASE | {"healthcheck": {"inferenceTest": False}}))
    assert one["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_the_pod_may_do_nothing_but_its_work(render: Render) -> None:
    spec = of_kind(render(BASE), "Deployment")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "4Gi"
    kinds = {kind for one in spec["volumes"] for kind in one} - {"name"}
    assert kinds == {"configMap"}, "nothing of the node, no secret, nothing to write to"


def test_what_the_pod_is_told(render: Render) -> None:
    one = container(render(BASE))
    assert one["command"] == ["runtime", "serve"]
    assert {each["name"]: each["value"] for each in one["env"]} == {
        "MODEL_PATH": "/models/engine.blob",
        "MODEL_VERSION_EXPECTED": "1.0",
        "PORT": "8080",
        "HEALTH_DEADLINE_MS": "1000",
    }


def test_keys_come_from_a_config_map_that_no_release_writes(render: Render) -> None:
    objects = render(BASE | {"trust": {"keys": "our-keys"}})
    spec = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    assert {"name": "keys", "configMap": {"name": "our-keys"}} in spec["volumes"]
    assert of_kind(objects, "ConfigMap")["metadata"]["name"] == "m-x86-fleet"
    site = {"name": "site", "configMap": {"name": "jetrail-site", "optional": True}}
    assert site in spec["volumes"], "of `release add-site`"


def test_the_node_s_device_file_comes_from_a_config_map_of_the_cluster(render: Render) -> None:
    objects = render(BASE | {"device": {"configMap": "jetrail-device"}})
    spec = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    assert {"name": "device", "configMap": {"name": "jetrail-device"}} in spec["volumes"]
    (one,) = spec["containers"]
    mount = {"name": "device", "mountPath": "/etc/jetrail/device", "readOnly": True}
    assert mount in one["volumeMounts"]
    assert {"name": NODE_FILE, "value": f"{mount['mountPath']}/device.json"} in one["env"]


def test_cameras_and_alerts_are_one_file(render: Render, tmp_path: Path) -> None:
    site = {"cameras": ["rtsp://10.0.1.100/stream1"], "alerts": {"confidenceThreshold": 0.55}}
    before = render(BASE)
    objects = render(BASE | site)
    path = tmp_path / "found.yaml"
    path.write_text(of_kind(objects, "ConfigMap")["data"]["values.yaml"])
    assert load_yaml(path) == site
    hashes = {
        of_kind(one, "Deployment")["spec"]["template"]["metadata"]["annotations"]["jetrail/values"]
        for one in (before, objects)
    }
    assert len(hashes) == 2, "changed values start a new pod"


def test_an_engine_on_no_base_is_mounted_as_an_image(render: Render) -> None:
    runtime = f"registry.example.com/runtime@{DIGEST}"
    spec = of_kind(render(BASE | {"runtime": {"image": runtime}}), "Deployment")
    spec = spec["spec"]["template"]["spec"]
    (one,) = spec["containers"]
    assert one["image"] == runtime
    mount = {"name": "models", "mountPath": "/models", "subPath": "models", "readOnly": True}
    assert mount in one["volumeMounts"]
    (volume,) = (each for each in spec["volumes"] if each["name"] == "models")
    assert volume["image"]["reference"] == f"registry.example.com/m:{TAG}"


def test_the_network_is_closed_but_for_who_asks(render: Render) -> None:
    spec = of_kind(render(BASE), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    (rule,) = spec["ingress"]
    assert rule == {"ports": [{"port": "http", "protocol": "TCP"}], "from": [{"podSelector": {}}]}
    monitoring = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    objects = render(BASE | {"networkPolicy": {"from": [monitoring]}})
    assert of_kind(objects, "NetworkPolicy")["spec"]["ingress"][0]["from"] == [monitoring]
    objects = render(BASE | {"networkPolicy": {"enabled": False}})
    assert "NetworkPolicy" not in {one["kind"] for one in objects}


def test_prometheus_is_told_of_the_pod(render: Render) -> None:
    objects = render(BASE | {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}})
    monitor = of_kind(objects, "PodMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": "http", "path": "/metrics", "interval": "30s"}
    labels = of_kind(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()


# --- what it refuses -----------------------------------------------------------------------------


def tagged(tag: str) -> ReleaseValues:
    return RELEASE.model_copy(update={"image": ImageValues(tag=tag)})


@pytest.mark.parametrize(
    "tag", ["v1.0-x86", "latest", f"@{DIGEST}", f"v1@{DIGEST[:-1]}", f"v1@sha512:{'a' * 64}"]
)
def test_a_tag_without_a_digest_is_refused(template: Any, tag: str) -> None:
    done = template(BASE, tagged(tag))
    assert done.returncode != 0
    assert "/image/tag" in done.stderr


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"image": {"repository": ""}}, "/image/repository"),
        ({"image": {"repository": "r.example.com/m:tag"}}, "/image/repository"),
        (BASE | {"runtime": {"image": "r.example.com/runtime:latest"}}, "/runtime/image"),
        (BASE | {"strategy": "Surge"}, "/strategy"),
        (BASE | {"alerts": {"confidenceThreshold": 45}}, "/alerts/confidenceThreshold"),
        (BASE | {"alerts": {"confidenceTreshold": 0.45}}, "confidenceTreshold"),
        (BASE | {"resources": {"limits": {"memory": None}}}, "/resources/limits"),
        (BASE | {"resources": {"limits": {"memory": "4GB"}}}, "/resources/limits"),
        (BASE | {"healthcheck": {"inferenceTests": True}}, "inferenceTests"),
        (BASE | {"imagee": {}}, "imagee"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    template: Any, values: dict[str, Any], where: str
) -> None:
    done = template(values)
    assert done.returncode != 0
    assert where in done.stderr
