"""Pods of a test: what the chart renders, by helm, run by podman."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factories import served
from factories.cluster_tools import cluster_tool
from factories.containers import Podman
from factories.signed import Signer
from standins.registry import free_port

CHART = Path(__file__).parents[2] / "release" / "charts" / "inference"
PATIENCE_S = 120
"""On a machine that others use too."""


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

    @property
    def healthy(self) -> bool:
        """As the pod's probes ask."""
        return (self.get("/health/inference") or (0,))[0] == 200

    def said(self) -> str:
        done = self.tools.run("podman", "logs", self.container, check=False)
        return done.stdout + done.stderr

    def inspect(self, template: str) -> Any:
        done = self.tools.run("podman", "inspect", "--format", template, self.container)
        return json.loads(done.stdout)

    def play(self) -> None:
        """Start it; an image that is not here is pulled, from this machine without TLS."""
        self.tools.run("podman", "kube", "play", "--quiet", "--tls-verify=false", self.objects)

    def remove(self) -> None:
        words = ("podman", "pod", "rm", "--force", "--time", "0", f"{self.name}-pod-0")
        self.tools.run(*words, check=False)

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


@dataclass(kw_only=True)
class Pods:
    """All pods of a test. They trust one key, which people brought to the cluster."""

    tools: Podman
    runtime: str
    """The image below the engines, by its name in podman's storage."""
    signer: Signer
    folder: Path
    running: list[Played] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    @staticmethod
    def repository(name: str) -> str:
        """Of images with that name, of this run of the tests only."""
        return f"localhost/jetrail-test-{name}-{os.getpid()}"

    def image(self, name: str, models: Path, tag: str = served.RELEASE) -> str:
        """An image with these files under /models; gives `repository:tag@digest`."""
        full = f"{self.repository(name)}:{tag}"
        made = self.tools.image(full, self.runtime, models, "/models")
        self.images.append(full)
        return made

    def play(self, name: str, image: str, **model: str) -> Played:
        """Roll out an image, with these values of `model`."""
        repository, _, tag = image.partition(":")
        name, port = f"{name}-{os.getpid()}", free_port()
        values = {
            "image": {"repository": repository, "tag": tag},
            "model": {"path": "/models/engine.blob", "version": served.VERSION} | model,
            "port": port,
            "healthcheck": {"deadlineMilliseconds": 20_000},
            "resources": {"limits": {"memory": "1Gi"}},
        }
        file = self.folder / f"{name}.yaml"
        one = Played(tools=self.tools, name=name, port=port, objects=file)
        keys = served.write_keys(self.folder / "keys", self.signer)
        render(CHART, one, keys, "-f", write_values(self.folder / f"{name}-values.json", values))
        self.running.append(one)
        one.play()
        return one

    def __call__(self, name: str, models: Path, **model: str) -> Played:
        """Roll out an image of its own with these files under /models."""
        return self.play(name, self.image(name, models), **model)

    def remove(self) -> None:
        """Pods and images."""
        pods = [f"{one.name}-pod-0" for one in self.running]
        if pods:
            self.tools.run("podman", "pod", "rm", "--force", "--time", "0", *pods, check=False)
        if self.images:
            self.tools.run("podman", "rmi", "--force", *self.images, check=False)


def render(chart: str | Path, one: Played, keys: Path, *more: str | Path) -> None:
    """Write what the real helm renders of a chart, as far as podman knows it, and the ConfigMap
    with the trusted keys, which people make on a cluster. `more` goes to helm, values among it."""
    helm = (cluster_tool("helm"), "template", one.name, chart)
    done = subprocess.run([*helm, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parts = [part for part in done.stdout.split("\n---\n") if "kind: NetworkPolicy" not in part]
    content = {one.name: one.read_text() for one in keys.glob("*.json")}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "jetrail-keys"}}
    one.objects.write_text("\n---\n".join([*parts, json.dumps(config | {"data": content})]))


def write_values(path: Path, values: Mapping[str, Any]) -> Path:
    """A file for helm's `-f`."""
    path.write_text(json.dumps(values))
    return path
