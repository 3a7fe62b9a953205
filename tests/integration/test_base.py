"""The x86 base, built for real, and images that stand on it."""

from __future__ import annotations

import base64
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import paper
from factories.bases import ROOT, RealBase, debian, lay_out_bases, use_base
from factories.containers import Podman
from standins.registry import Fault, Proxy, running_registry

from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError, ServiceError, WrongEngine
from release.image import retry
from release.image.bases import load_bases
from release.image.distribution import Client, parse_repository
from release.image.layout import Layout
from release.packed import read_image
from release.signing.cosign import ImageReference as Signed
from release.signing.cosign import check_signature, payloads_of
from release.signing.keys import trying_key
from release.steps.base import build_base, push_base
from release.steps.pack import pack
from release.steps.push import push
from release.steps.sign import sign_release
from tests.unit.release.publications import publish_on_paper, record

pytestmark = pytest.mark.integration

MEGABYTE = 1_000_000
NOT_IN_IT = ("torch", "dvc", "mlflow", "pip", "gcc", "ultralytics", "openvino-telemetry")


def quiet(_: str) -> None:
    pass


@pytest.fixture
def released(x86_base: RealBase, tmp_path: Path) -> tuple[Workspace, str]:
    """A repository with a signed release, whose target stands on the base; the image of the base is
    not in its layout."""
    workspace = Workspace(root=tmp_path / "clone")
    workspace.root.mkdir()
    paper.lay_out(workspace)
    paper.add_engine(workspace, "fp16")
    publication = publish_on_paper(workspace, "meter-fp16")
    record(workspace, publication)
    sign_release(workspace, publication.release, None, None, quiet)
    shutil.copyfile(x86_base.workspace.bases_file, workspace.bases_file)
    use_base(workspace, paper.TARGET, "x86")
    return workspace, publication.release


def take_layout(base: RealBase, workspace: Workspace) -> None:
    shutil.copytree(base.workspace.images, workspace.images)


def test_its_size(x86_base: RealBase) -> None:
    """Unpacked; 695 MB untrimmed."""
    unpacked = 0
    for layer in x86_base.image.manifest.layers:
        with tarfile.open(x86_base.layout.blob(layer.digest), "r|*") as tar:
            unpacked += sum(entry.size for entry in tar)
    assert unpacked == x86_base.built.size
    assert unpacked < 420 * MEGABYTE


def test_how_it_starts(x86_base: RealBase) -> None:
    config = json.loads(x86_base.image.config_bytes)["config"]
    assert config["User"] == "1000:1000"
    assert config["Cmd"] == ["runtime", "serve"]
    assert "HOME=/tmp" in config["Env"]


def test_the_digest_is_written_and_nothing_else(x86_base: RealBase) -> None:
    before = (ROOT / "release" / "bases.yaml").read_text().splitlines()
    after = x86_base.workspace.bases_file.read_text().splitlines()
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert [other.strip() for _, other in changed] == [f"digest: {x86_base.image.digest}"]
    assert load_bases(x86_base.workspace).bases["x86"].digest == x86_base.built.digest


