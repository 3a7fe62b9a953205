"""Push to a real registry, through a proxy that does what networks and busy registries do."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from factories import paper
from factories.cluster_tools import cluster_tool
from factories.images import layer_files, make_layout
from standins.registry import Fault, Proxy, Registry, need, running_registry

from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import Conflict, InputError, JetrailError, ServiceError, WrongEngine
from release.image import retry
from release.image.distribution import Client, parse_repository
from release.image.layout import Layout
from release.image.oci import digest_of
from release.packed import image_path, read_image
from release.records import read_publication
from release.steps.pack import pack
from release.steps.push import push
from release.steps.sign import sign_release
from release.steps.take_signed import take_signed
from tests.unit.release.publications import publish_on_paper, record

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

PASSWORD = "p4ss-never-shown"
HTPASSWD = "robot:$2b$05$abcdefghijklmnopqrstuuZihsjaswg.80KoKB3FZpE81KCNgKbRi\n"
"""bcrypt, of the password."""
OTHERS = ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "JETRAIL_REGISTRY_USER")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    need("skopeo")
    with running_registry(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    proxy = Proxy(registry.host)
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def _quick_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, and nobody's credentials."""
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.05)
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A repository with two releases that are packed."""
    root = tmp_path_factory.mktemp("push") / "clone"
    workspace = Workspace(root=root)
    root.mkdir()
    paper.lay_out(workspace)
    releases = []
    for precision in ("fp16", "fp32"):
        paper.add_engine(workspace, precision)
        publication = publish_on_paper(workspace, f"meter-{precision}")
        record(workspace, publication)
        sign_release(workspace, publication.release, None, None, lambda _: None)
        pack(workspace, publication.release, None, lambda _: None)
        releases.append(publication.release)
    return root, releases


@pytest.fixture
def workspace(template: tuple[Path, list[str]], tmp_path: Path) -> Workspace:
    root = tmp_path / "a clone"
    shutil.copytree(template[0], root)
    return Workspace(root=root)


@pytest.fixture
def release(template: tuple[Path, list[str]]) -> str:
    return template[1][0]


Push = Callable[..., list[str]]


@pytest.fixture
def pushed(workspace: Workspace, release: str, proxy: Proxy, request: Any) -> Push:
    """Pushes through the proxy, to a path of this test alone; gives what was said."""
    path = "".join(one if one.isalnum() else "-" for one in request.node.name.lower()).strip("-")
    path = "-".join(filter(None, path.split("-")))[:80]

    def run(tag: str = release, to: Proxy = proxy) -> list[str]:
        said: list[str] = []
        push(workspace, tag, f"{to.host}/{path}", said.append)
        return said

    return run


def in_registry(repository: str, reference: str) -> bytes | None:
    client = Client(repository=parse_repository(repository), credentials=None, say=lambda _: None)
    return client.manifest(reference)


def check_arrived(workspace: Workspace, release: str) -> None:
    """The registry has what the record says, under the tag and by its digest, byte for byte."""
    image = read_image(workspace, release)
    assert image is not None
    (repository,) = image.repositories
    for reference in (release, image.digest):
        manifest = in_registry(repository, reference)
        assert manifest is not None
        assert digest_of(manifest) == image.digest
    into = workspace.root.parent / "back"
    subprocess.run(
        [
            *("skopeo", "copy", "--quiet", "--src-tls-verify=false", "--preserve-digests"),
            f"docker://{repository}@{image.digest}",
            f"oci:{into}:{release}",
        ],
        check=True,
    )
    layout = Layout(into)
    assert layout.files(layout.image(release)) == Layout(workspace.images).files(
        Layout(workspace.images).image(release)
    )


def test_pushed_and_pulled(workspace: Workspace, release: str, pushed: Push) -> None:
    assert pushed()[-2:] == [ANY, f"{release}: the image is signed by for-trying"]
    check_arrived(workspace, release)


def test_again_sends_nothing(
    workspace: Workspace, release: str, pushed: Push, proxy: Proxy
) -> None:
    pushed()
    content, sent = image_path(workspace, release).read_bytes(), proxy.sent_bytes
    there, signed = pushed()
    assert there.endswith("is there already")
    assert signed == f"{release}: the image is signed already, by for-trying"
    assert proxy.sent_bytes == sent
    assert image_path(workspace, release).read_bytes() == content


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="POST|PUT|PATCH", status=429, headers={"Retry-After": "1"}),
        Fault(method="POST", path="uploads", status=500, times=2),
        Fault(method="PUT", path="manifests", status=502, times=2),
        Fault(method="PATCH", status=503),
        Fault(method="PUT", path="uploads", status=503, times=3),
        Fault(method="PATCH", cut_request=True, times=2),
        Fault(method="PUT", path="manifests", cut_request=True),
        Fault(method="GET", path="manifests", after=1, cut_answer=True),
        Fault(method="HEAD|GET|POST", slow_seconds=0.5, times=4),
    ],
    ids=lambda one: f"{one.method} {one.status or 'cut'}",
)
def test_faults_that_pass(
    workspace: Workspace, release: str, pushed: Push, proxy: Proxy, fault: Fault
) -> None:
    proxy.faults = [fault]
    pushed()
    check_arrived(workspace, release)


def test_the_registry_says_for_how_long(pushed: Push, proxy: Proxy) -> None:
    proxy.faults = [Fault(method="GET", path="manifests", status=429, headers={"Retry-After": "1"})]
    said = pushed()
    assert "it answers 429 Too Many Requests; trying again in 1 s" in said[0]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="GET", path="manifests", status=503, times=99),
        Fault(method="PUT", path="manifests", status=500, times=99),
        Fault(method="PATCH", cut_request=True, times=99),
    ],
    ids=["asking", "the manifest", "a layer"],
)
def test_faults_that_stay(
    workspace: Workspace, release: str, pushed: Push, proxy: Proxy, fault: Fault
) -> None:
    proxy.faults = [fault]
    with pytest.raises(ServiceError, match="after 6 tries the registry still does not"):
        pushed()
    image = read_image(workspace, release)
    assert image is not None
    assert image.repositories == ()
    proxy.faults = []
    pushed()
    check_arrived(workspace, release)


@pytest.mark.parametrize("header", [True, False])
def test_a_registry_that_lies_about_the_digest(
    workspace: Workspace, release: str, pushed: Push, proxy: Proxy, header: bool
) -> None:
    """It takes everything, and has something else under the tag afterwards."""
    lie = {"headers": {"Docker-Content-Digest": digest_of(b"x")}} if header else {"body": b"{}"}
    proxy.faults = [Fault(method="GET", path="manifests", after=1, times=99, **lie)]
    if header:  # nobody asked for that: what counts is the content
        pushed()
        check_arrived(workspace, release)
        return
    with pytest.raises(Conflict, match="A tag never moves"):
        pushed()
    image = read_image(workspace, release)
    assert image is not None
    assert image.repositories == ()


def test_a_tag_that_is_another_image_s(
    workspace: Workspace, release: str, pushed: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `git revert` of the commit that brought its records."""
    pushed()
    image = read_image(workspace, release)
    assert image is not None
    image.model_copy(update={"repositories": ()}).write(image_path(workspace, release))
    (workspace.records / release / "attestation.json").unlink()
    sign_release(workspace, release, None, None, lambda _: None)
    pack(workspace, release, None, lambda _: None)
    with pytest.raises(Conflict, match=r"attestation\.json, run `release sign .* --pushed`"):
        pushed()
    (repository,) = image.repositories
    manifest = in_registry(repository, release)
    assert manifest is not None
    assert digest_of(manifest) == image.digest
    # What that says, walked to its end.
    monkeypatch.setattr("release.steps.take_signed.repository_of", lambda *_: repository)
    (workspace.records / release / "attestation.json").unlink()
    record(workspace, read_publication(workspace, release))  # the candidate
    take_signed(workspace, paper.TARGET, lambda _: None)
    sign_release(workspace, release, None, None, lambda _: None)
    pack(workspace, release, None, lambda _: None)
    pushed()
    check_arrived(workspace, release)


