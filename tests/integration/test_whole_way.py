"""From `dvc repro` to a pod: one real engine, on the real base, through a real registry, in a real
container by its digest, as the chart renders it from the files that Fleet reads.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories.bases import RealBase, use_base
from factories.cluster_tools import cluster_tool
from factories.containers import Podman
from factories.pods import CHART, Played, render, write_values
from standins.registry import Registry, free_port, running_registry

from engines.config.yaml import load_yaml
from engines.detect.golden import read_golden
from release.image.bases import write_digest
from release.image.foreign import take_over
from release.image.layout import Layout
from release.packed import ImageRecord, read_image
from release.records import Candidates, Publication, candidates_path, read_publication
from release.rollout.release_yaml import read_values
from tests.integration.conftest import CANARY, MODEL, ROOT, TARGET, Clone

pytestmark = pytest.mark.integration

FLEET_YAML = f"release/fleet/{MODEL}/{TARGET}/canary/fleet.yaml"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with running_registry(tmp_path / "registry") as one:
        yield one


@pytest.fixture
def manager(
    finished: Clone, x86_base: RealBase, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> Clone:
    """A clone with published engines, whose target stands on the base and whose clusters pull from
    the registry."""
    shutil.copytree(CHART, finished.root / CHART.relative_to(ROOT))
    layout = Layout(finished.workspace.images)
    take_over(x86_base.layout, "base-x86", layout, "base-x86")
    write_digest(finished.workspace, "x86", x86_base.image.digest)
    use_base(finished.workspace, TARGET, "x86")
    with finished.edited(FLEET_YAML) as fleet:
        fleet["helm"]["values"]["image"]["repository"] = f"{registry.host}/jetrail/{MODEL}"
        fleet["helm"]["values"]["resources"]["limits"]["memory"] = "1Gi"
        fleet["helm"]["chart"] = f"oci://{registry.host}/jetrail/charts/inference"
    programs = finished.root.parent / "programs"
    programs.mkdir()
    (programs / "helm").symlink_to(cluster_tool("helm"))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return finished


def release_of(clone: Clone) -> Publication:
    chosen = Candidates.read(candidates_path(clone.workspace, TARGET)).candidates[MODEL]
    return read_publication(clone.workspace, chosen.release)


def signed_packed_pushed(clone: Clone, release: str) -> ImageRecord:
    """As a release manager types it; gives image.json."""
    clone.run("release", "keygen", "plant")
    assert f"{release}: signed by plant" in clone.run("release", "sign", release)
    assert f"{release}@sha256:" in clone.run("release", "pack", release)
    pushed = clone.run("release", "push", release)
    assert "the image is signed by plant" in pushed
    assert "/charts/inference:" in pushed
    image = read_image(clone.workspace, release)
    assert image is not None
    return image


@pytest.fixture
def played(tools: Podman, tmp_path: Path) -> Iterator[Played]:
    one = Played(
        tools=tools, name=f"whole-{os.getpid()}", port=free_port(), objects=tmp_path / "whole.yaml"
    )
    yield one
    one.remove()


def test_from_the_engine_to_the_pod(
    manager: Clone, x86_base: RealBase, tools: Podman, played: Played, tmp_path: Path
) -> None:
    publication = release_of(manager)
    release = publication.release
    image = signed_packed_pushed(manager, release)
    assert image.base is not None
    assert image.base.digest == x86_base.image.digest
    (repository,) = image.repositories
    reference = f"{repository}@{image.digest}"
    verified = manager.run("release", "verify", reference)
    assert f"{release}: verified" in verified
    assert "registry plant signed the image there" in verified

    manager.run("release", "write")
    values = read_values(manager.root / CANARY)
    assert values is not None
    assert values.image.tag == f"{release}@{image.digest}"
    helm_block = load_yaml(manager.root / FLEET_YAML)["helm"]
    slow = {"healthcheck": {"deadlineMilliseconds": 20_000}}  # others use this machine too
    files = (
        write_values(tmp_path / "fleet.json", helm_block["values"]),
        manager.root / CANARY,
        write_values(tmp_path / "slow.json", slow),
    )
    chart = ("--version", helm_block["version"], "--plain-http")
    render(
        helm_block["chart"],
        played,
        manager.workspace.trusted_keys,
        *(word for one in files for word in ("-f", one)),
        *chart,
        *("--set", f"port={played.port}"),
    )
    # Nothing but the registry is where the image is from.
    assert tools.run("podman", "image", "exists", reference, check=False).returncode == 1
    try:
        played.play()
        check_it_serves(played, manager, publication, image)
    finally:
        played.remove()
        tools.run("podman", "rmi", "--force", reference)
    status = manager.run("release", "status")
    for said in (f"packed     {image.digest}", f"pushed to  {repository}", "signed     by plant"):
        assert said in status


def check_it_serves(
    pod: Played, clone: Clone, publication: Publication, image: ImageRecord
) -> None:
    """With this very image, the golden boxes found, and what the chart allows a pod."""
    pod.wait_until_healthy()
    golden = read_golden(clone.workspace.engine(TARGET, publication.engine).golden)
    wanted = [len(found) for found in golden.found if len(found)]
    answers = [pod.get("/health/inference") or (0, "") for _ in wanted]
    assert [status for status, _ in answers] == [200] * len(wanted), answers
    assert sorted(json.loads(body)["objects"] for _, body in answers) == sorted(wanted)
    assert pod.inspect("{{json .ImageDigest}}") == image.digest
    _, metrics = pod.get("/metrics") or (0, "")
    version = publication.model_version
    mine = f'model_version{{release="{publication.release}",version="{version}"}} 1.0'
    assert mine in metrics
    assert f'model_version_expected{{version="{version}"}} 1.0' in metrics
    assert 'inference_errors_total{cause="other boxes"} 0.0' in metrics
    assert pod.inspect("{{json .HostConfig.ReadonlyRootfs}}") is True
    assert pod.inspect("{{json .Config.User}}") == "1000:1000"
    assert pod.inspect("{{json .HostConfig.Memory}}") == 1 << 30
    assert pod.inspect("{{json .EffectiveCaps}}") in (None, [])
    assert "WARNING" not in pod.said()
    assert pod.said().count("\n") == 1