def test_its_sbom(x86_base: RealBase) -> None:
    document = json.loads(x86_base.built.sbom.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["version"] == x86_base.image.digest
    components = document["components"]
    found = {one["name"].lower().replace("_", "-"): one["version"] for one in components}
    assert {
        "openvino",
        "numpy",
        "prometheus-client",
        "nvidia-ml-py",
        "libc6",
        "python3",
    } <= found.keys()
    assert not {name for name in found if name in NOT_IN_IT}
    pins = dict(
        line.split(";")[0].strip().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and "python_version <" not in line
    )
    assert found["openvino"] == pins["openvino"]
    assert found["numpy"] == pins["numpy"]


def test_no_way_to_build_or_install(x86_base: RealBase) -> None:
    names = set()
    for layer in x86_base.image.manifest.layers:
        with tarfile.open(x86_base.layout.blob(layer.digest), "r|*") as tar:
            names |= {f"/{entry.name}" for entry in tar}
    assert "/opt/jetrail/bin/runtime" in names
    programs = {one.rpartition("/")[2] for one in names if "/bin/" in one or "/sbin/" in one}
    assert "python3" in programs
    assert not programs & {"apt-get", "dpkg", "gcc", "cc", "perl", "pip", "pip3"}
    assert not [one for one in names if "telemetry" in one.lower()]
    assert not [
        one for one in names if one.startswith(("/opt/jetrail/pipeline", "/opt/jetrail/rel"))
    ]


def test_it_runs(tools: Podman, runtime_image: str) -> None:
    """Read-only, without a network, capabilities or root."""
    script = (
        "import cv2, openvino, cryptography, prometheus_client, sys, engines.detect.detector\n"
        "print(openvino.Core().available_devices, 'openvino_telemetry' in sys.modules)\n"
        "import runtime.pod, runtime.server"
    )
    run = ("podman", "run", "--read-only", "--cap-drop=all", "--network=none", "--rm")
    done = tools.run(*run, runtime_image, "python3", "-c", script)
    assert done.stdout == "['CPU'] False\n"
    assert tools.run(*run, runtime_image, "id", "-u").stdout == "1000\n"
    checked = tools.run(*run, runtime_image, "runtime", "check", check=False)
    assert checked.returncode == 2
    assert "/etc/jetrail/keys" in checked.stdout


@pytest.mark.parametrize("name", ["jetpack-6", "jetpack-7"])
def test_a_containerfile_that_no_device_has_built(
    tools: Podman, x86_base: RealBase, tmp_path: Path, name: str
) -> None:
    """buildah reads it and runs it, with Debian in place of NVIDIA's image and one module in place
    of all that a pod needs."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "one.py").write_text("x = 1\n")
    shutil.copyfile(ROOT / "release" / "bases" / name / "Containerfile", tmp_path / "Containerfile")
    tag = f"localhost/jetrail-test-{name}"
    words = ("buildah", "build", "--pull=never", "--layers=false", "--tag", tag)
    tools.run(*words, f"--build-arg=FROM={debian(tmp_path, tools)}", tmp_path)
    try:
        done = tools.run("podman", "image", "inspect", "--format", "{{json .Config}}", tag)
        config = json.loads(done.stdout)
        assert config["User"] == "1000:1000"
        assert config["Cmd"] == ["runtime", "serve"]
        assert {"NVIDIA_VISIBLE_DEVICES=all", "PYTHONPATH=/opt/jetrail"} <= set(config["Env"])
        assert "/opt/jetrail/bin:" in next(one for one in config["Env"] if one.startswith("PATH="))
        run = ("podman", "run", "--read-only", "--cap-drop=all", "--network=none", "--rm", tag)
        found = tools.run(*run, "python3", "-c", "import one; print(one.__cached__)").stdout
        assert found.startswith("/opt/jetrail/__pycache__/")
        assert tools.run(*run, "ls", "/opt/jetrail/__pycache__").stdout.startswith("one.")
    finally:
        tools.run("buildah", "rmi", "--force", tag)


def test_an_image_on_it(x86_base: RealBase, released: tuple[Workspace, str]) -> None:
    workspace, release = released
    take_layout(x86_base, workspace)
    (packed,) = pack(workspace, release, None, quiet)
    layout = Layout(workspace.images)
    image = layout.image(release)
    assert packed.base is not None
    assert (packed.base.name, packed.base.digest) == ("x86", x86_base.image.digest)
    assert image.manifest.layers[:-1] == x86_base.image.manifest.layers
    assert layout.files(image)["engine.blob"].sha256 == packed.files["engine.blob"]
    config = json.loads(image.config_bytes)
    assert config["config"]["Cmd"] == ["runtime", "serve"]
    assert config["config"]["Labels"]["io.jetrail.release"] == release
    again = pack(workspace, release, None, quiet)
    assert again == [packed]


@pytest.fixture(scope="module")
def registry_with_base(
    x86_base: RealBase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A registry that has it."""
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        proxy = Proxy(registry.host)
        _in_registry(x86_base.workspace, proxy)
        push_base(x86_base.workspace, "x86", quiet)
        yield proxy
        proxy.close()


def _in_registry(workspace: Workspace, proxy: Proxy) -> None:
    text = workspace.bases_file.read_text()
    text = text.replace("registry.example.com/", f"{proxy.host}/")
    workspace.bases_file.write_text(text)


def test_taken_from_a_registry(
    registry_with_base: Proxy, x86_base: RealBase, released: tuple[Workspace, str]
) -> None:
    """And the image goes back there without the base's layers."""
    workspace, release = released
    _in_registry(workspace, registry_with_base)
    said: list[str] = []
    (packed,) = pack(workspace, release, None, said.append)
    assert said[0].startswith("base x86: taking 127.0.0.1:")
    assert packed.layers[:-1] == tuple(
        packed.layers[0].model_copy(update={"digest": one.digest, "size": one.size})
        for one in x86_base.image.manifest.layers
    )
    before = registry_with_base.sent_bytes
    pushed = push(workspace, release, f"{registry_with_base.host}/jetrail", quiet)
    assert registry_with_base.sent_bytes - before <= packed.layers[-1].size + (64 << 10)
    assert pushed.repositories == (f"{registry_with_base.host}/jetrail/meter",)
    assert read_image(workspace, release) == pushed


def test_it_is_signed_there(registry_with_base: Proxy, x86_base: RealBase) -> None:
    """By its digest, with its SBOM, and once."""
    name = load_bases(x86_base.workspace).row("x86").repository
    client = Client(repository=parse_repository(name), credentials=None, say=quiet)
    image = x86_base.image
    signed = Signed(repository=name, digest=image.digest, size=image.descriptor.size)
    manifest = client.manifest(signed.tag(".sig"))
    assert manifest is not None
    key = trying_key(x86_base.workspace)
    assert key is not None
    payloads = [client.blob(one) for one in payloads_of(manifest)]
    assert check_signature(manifest, payloads, signed, [key]) == key
    attached = client.manifest(signed.tag(".att"))
    assert attached is not None
    (layer,) = json.loads(attached)["layers"]
    envelope = json.loads(client.blob(layer["digest"]))
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["subject"][0]["digest"] == {"sha256": image.digest.removeprefix("sha256:")}
    assert statement["predicate"] == json.loads(x86_base.built.sbom.read_text())
    said: list[str] = []
    push_base(x86_base.workspace, "x86", said.append)
    assert said[-1] == f"base x86: signed already, by {key.name}"
    assert client.manifest(signed.tag(".sig")) == manifest


@pytest.mark.parametrize("path", ["manifests/sha256", "blobs/sha256"])
def test_a_registry_that_gives_another_base(
    registry_with_base: Proxy,
    released: tuple[Workspace, str],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    """Under the right digest."""
    workspace, release = released
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.01)
    _in_registry(workspace, registry_with_base)
    registry_with_base.faults = [Fault(method="GET", path=path, times=99, body=b"{}")]
    try:
        with pytest.raises(ServiceError, match="but it is not to be had"):
            pack(workspace, release, None, quiet)
    finally:
        registry_with_base.faults = []
    assert read_image(workspace, release) is None
    assert Layout(workspace.images).images() == {}


def test_the_base_is_gone(
    registry_with_base: Proxy,
    released: tuple[Workspace, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace, release = released
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.01)
    _in_registry(workspace, registry_with_base)
    digest = load_yaml(workspace.bases_file)["bases"]["x86"]["digest"]
    text = workspace.bases_file.read_text().replace(digest, f"sha256:{'0' * 64}")
    workspace.bases_file.write_text(text)
    with pytest.raises(ServiceError, match="but it is not to be had"):
        pack(workspace, release, None, quiet)
    assert read_image(workspace, release) is None
    assert Layout(workspace.images).images() == {}


def test_never_built(released: tuple[Workspace, str]) -> None:
    workspace, release = released
    shutil.copyfile(ROOT / "release" / "bases.yaml", workspace.bases_file)
    use_base(workspace, paper.TARGET, "x86")
    with pytest.raises(InputError, match="`release base build x86`"):
        pack(workspace, release, None, quiet)


def test_an_altered_base(x86_base: RealBase, released: tuple[Workspace, str]) -> None:
    workspace, release = released
    take_layout(x86_base, workspace)
    layer = Layout(workspace.images).blob(x86_base.image.manifest.layers[0].digest)
    with layer.open("r+b") as file:
        file.seek(1000)
        file.write(b"altered")
    with pytest.raises(WrongEngine, match="It was altered"):
        pack(workspace, release, None, quiet)


class TestWithoutAContainerEngine:
    def test_no_engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from release.image import base_build

        monkeypatch.setattr(base_build.shutil, "which", lambda _: None)
        monkeypatch.setattr(base_build, "_install", lambda *_: (tmp_path / "x").mkdir())
        workspace = lay_out_bases(tmp_path / "clone")
        with pytest.raises(InputError, match="Expected one of buildah, podman, docker"):
            build_base(workspace, "x86", (), quiet)
        assert load_bases(workspace).bases["x86"].digest is None

    def test_no_such_base(self, tmp_path: Path) -> None:
        workspace = lay_out_bases(tmp_path / "clone")
        with pytest.raises(InputError, match=r"x86, jetpack-6, jetpack-7\), got 'toaster'"):
            build_base(workspace, "toaster", (), quiet)
