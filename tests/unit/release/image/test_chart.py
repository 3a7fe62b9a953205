"""The chart's version, which fleet.yaml pins and under which registries keep it for ever."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from engines.config.yaml import load_yaml
from release.image.chart import CONTENT as CHART_LAYER
from release.image.chart import RENDERED, push_chart
from release.image.distribution import Client

ROOT = Path(__file__).parents[4]
CHART = ROOT / "release" / "charts" / "inference"

VERSION = "0.1.1"
CONTENT = "614fa71b6dd6534b7b1a02b4873673c5bcec9fbe4c44def3631222e8b0575703"
"""SHA-256 of what the chart renders with. Where it changed: raise the version in Chart.yaml, in
release/templates/fleet.yaml and in each fleet.yaml that shall have it, and write both here."""


def test_a_chart_that_changes_gets_another_version() -> None:
    content = hashlib.sha256()
    for path in sorted(one for one in CHART.rglob("*") if one.is_file()):
        if RENDERED.fullmatch(name := path.relative_to(CHART).as_posix()):
            content.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    assert (load_yaml(CHART / "Chart.yaml")["version"], content.hexdigest()) == (VERSION, CONTENT)


def test_every_new_ring_pins_it() -> None:
    """Those that are there get it one after the other, from the canary on; `release lint` says
    which have another."""
    assert load_yaml(ROOT / "release/templates/fleet.yaml")["helm"]["version"] == VERSION


def test_a_signed_chart_and_hidden_files_are_no_other_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Helm sorts a chart and its signature by digest, and packs no hidden file of templates/."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("name: inference\nversion: 0.1.1\n")
    (tmp_path / "templates" / "fleet.yaml").write_text("{}\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(tmp_path, "inference")
    (tmp_path / "templates" / ".DS_Store").write_bytes(b"\0")
    signature = "application/vnd.cncf.helm.chart.provenance.v1.prov"
    layers = [{"mediaType": kind, "digest": kind} for kind in (signature, CHART_LAYER)]
    blobs = {signature: b"-----BEGIN", CHART_LAYER: packed.getvalue()}
    monkeypatch.setattr(Client, "manifest", lambda *_: json.dumps({"layers": layers}).encode())
    monkeypatch.setattr(Client, "blob", lambda _, digest: blobs[digest])
    said: list[str] = []
    push_chart(tmp_path, "registry.example.com", None, said.append)
    assert said == ["registry.example.com/charts/inference:0.1.1 is there already"]
