"""What the chart renders, run by podman: a good release serves, a bad one replaces nothing."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from factories import served
from factories.cluster_tools import cluster_tool
from factories.containers import Podman
from factories.paper import edit
from factories.signed import Signer

from engines.records.manifest import Manifest

pytestmark = pytest.mark.integration

CHART = Path(__file__).parents[2] / "release" / "charts" / "inference"
PATIENCE_S = 120
"""On a machine that others use too."""
TAG = served.RELEASE


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer("ours")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    folder = tmp_path_factory.mktemp("pod") / "models"
    served.build(folder)
    return served.judge_and_sign(folder, signer)


@dataclass(frozen=True, kw_only=True)
class Played:
    """A pod that runs, or tries to."""

    tools: Podman
    name: str
    port: int
    objects: Path

    @property
    def container(self) -> str:
        return f"{self.name}-pod-0-inference"

    def get(self, path: str) -> tuple[int, str] | None:
        """Status and body; None where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def said(self) -> str:
        done = self.tools.run("podman", "logs", self.container, check=False)
        return done.stdout + done.stderr

    def inspect(self, template: str) -> Any:
        done = self.tools.run("podman", "inspect", "--format", template, self.container)
        return json.loads(done.stdout)

    def wait_until_healthy(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while (answer := self.get("/health/inference")) is None or answer[0] != 200:
            assert time.monotonic() < end, f"{answer}\n{self.said()}"
            time.sleep(0.05)

    def wait_until_it_said(self, words: str) -> None:
        """And never answered meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while words not in self.said():
            assert self.get("/health/inference") is None
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)


Play = Callable[..., Played]


@pytest.fixture
def play(tools: Podman, signer: Signer, runtime_image: str, tmp_path: Path) -> Iterator[Play]:
    """Roll out an image with these files under /models: rendered by helm, run by podman."""
    running: list[Played] = []
    images: list[str] = []
    helm = cluster_tool("helm")
    keys = served.write_keys(tmp_path / "keys", signer)

    def call(name: str, folder: Path, **model: str) -> Played:
        repository = f"localhost/jetrail-test-{name}"
        image = tools.image(f"{repository}:{TAG}", runtime_image, folder, "/models")
        images.append(f"{repository}:{TAG}")
        values = {
            "image": {"repository": repository, "tag": image.removeprefix(f"{repository}:")},
            "model": {"path": "/models/engine.blob", "version": served.VERSION} | model,
            "port": _free_port(),
            "healthcheck": {"deadlineMilliseconds": 20_000},
            "resources": {"limits": {"memory": "1Gi"}},
        }
        one = Played(tools=tools, name=name, port=values["port"], objects=tmp_path / f"{name}.yaml")
        one.objects.write_text(_manifests(helm, name, values, keys, tmp_path))
        running.append(one)
        tools.run("podman", "kube", "play", one.objects)
        return one

    yield call
    for one in running:
        tools.run("podman", "pod", "rm", "--force", "--time", "1", f"{one.name}-pod-0", check=False)
    for image in images:
        tools.run("podman", "rmi", "--force", image, check=False)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _manifests(helm: Path, name: str, values: Any, keys: Path, folder: Path) -> str:
    """What helm renders, as far as podman knows it, and the ConfigMap that people make."""
    path = folder / f"{name}-values.json"
    path.write_text(json.dumps(values))
    done = subprocess.run(
        [helm, "template", name, CHART, "-f", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    parts = [part for part in done.stdout.split("\n---\n") if "kind: NetworkPolicy" not in part]
    content = {one.name: one.read_text() for one in keys.iterdir()}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "jetrail-keys"}}
    return "\n---\n".join([*parts, json.dumps(config | {"data": content})])


def _copy(models: Path, to: Path) -> Path:
    return Path(shutil.copytree(models, to))


def test_what_the_chart_renders_serves(play: Play, models: Path) -> None:
    pod = play("good", models)
    pod.wait_until_healthy()
    status, body = pod.get("/health/inference") or (0, "")
    assert (status, json.loads(body)["objects"]) == (200, 1)
    _, metrics = pod.get("/metrics") or (0, "")
    assert f'model_version{{release="{TAG}",version="1.0"}} 1.0' in metrics
    assert pod.inspect("{{json .HostConfig.ReadonlyRootfs}}") is True
    assert pod.inspect("{{json .Config.User}}") == "1000:1000"
    assert pod.inspect("{{json .HostConfig.Memory}}") == 1 << 30
    assert pod.inspect("{{json .EffectiveCaps}}") in (None, [])
    assert "WARNING" not in pod.said()
    assert pod.said().count("\n") == 1


def _altered(folder: Path, signer: Signer) -> None:
    path = folder / "engine.blob"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _of_another_device(folder: Path, signer: Signer) -> None:
    edit(folder / Manifest.file, lambda one: one["device"].update(isa=["sve2"]))
    served.judge_and_sign(folder, signer)


def _with_other_boxes(folder: Path, signer: Signer) -> None:
    golden = (folder / "golden.npz").read_bytes()
    shutil.rmtree(folder)
    served.build(folder, box=(2.0, 7.0, 22.0, 37.0))
    (folder / "golden.npz").write_bytes(golden)
    served.judge_and_sign(folder, signer)


def _by_another_key(folder: Path, signer: Signer) -> None:
    served.sign(folder, Signer("theirs"))


BAD: dict[str, tuple[Callable[[Path, Signer], None], str]] = {
    "altered": (_altered, "engine.blob was altered"),
    "otherdevice": (_of_another_device, "it was built for another device"),
    "otherboxes": (_with_other_boxes, "3 of them are missing and 3 others are there"),
    "otherkey": (_by_another_key, "which is none of the trusted keys"),
}


def test_a_bad_release_replaces_nothing(
    play: Play, models: Path, signer: Signer, tmp_path: Path
) -> None:
    """The old pod serves beside each new one that never gets ready, and until a good one is."""
    old = play("old", models)
    old.wait_until_healthy()
    for name, (spoil, said) in BAD.items():
        folder = _copy(models, tmp_path / name)
        spoil(folder, signer)
        new = play(name, folder)
        new.wait_until_it_said(said)
        assert new.get("/health/live") is None, name
        assert (old.get("/health/inference") or (0,))[0] == 200, name
    wrong = play("wrongversion", models, version="2.1")
    wrong.wait_until_it_said("Expected the model version 2.1, got 1.0")
    good = play("new", models)
    good.wait_until_healthy()
    assert (old.get("/health/inference") or (0,))[0] == 200
