"""The file for a site without a network: what is in it, and what is refused."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.airgapped import FLEET, TOP, pack, run, unpack
from factories.images import add_image, layer_files

from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from release.airgap import archive
from release.image.layout import Layout
from release.packed import Base, ImageRecord, image_path
from release.records import Quarantine, quarantine_path
from release.rollout.release_yaml import dump, release_file, values_of
from release.sites.folder import site_folder
from tests.unit.release.publications import PUBLICATION, TARGET


def facts(top: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (top / "FACTS").read_text().splitlines())


def test_what_is_in_it(site: Workspace, bundle: Path, tmp_path: Path) -> None:
    top = unpack(bundle, tmp_path / "out")
    digest = Layout(site.images).image(PUBLICATION.release).digest
    archive = f"images/jetrail-{PUBLICATION.release}-{digest[7:19]}.tar"
    names = sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())
    assert names == [
        *("FACTS", "SHA256SUMS", "SHA256SUMS.sig", "chart/inference-0.1.1.tgz"),
        *(archive, "install.sh", "keys/plant.pem"),
        *("manifests/jetrail-site.yaml", "manifests/meter-x86.yaml"),
        *(f"records/{PUBLICATION.release}/publication.json", "values/meter-x86.yaml"),
    ]
    helm = load_yaml(top / "manifests" / "meter-x86.yaml")
    assert (helm["kind"], helm["spec"]["targetNamespace"]) == ("HelmChart", "inference")
    # As Fleet would merge them for this cluster, its own values among them.
    assert "port: 8081" in helm["spec"]["valuesContent"]
    assert f"tag: {PUBLICATION.release}@sha256:" in helm["spec"]["valuesContent"]
    chart = gzip.decompress(base64.b64decode(helm["spec"]["chartContent"]))
    with tarfile.open(fileobj=io.BytesIO(chart)) as packed:
        assert "inference/Chart.yaml" in packed.getnames()
    assert (top / "values/meter-x86.yaml").read_text() == helm["spec"]["valuesContent"]
    assert facts(top)["VOLUMES"] == "no"
    with tarfile.open(top / archive) as image_archive:
        file = image_archive.extractfile("index.json")
        assert file is not None
        (image,) = json.load(file)["manifests"]
    assert image["annotations"]["io.containerd.image.name"] == (
        f"registry.example.com/meter:{PUBLICATION.release}"
    )


def test_pods_are_in_the_namespace_of_their_ring(site: Workspace, tmp_path: Path) -> None:
    ring = site.fleet / "meter" / TARGET / "canary" / "fleet.yaml"
    ring.write_text(ring.read_text().replace("defaultNamespace: inference", "namespace: plant"))
    # They would start without the site's cameras, which is seen at the site first.
    refused = run("bundle", "--site", "dock-7", "--out", str(tmp_path / "a.tar"))
    assert refused.exit_code == 2
    assert "in the namespace plant, where the pods of v1.0" in refused.output
    config = site.fleet / "sites" / "dock-7" / "configmap.yaml"
    config.write_text(config.read_text().replace("namespace: inference", "namespace: plant"))
    assert run("bundle", "--site", "dock-7", "--out", str(tmp_path / "a.tar")).exit_code == 0
    top = unpack(tmp_path / "a.tar", tmp_path)
    helm = load_yaml(top / "manifests/meter-x86.yaml")
    assert helm["spec"]["targetNamespace"] == "plant"


def test_a_file_that_becomes_shorter_while_it_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    longer = os.stat_result([0] * 6 + [4] + [0] * 3)
    monkeypatch.setattr(Path, "stat", lambda _, **__: longer)
    with pytest.raises(InputError, match="it ended before its 4 bytes"):
        archive.write_archive(tmp_path / "a.tar", "", {"x": tmp_path / "x"})


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "Chart.yaml, but it is not there"), ("", "Expected `name` and `version` in")],
)
def test_a_clone_without_a_whole_chart(
    site: Workspace, tmp_path: Path, content: str | None, said: str
) -> None:
    chart = site.root / "release/charts/inference/Chart.yaml"
    chart.unlink()
    if content is not None:
        chart.write_text(content)
    done = run("bundle", "--site", "dock-7", "--out", str(tmp_path / "a.tar"))
    assert (done.exit_code, (tmp_path / "a.tar").exists()) == (2, False)
    assert said in done.output


def test_a_chart_that_the_ring_does_not_pin_is_not_packed(site: Workspace, tmp_path: Path) -> None:
    """Sites with a network run the pinned one, from the registry."""
    ring = site.fleet / "meter" / TARGET / "canary" / "fleet.yaml"
    ring.write_text(ring.read_text().replace("version: 0.1.1", "version: 0.1.0"))
    done = run("bundle", "--site", "dock-7", "--out", str(tmp_path / "a.tar"))
    assert (done.exit_code, (tmp_path / "a.tar").exists()) == (2, False)
    assert "Expected the chart 0.1.0 that the fleet.yaml of v1.0" in done.output
    assert "inference is 0.1.1" in done.output


def _with_runtime(site: Workspace, digest: str) -> str:
    """Let the ring's pods run on this image, into which the engine's is mounted."""
    reference = f"registry.example.com/base-x86@{digest}"
    fleet = release_file(site, "meter", TARGET, "canary").with_name("fleet.yaml")
    values = f"{{runtime: {{image: '{reference}'}}, image:"
    fleet.write_text(FLEET.replace("{image:", values))
    return reference


def test_a_runtime_image_comes_along(site: Workspace, tmp_path: Path) -> None:
    files = layer_files(tmp_path / "base", {"python": b"a runtime"})
    digest = add_image(Layout(site.images), files, name="base-x86").digest
    _with_runtime(site, digest)
    assert run("bundle", "--site", "dock-7").exit_code == 0
    top = unpack(site.root / "jetrail-dock-7.tar", tmp_path / "out")
    with tarfile.open(top / f"images/jetrail-runtime-{digest[7:19]}-{digest[7:19]}.tar") as archive:
        file = archive.extractfile("index.json")
        assert file is not None
        (image,) = json.load(file)["manifests"]
    # K3s makes `base-x86@sha256:…` of it, by which the chart asks.
    name = f"registry.example.com/base-x86:runtime-{digest[7:19]}"
    assert image["annotations"]["io.containerd.image.name"] == name
    assert image["digest"] == digest
    assert (facts(top)["RUNTIME"], facts(top)["VOLUMES"]) == ("", "yes")


def test_a_runtime_image_that_is_not_here(site: Workspace, tmp_path: Path) -> None:
    """The script asks K3s for it."""
    reference = _with_runtime(site, f"sha256:{'5' * 64}")
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 0
    assert f"{reference}: not in release/images" in result.stdout
    top = unpack(site.root / "jetrail-dock-7.tar", tmp_path / "out")
    assert facts(top)["RUNTIME"] == reference


def test_a_site_in_a_ring_that_has_another_name_by_now(site: Workspace) -> None:
    """Promoting to it, which was advised, is refused."""
    config = site_folder(site, "dock-7") / "configmap.yaml"
    config.write_text(config.read_text().replace("ring: canary", "ring: beta"))
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 2
    assert "Expected one of the rings canary, " in result.stderr
    assert "got 'beta'" in result.stderr


def test_what_whoever_carries_it_should_know(site: Workspace) -> None:
    """A stick is out of reach of a rollback, and a site that starts no pod tells nobody."""
    said = run("bundle", "--site", "dock-7").stdout
    assert "quarantined" not in said
    assert "starts at the site" not in said
    quarantine_path(site, PUBLICATION.release).write_text(
        Quarantine(
            release=PUBLICATION.release, why="no boxes", by="Ada", at="2026-01-01T00:00:00Z"
        ).model_dump_json(by_alias=True)
    )
    digest = Layout(site.images).image(PUBLICATION.release).digest
    image = ImageRecord(
        release=PUBLICATION.release,
        digest=digest,
        manifest_bytes=1,
        platform="linux/amd64",
        base=None,
        layers=(),
        files={},
    )
    image.write(image_path(site, PUBLICATION.release))
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 0, result.output
    assert (
        f"{PUBLICATION.release}: quarantined by Ada (no boxes), and here because" in result.stdout
    )
    assert f"{PUBLICATION.release}: it stands on no base, and `runtime.image`" in result.stdout
    # On a base it brings the runtime with it.
    base = Base(name="runtime", digest=f"sha256:{'e' * 64}")
    image.model_copy(update={"base": base}).write(image_path(site, PUBLICATION.release))
    assert "stands on no base" not in run("bundle", "--site", "dock-7").stdout
    _with_runtime(site, f"sha256:{'5' * 64}")
    assert "starts at the site" not in run("bundle", "--site", "dock-7").stdout


def test_a_release_packed_again_has_another_archive(site: Workspace, tmp_path: Path) -> None:
    """K3s passes over a file of a known name and size."""
    names = set()
    for number, engine in enumerate((b"one", b"two")):
        pack(site, engine)
        assert run("bundle", "--site", "dock-7").exit_code == 0
        top = unpack(site.root / "jetrail-dock-7.tar", tmp_path / str(number))
        names |= {path.name for path in (top / "images").iterdir()}
    assert len(names) == 2


def test_the_same_each_time(site: Workspace, bundle: Path) -> None:
    """But for the signature, into which chance goes."""

    def sums(path: Path) -> bytes:
        with tarfile.open(path) as archive:
            file = archive.extractfile("jetrail-dock-7/SHA256SUMS")
            assert file is not None
            return file.read()

    again = run("bundle", "--site", "dock-7", "--out", "a gain.tar")
    assert "At the site: tar -xf 'a gain.tar' && sh jetrail-dock-7/install.sh" in again.output
    assert sums(site.root / "a gain.tar") == sums(bundle)


def test_verify(site: Workspace, bundle: Path) -> None:
    result = run("bundle", "--verify", str(bundle))
    assert result.exit_code == 0, result.output
    assert "whole, signed by plant" in result.stdout
    (site.trusted_keys / "plant.json").unlink()
    result = run("bundle", "--verify", str(bundle))
    assert result.exit_code == 5
    assert "No key in release/trust/keys signed" in result.stderr


def rebuilt(bundle: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The bundle with other files in it."""
    files = {}
    with tarfile.open(bundle) as archive:
        for one in archive:
            file = archive.extractfile(one)
            assert file is not None
            files[one.name] = file.read()
    change(files)
    path = bundle.with_name("changed.tar")
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "altered": (
        lambda files: files.update({f"{TOP}/install.sh": b"#!/bin/sh\nrm -rf /\n"}),
        "install.sh is not what was signed",
    ),
    "added": (lambda files: files.update({f"{TOP}/more": b""}), "more is not signed"),
    "missing": (lambda files: files.pop(f"{TOP}/FACTS"), "FACTS is missing"),
    "unsigned": (lambda files: files.pop(f"{TOP}/SHA256SUMS.sig"), "SHA256SUMS.sig is missing"),
    "escaping": (lambda files: files.update({f"{TOP}/../../x": b""}), "is no plain file"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_file_is_refused(site: Workspace, bundle: Path, name: str) -> None:
    change, said = CHANGES[name]
    result = run("bundle", "--verify", str(rebuilt(bundle, change)))
    assert result.exit_code == 5, result.output
    assert said in result.stderr


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_half_a_file_is_refused(site: Workspace, bundle: Path, size: int) -> None:
    path = bundle.with_name("half.tar")
    path.write_bytes(bundle.read_bytes()[:size])
    assert run("bundle", "--verify", str(path)).exit_code == 5


def test_bad_input(site: Workspace) -> None:
    assert run("bundle").exit_code == 2
    assert run("bundle", "--verify", "gone.tar").exit_code == 2
    assert run("bundle", "--site", "gone").exit_code == 2
    path = release_file(site, "meter", TARGET, "canary")
    path.write_text(path.read_text().partition("image:")[0] + dump(values_of(PUBLICATION)))
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 2
    assert "Expected a tag with a digest" in result.stderr
    path.write_text(dump(values_of(PUBLICATION, f"sha256:{'0' * 64}")))
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 5
    assert "Expected the image sha256:000" in result.stderr
    assert not (site.root / "jetrail-dock-7.tar").exists()


def test_a_folder_that_fleet_cannot_read(site: Workspace) -> None:
    """Nobody knows whether its release belongs to the site too, so none is left out silently."""
    file = site.ring("meter", TARGET, "pilot") / "fleet.yaml"
    file.write_text("helm: [\n")
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 2, result.output
    assert f"Fleet cannot read {site.relative(file)}, line 2" in result.stderr
