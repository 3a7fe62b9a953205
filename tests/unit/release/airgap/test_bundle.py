"""A site without a network: the file, what is refused, and the script run where no network is."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from factories.images import add_image, layer_files, make_layout
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.records.trusted_key import TrustedKey
from release.cli import commands
from release.rollout.release_yaml import dump, release_file, values_of
from release.signing.keys import trusted_keys
from tests.unit.release.publications import PUBLICATION, TARGET, record

ROOT = Path(__file__).parents[4]
FLEET = """\
defaultNamespace: inference
helm:
  releaseName: meter-x86
  chart: oci://registry.example.com/charts/inference
  version: 0.1.0
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
    return CliRunner().invoke(commands, list(arguments))


@pytest.fixture
def site(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A site whose ring has a release that is packed here, and a key that people trust."""
    monkeypatch.chdir(workspace.root)
    for name in ("JETRAIL_SIGNING_KEY", "JETRAIL_KEY_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    for folder in ("charts", "templates"):
        shutil.copytree(ROOT / "release" / folder, workspace.root / "release" / folder)
    (workspace.fleet / "gitrepo.yaml").write_text(
        (ROOT / "release" / "fleet" / "gitrepo.yaml").read_text()
    )
    record(workspace, PUBLICATION)
    layout = make_layout(workspace.images)
    files = layer_files(tmp_path / "files", {"engine.blob": b"an engine"})
    image = add_image(layout, files, name=PUBLICATION.release)
    path = release_file(workspace, "meter", TARGET, "canary")
    path.write_text(dump(values_of(PUBLICATION, image.digest)))
    path.with_name("fleet.yaml").write_text(FLEET)
    run("add-site", "dock-7", "--target", TARGET, "--ring", "canary")
    assert run("keygen", "plant").exit_code == 0
    return workspace


@pytest.fixture
def bundle(site: Workspace) -> Path:
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 0, result.output
    return site.root / "jetrail-dock-7.tar"


def unpack(bundle: Path, folder: Path) -> Path:
    with tarfile.open(bundle) as archive:
        archive.extractall(folder, filter="data")
    return folder / "jetrail-dock-7"


def test_what_is_in_it(site: Workspace, bundle: Path, tmp_path: Path) -> None:
    top = unpack(bundle, tmp_path / "out")
    names = sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())
    assert names == [
        *("FACTS", "SHA256SUMS", "SHA256SUMS.sig", "chart/inference-0.1.0.tgz"),
        *(f"images/jetrail-{PUBLICATION.release}.tar", "install.sh", "keys/plant.pem"),
        *("manifests/jetrail-site.yaml", "manifests/meter-x86.yaml"),
        f"records/{PUBLICATION.release}/publication.json",
    ]
    helm = load_yaml(top / "manifests" / "meter-x86.yaml")
    assert (helm["kind"], helm["spec"]["targetNamespace"]) == ("HelmChart", "inference")
    # As Fleet would merge them for this cluster, its own values among them.
    assert "port: 8081" in helm["spec"]["valuesContent"]
    assert f"tag: {PUBLICATION.release}@sha256:" in helm["spec"]["valuesContent"]
    chart = gzip.decompress(base64.b64decode(helm["spec"]["chartContent"]))
    with tarfile.open(fileobj=io.BytesIO(chart)) as archive:
        assert "inference/Chart.yaml" in archive.getnames()
    with tarfile.open(top / "images" / f"jetrail-{PUBLICATION.release}.tar") as archive:
        file = archive.extractfile("index.json")
        assert file is not None
        (image,) = json.load(file)["manifests"]
    assert image["annotations"]["io.containerd.image.name"] == (
        f"registry.example.com/meter:{PUBLICATION.release}"
    )


def test_the_same_each_time(site: Workspace, bundle: Path) -> None:
    """But for the signature, into which chance goes."""

    def sums(path: Path) -> bytes:
        with tarfile.open(path) as archive:
            file = archive.extractfile("jetrail-dock-7/SHA256SUMS")
            assert file is not None
            return file.read()

    assert run("bundle", "--site", "dock-7", "--out", "again.tar").exit_code == 0
    assert sums(site.root / "again.tar") == sums(bundle)


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


TOP = "jetrail-dock-7"
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


# --- at the site ---------------------------------------------------------------------------------

NO_NETWORK = ("unshare", "--net", "--map-root-user")


@cache
def no_network() -> tuple[str, ...]:
    """Puts a command where there is no network; nothing on machines that do not let anybody."""
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False)
    return NO_NETWORK if tried.returncode == 0 else ()


class Node:
    """A K3s server as far as the script looks at it, in a namespace without a network."""

    def __init__(self, folder: Path, key: TrustedKey) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl, which the script checks signatures with: install openssl")
        self.root, self.keys, self.bin = folder / "root", folder / "keys", folder / "bin"
        self.images = self.root / "var/lib/rancher/k3s/agent/images"
        self.manifests = self.root / "var/lib/rancher/k3s/server/manifests"
        for one in (self.keys, self.bin, self.images.parent):
            one.mkdir(parents=True)
        (self.keys / "ours.pem").write_text(key.public_key)
        self.k3s("v1.34.2+k3s1")

    def k3s(self, version: str) -> None:
        path = self.bin / "k3s"
        path.write_text(f"#!/bin/sh\necho 'k3s version {version} (0123abcd)'\n")
        path.chmod(0o755)

    def install(self, top: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = ["--root", str(self.root), "--keys", str(self.keys), *arguments]
        return subprocess.run(
            [*no_network(), "sh", str(top / "install.sh"), *options],
            env={"PATH": f"{self.bin}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def top(bundle: Path, tmp_path: Path) -> Path:
    return unpack(bundle, tmp_path / "stick")


@pytest.fixture
def node(site: Workspace, tmp_path: Path) -> Node:
    return Node(tmp_path / "node", trusted_keys(site)[0])


def test_install(node: Node, top: Path) -> None:
    done = node.install(top)
    assert done.returncode == 0, done.stderr
    assert f"signed by ours: dock-7, {PUBLICATION.release}" in done.stdout
    image = node.images / f"jetrail-{PUBLICATION.release}.tar"
    assert image.read_bytes() == (top / "images" / image.name).read_bytes()
    names = sorted(path.name for path in node.manifests.iterdir())
    assert names == ["jetrail-site.yaml", "meter-x86.yaml"]
    # Again: nothing is written twice.
    before = image.stat().st_mtime_ns
    done = node.install(top)
    assert done.returncode == 0
    assert image.stat().st_mtime_ns == before


def test_check_changes_nothing(node: Node, top: Path) -> None:
    assert node.install(top, "--check").returncode == 0
    assert not node.images.exists()


def test_older_archives_go_but_one(node: Node, top: Path) -> None:
    node.images.mkdir()
    for age, name in enumerate(("jetrail-c.tar", "jetrail-b.tar", "jetrail-a.tar", "k3s.tar.zst")):
        path = node.images / name
        path.write_text("older")
        os.utime(path, (1e9 - age, 1e9 - age))
    done = node.install(top)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in node.images.iterdir()) == [
        "jetrail-c.tar",
        f"jetrail-{PUBLICATION.release}.tar",
        "k3s.tar.zst",
    ]


def _wrong_key(node: Node, top: Path) -> None:
    shutil.copyfile(top / "install.sh", node.keys / "ours.pem")


def _no_key(node: Node, top: Path) -> None:
    (node.keys / "ours.pem").unlink()


def _altered(node: Node, top: Path) -> None:
    (top / "manifests" / "meter-x86.yaml").write_text("kind: Other\n")


def _added(node: Node, top: Path) -> None:
    (top / "manifests" / "more.yaml").write_text("kind: Other\n")


def _other_sums(node: Node, top: Path) -> None:
    _altered(node, top)
    subprocess.run("sha256sum manifests/* > SHA256SUMS", shell=True, cwd=top, check=True)


def _old(node: Node, top: Path) -> None:
    node.k3s("v1.33.5+k3s1")


def _ancient(node: Node, top: Path) -> None:
    node.k3s("v1.29.2+k3s1")


def _no_k3s(node: Node, top: Path) -> None:
    (node.bin / "k3s").unlink()


def _small(node: Node, top: Path) -> None:
    path = node.bin / "df"
    path.write_text("#!/bin/sh\necho Filesystem\necho 'x 1 1 1024 1% /'\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (_wrong_key, 5, "No key in"),
        (_no_key, 2, "Expected the public keys that this site trusts"),
        (_altered, 5, "is not what was signed"),
        (_added, 5, "files here that nobody signed"),
        (_other_sums, 5, "No key in"),
        (_old, 2, "Expected K3s 1.32.10, 1.33.6, 1.34.2 or newer"),
        (_ancient, 2, "Expected K3s 1.32.10"),
        (_no_k3s, 2, "Expected K3s on this machine"),
        (_small, 2, "KiB free"),
    ],
)
def test_what_the_script_refuses(
    node: Node, top: Path, spoil: Callable[[Node, Path], None], code: int, said: str
) -> None:
    spoil(node, top)
    done = node.install(top)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert not node.images.exists()


def test_an_old_k3s_on_somebody_s_word(node: Node, top: Path) -> None:
    _old(node, top)
    assert node.install(top, "--old-k3s").returncode == 0