def test_a_second_engine_over_the_same_base(
    workspace: Workspace, proxy: Proxy, pushed: Push, template: tuple[Path, list[str]]
) -> None:
    """Only its own layer goes over the wire, and 64 KB at most besides."""
    from factories.images import add_image

    layout = make_layout(workspace.images)
    noise = workspace.root / "noise"
    base = add_image(layout, layer_files(noise, {"base": os.urandom(3 << 20)}), name="base")
    for tag in template[1]:
        engine = layer_files(noise / tag, {"engine.blob": os.urandom(1 << 20)})
        image = add_image(layout, engine, name=tag, base=base)
        packed = read_image(workspace, tag)
        assert packed is not None
        packed.model_copy(update={"digest": image.digest}).write(image_path(workspace, tag))
    pushed(template[1][0])
    assert proxy.sent_bytes > 4 << 20
    before = proxy.sent_bytes
    pushed(template[1][1])
    own = layout.image(template[1][1]).manifest.layers[-1].size
    assert own < proxy.sent_bytes - before <= own + (64 << 10)


CHART = "release/charts/inference"


@pytest.fixture
def charted(workspace: Workspace) -> Workspace:
    shutil.copytree(ROOT / CHART, workspace.root / CHART)
    return workspace


def test_the_chart_goes_along(
    charted: Workspace,
    pushed: Push,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the real helm, which can pull it back."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm").symlink_to(cluster_tool("helm"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    proxy.faults = [Fault(method="PUT", path="charts/inference/manifests", status=503)]
    version = load_yaml(ROOT / CHART / "Chart.yaml")["version"]
    assert pushed()[-1].endswith(f"/charts/inference:{version} pushed")
    assert pushed()[-1].endswith(f"/charts/inference:{version} is there already")
    wanted = f"/charts/inference/manifests/{version}"
    (where,) = {path for _, path, _ in proxy.requests if path.endswith(wanted)}
    repository = where.removeprefix("/v2/").partition("/manifests")[0]
    pull = ["helm", "pull", f"oci://{proxy.host}/{repository}", "--version", version]
    subprocess.run([*pull, "--plain-http"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / f"inference-{version}.tgz").is_file()

    # Clusters would go on with the chart that is there, and nobody would know.
    schema = charted.root / CHART / "values.schema.json"
    schema.write_text(schema.read_text() + "\n")
    with pytest.raises(Conflict, match=r"but values\.schema\.json differ there.*raise `version`"):
        pushed()


def test_without_helm(
    charted: Workspace, pushed: Push, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "skopeo").symlink_to(need("skopeo"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "is not pushed, since helm is not here" in pushed()[-1]


def test_registry_down(workspace: Workspace, release: str) -> None:
    with pytest.raises(ServiceError, match="nobody listens there"):
        push(workspace, release, "127.0.0.1:9/jetrail", lambda _: None)


def test_registry_s_disk_is_full(workspace: Workspace, release: str, tmp_path: Path) -> None:
    """A real full disk: its storage is a tmpfs of a few kilobytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk; run this test as root")
    try:
        with running_registry(disk) as small:
            (disk / "fill").write_bytes(bytes(40 << 10))
            layout = make_layout(workspace.images)
            image = _of_noise(workspace, layout, release)
            with pytest.raises(ServiceError):
                push(workspace, release, f"{small.host}/jetrail", lambda _: None)
            (disk / "fill").unlink()
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            pushed = push(workspace, release, f"{small.host}/jetrail", lambda _: None)
            assert pushed.digest == image
            check_arrived(workspace, release)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _of_noise(workspace: Workspace, layout: Layout, release: str) -> str:
    """Let the release be an image of 200 KB."""
    from factories.images import add_image

    files = layer_files(workspace.root / "noise", {"engine.blob": os.urandom(200 << 10)})
    image = add_image(layout, files, name=release)
    packed = read_image(workspace, release)
    assert packed is not None
    packed.model_copy(update={"digest": image.digest}).write(image_path(workspace, release))
    return image.digest


class TestWhatIsRefused:
    def refused(self, workspace: Workspace, release: str, kind: type[JetrailError]) -> str:
        with pytest.raises(kind) as raised:
            push(workspace, release, "127.0.0.1:9/jetrail", lambda _: None)
        return str(raised.value)

    def test_not_packed(self, workspace: Workspace, release: str) -> None:
        image_path(workspace, release).unlink()
        assert "`release pack" in self.refused(workspace, release, InputError)

    def test_another_image_lies_here(self, workspace: Workspace, release: str) -> None:
        paper.edit(image_path(workspace, release), lambda one: one.update(digest=digest_of(b"x")))
        assert "to be the image sha256:" in self.refused(workspace, release, InputError)

    def test_a_layer_is_altered(self, workspace: Workspace, release: str) -> None:
        layout = Layout(workspace.images)
        layer = layout.image(release).manifest.layers[-1]
        path = layout.blob(layer.digest)
        path.write_bytes(path.read_bytes().replace(b"engine in fp16", b"engine in fp61"))
        assert "It was altered" in self.refused(workspace, release, WrongEngine)

    @pytest.mark.parametrize(
        "registry", ["https://a.example", "user:secret@a.example/x", "a b", "A.example/UPPER"]
    )
    def test_a_registry_that_is_none(
        self, workspace: Workspace, release: str, registry: str
    ) -> None:
        with pytest.raises(InputError, match="Expected a repository as") as raised:
            push(workspace, release, registry, lambda _: None)
        assert "secret" not in str(raised.value)

    def test_where_to_is_not_known(self, workspace: Workspace, release: str) -> None:
        workspace.rings_file.write_text("schema: 1\nrings: [{name: canary}]\n")
        with pytest.raises(InputError, match=r"Expected helm\.values\.image\.repository"):
            push(workspace, release, None, lambda _: None)


class TestCredentials:
    """A registry that lets in nobody but one."""

    @pytest.fixture(scope="class")
    def closed(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
        need("skopeo")
        folder = tmp_path_factory.mktemp("closed")
        with running_registry(folder, htpasswd=HTPASSWD) as one:
            yield one

    @pytest.fixture
    def door(self, closed: Registry) -> Iterator[Proxy]:
        proxy = Proxy(closed.host)
        yield proxy
        proxy.close()

    def said(self, workspace: Workspace, release: str, door: Proxy) -> str:
        said: list[str] = []
        try:
            push(workspace, release, f"{door.host}/jetrail", said.append)
        except JetrailError as error:
            said.append(f"{type(error).__name__}: {error}")
        text = "\n".join(said)
        assert PASSWORD not in text
        assert base64.b64encode(f"robot:{PASSWORD}".encode()).decode() not in text
        return text

    def test_from_the_environment(
        self, workspace: Workspace, release: str, door: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JETRAIL_REGISTRY_USER", "robot")
        monkeypatch.setenv("JETRAIL_REGISTRY_PASSWORD", PASSWORD)
        assert "the image is signed" in self.said(workspace, release, door)
        assert door.authorizations

    @pytest.mark.parametrize("file", ["run/containers/auth.json", "home/.docker/config.json"])
    def test_from_the_usual_files(
        self, workspace: Workspace, release: str, door: Proxy, tmp_path: Path, file: str
    ) -> None:
        auth = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"auths": {door.host: {"auth": auth}}}))
        assert "the image is signed" in self.said(workspace, release, door)

    def test_nobody(self, workspace: Workspace, release: str, door: Proxy) -> None:
        said = self.said(workspace, release, door)
        assert said.startswith("ServiceError")
        assert "Log in with `podman login`" in said

    def test_a_wrong_password(
        self, workspace: Workspace, release: str, door: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JETRAIL_REGISTRY_USER", "robot")
        monkeypatch.setenv("JETRAIL_REGISTRY_PASSWORD", PASSWORD[::-1])
        said = self.said(workspace, release, door)
        assert PASSWORD[::-1] not in said
        assert "401" in said
