"""A site without a network: a clone that makes its bundle, and a K3s node as far as install.sh
looks at one. The node's `k3s` is a stand-in that prints a version and lists images.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from factories.images import add_image, layer_files, make_layout
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from release.cli import commands
from release.rollout.release_yaml import dump, release_file, values_of
from tests.unit.release.publications import PUBLICATION, TARGET, record

ROOT = Path(__file__).parents[2]
TOP = "jetrail-dock-7"
K3S = "v1.34.3+k3s1"
FLEET = """\
defaultNamespace: inference
helm:
  releaseName: meter-x86
  chart: oci://registry.example.com/charts/inference
  version: 0.1.1
  valuesFiles: [release.yaml]
  values: {image: {repository: registry.example.com/meter}, port: 8080}
overrideTargets:
  - name: canary
    clusterSelector: {matchLabels: {device: x86-openvino, ring: canary}}
targetCustomizations:
  - name: dock
    clusterSelector: {matchLabels: {site: dock-7}}
    helm: {values: {port: 8081}}
"""


def run(*arguments: str) -> Result:
    """`release` with these arguments."""
    return CliRunner().invoke(commands, list(arguments))


def lay_out_site(workspace: Workspace, engine: bytes = b"an engine") -> str:
    """Site dock-7, whose ring has a release that is packed here; gives its digest."""
    for folder in ("charts", "templates"):
        shutil.copytree(
            ROOT / "release" / folder, workspace.root / "release" / folder, dirs_exist_ok=True
        )
    shutil.copyfile(ROOT / "release/fleet/gitrepo.yaml", workspace.fleet / "gitrepo.yaml")
    record(workspace, PUBLICATION)
    digest = pack(workspace, engine)
    release_file(workspace, "meter", TARGET, "canary").with_name("fleet.yaml").write_text(FLEET)
    assert run("add-site", "dock-7", "--target", TARGET, "--ring", "canary").exit_code == 0
    assert run("keygen", "plant").exit_code == 0
    return digest


def pack(workspace: Workspace, engine: bytes) -> str:
    """An image of the release with this engine, which the ring gets."""
    layout = make_layout(workspace.images)
    files = layer_files(workspace.root.parent / "layer-files", {"engine.blob": engine})
    digest = add_image(layout, files, name=PUBLICATION.release).digest
    ring = release_file(workspace, "meter", TARGET, "canary")
    ring.write_text(dump(values_of(PUBLICATION, digest)))
    return digest


def unpack(bundle: Path, folder: Path) -> Path:
    """As at the site."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xf", str(bundle), "-C", str(folder)], check=True)
    return folder / TOP


NO_NETWORK = ("unshare", "--net", "--map-root-user")


@cache
def no_network() -> tuple[str, ...]:
    """Puts a command where there is no network; nothing on machines that do not let anybody."""
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False)
    return NO_NETWORK if tried.returncode == 0 else ()


@dataclass(kw_only=True)
class Node:
    """A K3s node: its file system, the keys that the site trusts, and programs."""

    folder: Path
    public_key: str
    shell: Sequence[str] = ("sh",)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl, which the script checks signatures with: install openssl")
        for one in (self.keys, self.bin, self.images.parent):
            one.mkdir(parents=True)
        (self.keys / "ours.pem").write_text(self.public_key)
        self.k3s(K3S)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def bin(self) -> Path:
        """Programs that are found before the machine's."""
        return self.folder / "bin"

    @property
    def images(self) -> Path:
        return self.root / "var/lib/rancher/k3s/agent/images"

    @property
    def manifests(self) -> Path:
        return self.root / "var/lib/rancher/k3s/server/manifests"

    @property
    def archives(self) -> list[str]:
        """Names of Jetrail's image archives."""
        return sorted(path.name for path in self.images.glob("jetrail-*.tar"))

    def k3s(self, version: str, *images: str) -> None:
        """A stand-in for K3s: of that version, with those images."""
        listed = "".join(f"echo '{one}'; " for one in images)
        said = f"echo 'k3s version {version} (0123abcd)'"
        self.program("k3s", f"case $1 in --version) {said} ;; ctr) {listed}: ;; esac")

    def program(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def install(self, top: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a bundle's script where no network is."""
        options = ["--root", str(self.root), "--keys", str(self.keys), *arguments]
        return subprocess.run(
            [*no_network(), *self.shell, str(top / "install.sh"), *options],
            env={"PATH": f"{self.bin}:{os.environ['PATH']}", **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
