"""The chart's version, which fleet.yaml pins and under which registries keep it for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engines.config.yaml import load_yaml
from release.image.chart import RENDERED

ROOT = Path(__file__).parents[4]
CHART = ROOT / "release" / "charts" / "inference"

VERSION = "0.1.1"
CONTENT = "614fa71b6dd6534b7b1a02b4873673c5bcec9fbe4c44def3631222e8b0575703"
"""SHA-256 of what the chart renders with. Where it changed: raise the version in Chart.yaml, in
release/templates/fleet.yaml and in every fleet.yaml, and write both here."""


def test_a_chart_that_changes_gets_another_version() -> None:
    content = hashlib.sha256()
    for path in sorted(one for one in CHART.rglob("*") if one.is_file()):
        if RENDERED.fullmatch(name := path.relative_to(CHART).as_posix()):
            content.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    assert (load_yaml(CHART / "Chart.yaml")["version"], content.hexdigest()) == (VERSION, CONTENT)


def test_every_ring_pins_it() -> None:
    files = [
        *(ROOT / "release" / "fleet").rglob("fleet.yaml"),
        ROOT / "release/templates/fleet.yaml",
    ]
    assert {load_yaml(path)["helm"]["version"] for path in files} == {VERSION}
