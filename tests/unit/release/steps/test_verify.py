"""release verify: what is as it was signed is told, anything else is exit 5 with the cause."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import tarfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from factories.paper import TARGET, add_engine, edit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from engines.errors import WrongEngine
from engines.records.attestation import FILE, Statement, verify_envelope
from release.cli import commands
from release.image.describe import OCI
from release.image.layout import Layout
from release.image.oci import LAYER, MANIFEST, Descriptor, digest_of, to_bytes
from release.packed import image_path, read_image
from release.records import attestation_path
from release.signing.keys import private_file, record_file
from release.signing.signer import open_key
from release.signing.statement import seal
from release.steps import keygen, pack, sign, verify
from tests.unit.release.publications import publish_on_paper, record

Verify = Callable[..., Result]


def say(_: str) -> None:
    pass


def released(workspace: Workspace, precision: str = "fp16") -> str:
    """A release that was published, signed with the key `ours`, and packed."""
    add_engine(workspace, precision)
    publication = publish_on_paper(workspace, f"meter-{precision}")
    record(workspace, publication)
    if not record_file(workspace, "ours").exists():
        keygen.keygen(workspace, "ours", datetime(2026, 1, 1))
    key = str(private_file(workspace, "ours"))
    sign.sign_release(workspace, publication.release, None, key, say)
    pack.pack(workspace, publication.release, None, say)
    return publication.release


@pytest.fixture
def release(workspace: Workspace) -> str:
    return released(workspace)


@pytest.fixture
def layout(workspace: Workspace, release: str) -> Layout:
    return Layout(workspace.images)


@pytest.fixture
def models(layout: Layout, release: str, tmp_path: Path) -> Path:
    """The files of `/models`, as a pod has them."""
    folder = tmp_path / "pod" / "models"
    folder.mkdir(parents=True)
    layout.files(layout.image(release), folder)
    return folder


@pytest.fixture
def run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Verify:
    """The command; it may not reach for the network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return lambda *words: CliRunner().invoke(commands, ["verify", *map(str, words)])


def test_a_clone_without_the_image_is_told_where_it_is(
    workspace: Workspace, release: str, layout: Layout, run: Verify
) -> None:
    """A release manager was told to pack it, which only the clone with the engine can."""
    there = "registry.example.com/jetrail/meter"
    image = read_image(workspace, release)
    assert image is not None
    image.model_copy(update={"repositories": (there,)}).write(image_path(workspace, release))
    shutil.rmtree(layout.path)
    result = run(release)
    assert result.exit_code == 2
    assert f"`release verify {there}@{image.digest}`" in result.stderr


def change_key(workspace: Workspace, **changes: object) -> None:
    edit(record_file(workspace, "ours"), lambda one: one.update(changes))


class TestWhatIsAsItWasSigned:
    def test_a_tag(self, run: Verify, release: str, layout: Layout) -> None:
        digest = layout.image(release).digest
        for what in (release, f"{release}@{digest}", digest):
            result = run(what)
            assert result.exit_code == 0, result.stderr
            assert f"{release}: verified" in result.stdout
            assert digest in result.stdout
            assert "key      ours (" in result.stdout
            assert "verdict  PASS" in result.stdout
            assert "engine.blob" in result.stdout

    def test_a_layout(self, run: Verify, workspace: Workspace, release: str) -> None:
        other = released(workspace, "fp32")
        shutil.move(workspace.images, workspace.root / "usb")
        result = run(workspace.root / "usb")
        assert result.exit_code == 0
        assert {f"{release}: verified", f"{other}: verified"} <= set(result.stdout.splitlines())

    def test_a_layout_with_a_base(self, run: Verify, layout: Layout, release: str) -> None:
        found = layout.images()[release]
        layout.name(f"registry.example/meter:{release}", found)
        layout.name("base-x86", found)
        result = run(layout.path)
        assert result.exit_code == 0
        assert result.stdout.count(f"{release}: verified") == 2
        assert "base-x86: has not the name of a release, so it is not checked" in result.stdout

    def test_a_folder_as_a_pod_has_it(self, run: Verify, models: Path) -> None:
        result = run(models)
        assert result.exit_code == 0
        assert "image" not in result.stdout

    def test_without_a_repository(
        self, run: Verify, workspace: Workspace, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(models.parents[2])
        assert run(models, "--keys", workspace.trusted_keys).exit_code == 0

    def test_the_key_for_trying(self, run: Verify, workspace: Workspace) -> None:
        add_engine(workspace, "fp16")
        publication = publish_on_paper(workspace, "meter-fp16")
        sign.sign_release(workspace, publication.release, None, None, say)
        pack.pack(workspace, publication.release, None, say)
        result = run(publication.release)
        assert result.exit_code == 0
        assert "for-trying" in result.stdout
        assert "for trying only: no pod trusts it" in result.stdout
        keygen.keygen(workspace, "ours")
        assert run(publication.release, "--keys", workspace.trusted_keys).exit_code == 5


class TestFilesThatAreNot:
    """A plain folder; the same code as a pod's, whose tests are in test_signed_folder."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda one: (one / "engine.blob").write_bytes(b"engine in fp61"), "was altered"),
            (lambda one: (one / "engine.blob").unlink(), "engine.blob is missing"),
            (lambda one: (one / FILE).unlink(), "attestation.json in"),
            (lambda one: (one / "extra").write_text(""), "extra is there"),
            (lambda one: (one / FILE).write_text("{}"), "no statement of `release sign`"),
        ],
    )
    def test_refused(
        self, run: Verify, models: Path, change: Callable[[Path], object], said: str
    ) -> None:
        change(models)
        result = run(models)
        assert result.exit_code == 5
        assert said in result.stderr

    def test_an_empty_folder(self, run: Verify, release: str, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert run(tmp_path / "empty").exit_code == 5


class TestKeys:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"valid_until": "2026-02-01T00:00:00Z"}, "expired on 2026-02-01"),
            ({"valid_from": "2999-01-01T00:00:00Z"}, "not valid yet"),
        ],
    )
    def test_one_that_does_not_count(
        self,
        run: Verify,
        workspace: Workspace,
        release: str,
        changes: dict[str, str],
        said: str,
    ) -> None:
        change_key(workspace, **changes)
        result = run(release)
        assert result.exit_code == 5
        assert said in result.stderr

    def test_another(self, run: Verify, workspace: Workspace, release: str) -> None:
        record_file(workspace, "ours").unlink()
        keygen.keygen(workspace, "other")
        result = run(release)
        assert result.exit_code == 5
        assert "none of the trusted keys" in result.stderr

    def test_none(self, run: Verify, workspace: Workspace, release: str) -> None:
        record_file(workspace, "ours").unlink()
        result = run(release)
        assert result.exit_code == 2
        assert "release keygen NAME" in result.stderr

    def test_both_while_one_takes_the_place_of_the_other(
        self, run: Verify, workspace: Workspace, release: str
    ) -> None:
        keygen.keygen(workspace, "next")
        assert "key      ours (" in run(release).stdout
        sign.sign_release(workspace, release, None, str(private_file(workspace, "next")), say)
        pack.pack(workspace, release, None, say)
        assert "key      next (" in run(release).stdout
        record_file(workspace, "ours").unlink()
        assert run(release).exit_code == 0

    @pytest.mark.parametrize(
        ("moved", "said"),
        [
            (timedelta(days=-365 * 56), "this machine's clock says 1970"),
            (timedelta(days=365 * 10), "expired on 2030-01-01"),
        ],
    )
    def test_a_clock_that_is_wrong(
        self,
        run: Verify,
        workspace: Workspace,
        release: str,
        monkeypatch: pytest.MonkeyPatch,
        moved: timedelta,
        said: str,
    ) -> None:
        change_key(workspace, valid_until="2030-01-01T00:00:00Z")

        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                return datetime(2026, 12, 1, tzinfo=timezone.utc) + moved

        monkeypatch.setattr(verify, "datetime", Clock)
        result = run(release)
        assert result.exit_code == 5
        assert said in result.stderr


def put(layout: Layout, name: str, document: dict[str, Any]) -> Descriptor:
    """Put a manifest into the layout under a name, as somebody may who has the disk."""
    data = to_bytes(document)
    descriptor = Descriptor(mediaType=MANIFEST, digest=layout.add(data), size=len(data))
    layout.name(name, descriptor)
    return descriptor


def document_of(layout: Layout, name: str) -> dict[str, Any]:
    return dict(json.loads(layout.blob(layout.image(name).digest).read_bytes()))


class TestImagesThatAreNot:
    def test_no_byte_of_a_blob_can_be_changed(
        self, run: Verify, layout: Layout, release: str
    ) -> None:
        for blob in sorted((layout.path / "blobs" / "sha256").iterdir()):
            content = blob.read_bytes()
            for at in (0, len(content) // 2, len(content) - 1):
                blob.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
                result = run(release)
                assert result.exit_code == 5, blob
                assert "altered" in result.stderr
            blob.write_bytes(content)
        assert run(release).exit_code == 0

    @settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(data=st.data())
    def test_no_bit_of_the_layer_can_be_changed_with_its_digests(
        self, workspace: Workspace, layout: Layout, release: str, data: st.DataObject
    ) -> None:
        """As somebody does who has the registry, and computes every digest anew."""
        image = layout.image(release)
        layer = bytearray(layout.blob(image.manifest.layers[-1].digest).read_bytes())
        at = data.draw(st.integers(0, len(layer) - 1))
        layer[at] ^= 1 << data.draw(st.integers(0, 7))
        forged = forge(layout, release, bytes(layer))
        with pytest.raises(WrongEngine):
            verify.verify(workspace, forged.digest, None, say)

    def test_what_says_nothing_of_the_files(
        self, run: Verify, layout: Layout, release: str
    ) -> None:
        """The owner of the first file in the tar, with the header's checksum."""
        layer = bytearray(
            layout.blob(layout.image(release).manifest.layers[-1].digest).read_bytes()
        )
        header = tarfile.TarInfo.frombuf(bytes(layer[512:1024]), "utf-8", "strict")
        header.uid = 1000
        layer[512:1024] = header.tobuf(tarfile.USTAR_FORMAT)
        result = run(forge(layout, release, bytes(layer)).digest)
        assert result.exit_code == 5
        assert "was altered around them" in result.stderr

    def test_a_layer_of_its_base(self, run: Verify, layout: Layout, release: str) -> None:
        image, base = layout.image(release), io.BytesIO()
        with tarfile.open(fileobj=base, mode="w"):
            pass
        digest = layout.add(base.getvalue())
        config, document = json.loads(image.config_bytes), document_of(layout, release)
        config["rootfs"]["diff_ids"].insert(0, digest)
        data = to_bytes(config)
        document["config"] |= {"digest": layout.add(data), "size": len(data)}
        size = len(base.getvalue())
        document["layers"].insert(0, document["layers"][0] | {"digest": digest, "size": size})
        based = put(layout, "based", document)
        assert run(based.digest).exit_code == 0
        layout.blob(digest).write_bytes(b"x" * size)
        result = run(based.digest)
        assert result.exit_code == 5
        assert f"with the digest {digest}" in result.stderr

    def test_another_release_under_its_name(
        self, run: Verify, workspace: Workspace, layout: Layout, release: str
    ) -> None:
        other = released(workspace, "fp32")
        layout.name(release, layout.images()[other])
        result = run(release)
        assert result.exit_code == 5
        assert "which image.json names" in result.stderr
        image_path(workspace, release).unlink()
        result = run(release)
        assert result.exit_code == 5
        assert "another image was put in its place" in result.stderr

    def test_another_digest_than_the_tag_s(self, run: Verify, release: str) -> None:
        result = run(f"{release}@sha256:{'0' * 64}")
        assert result.exit_code == 5
        assert "which the tag names" in result.stderr

    def test_a_layer_that_was_taken_from_another_image(
        self, run: Verify, workspace: Workspace, layout: Layout, release: str
    ) -> None:
        """Statement and files are right, and they are another release's."""
        other = released(workspace, "fp32")
        mine, theirs = document_of(layout, release), document_of(layout, other)
        replayed = put(layout, "replayed", {**theirs, "annotations": mine["annotations"]})
        result = run(replayed.digest)
        assert result.exit_code == 5
        assert "the annotations of" in result.stderr
        assert "the two are of different images" in result.stderr

    def test_labels_of_another_image(
        self, run: Verify, workspace: Workspace, layout: Layout, release: str
    ) -> None:
        image = layout.image(release)
        config = json.loads(image.config_bytes)
        config["config"]["Labels"]["io.jetrail.target"] = "jetson-orin-nx"
        data = to_bytes(config)
        document = document_of(layout, release)
        document["config"] |= {"digest": layout.add(data), "size": len(data)}
        result = run(put(layout, "labelled", document).digest)
        assert result.exit_code == 5
        assert "Expected io.jetrail.target=x86-openvino in the labels" in result.stderr

    def test_a_statement_without_a_pass(
        self, run: Verify, workspace: Workspace, layout: Layout, release: str
    ) -> None:
        def fail(statement: Statement) -> Statement:
            return statement.model_copy(
                update={"predicate": statement.predicate.model_copy(update={"verdict": "FAIL"})}
            )

        result = run(signed_again(workspace, layout, release, fail).digest)
        assert result.exit_code == 5
        assert "Expected the verdict PASS" in result.stderr

    def test_right_signature_over_another_device_s_engine(
        self, run: Verify, workspace: Workspace, layout: Layout, release: str
    ) -> None:
        def elsewhere(statement: Statement) -> Statement:
            predicate = statement.predicate
            device = predicate.device.model_copy(update={"name": "Another processor"})
            return statement.model_copy(
                update={"predicate": predicate.model_copy(update={"device": device})}
            )

        result = run(signed_again(workspace, layout, release, elsewhere).digest)
        assert result.exit_code == 5
        assert "device.name Another processor, manifest.json says A processor" in result.stderr


Change = Callable[[dict[str, Any]], object]


class TestDocumentsAlteredAround:
    """Every digest is right, every file is what was signed, and something else was added."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda one: one.update(subject={"digest": "x"}), "Expected the manifest sha256:"),
            (lambda one: one.update(artifactType="x/y"), "Expected the manifest sha256:"),
            (lambda one: one.update(Layers=[]), "Expected the manifest sha256:"),
            (lambda one: one["layers"][0].update(urls=["https://a.example/x"]), "manifest sha256:"),
            (lambda one: one["layers"][0].update(data="AAAA"), "Expected the manifest sha256:"),
            (lambda one: one["layers"][0].update(Digest=f"sha256:{'0' * 64}"), "manifest sha256:"),
            (lambda one: one["layers"][0].update(annotations={"a": "b"}), "manifest sha256:"),
            (lambda one: one["config"].update(urls=["file:///etc/passwd"]), "manifest sha256:"),
            (lambda one: one["annotations"].update({"io.jetrail.more": "x"}), "did not write it"),
            (lambda one: one["annotations"].update({f"{OCI}.title": "x"}), "did not write it"),
            (lambda one: one["annotations"].pop("io.jetrail.model"), "io.jetrail.model=meter"),
        ],
    )
    def test_a_manifest(
        self, run: Verify, layout: Layout, release: str, change: Change, said: str
    ) -> None:
        document = document_of(layout, release)
        change(document)
        result = run(put(layout, "altered", document).digest)
        assert result.exit_code == 5, result.output
        assert said in result.stderr

    @pytest.mark.parametrize(
        "change",
        [
            lambda one: one["config"].update(User="0"),
            lambda one: one["config"].update(Env=["LD_PRELOAD=/models/engine.blob"]),
            lambda one: one["config"].update(Entrypoint=["/bin/sh"]),
            lambda one: one["config"]["Labels"].update(more="x"),
            lambda one: one.update(created="1970-01-01T00:00:00Z"),
            lambda one: one.update(author="somebody"),
            lambda one: one.update(variant="v8"),
            lambda one: one.update(Rootfs={"type": "layers", "diff_ids": []}),
            lambda one: one["history"].insert(0, {"created_by": "somebody"}),
            lambda one: one["history"][0].update(comment="x"),
            lambda one: one.update(history="none"),
            lambda one: one.pop("history"),
        ],
    )
    def test_a_config(self, run: Verify, layout: Layout, release: str, change: Change) -> None:
        config = json.loads(layout.image(release).config_bytes)
        change(config)
        result = run(configured(layout, release, to_bytes(config)).digest)
        assert result.exit_code == 5, result.output
        assert "Expected the config sha256:" in result.stderr

    def test_a_key_twice(self, run: Verify, layout: Layout, release: str) -> None:
        """Readers differ in which of the two counts."""
        manifest = layout.blob(layout.image(release).digest).read_bytes()
        forged = b'{"layers":[],' + manifest[1:]
        descriptor = Descriptor(mediaType=MANIFEST, digest=layout.add(forged), size=len(forged))
        layout.name("twice", descriptor)
        result = run(descriptor.digest)
        assert result.exit_code == 5
        assert "Expected the manifest sha256:" in result.stderr
        config = b'{"config":{"User":"0"},' + layout.image(release).config_bytes[1:]
        assert run(configured(layout, release, config).digest).exit_code == 5

    @pytest.mark.parametrize(
        "change",
        [
            {"mode": 0o4755},
            {"mode": 0o666},
            {"gid": 1000},
            {"uname": "root"},
            {"mtime": 1},
        ],
        ids=str,
    )
    def test_a_header_of_the_layer(
        self, run: Verify, layout: Layout, release: str, change: dict[str, Any]
    ) -> None:
        digest = layout.image(release).manifest.layers[-1].digest
        layer = bytearray(layout.blob(digest).read_bytes())
        header = tarfile.TarInfo.frombuf(bytes(layer[512:1024]), "utf-8", "strict")
        for name, value in change.items():
            setattr(header, name, value)
        layer[512:1024] = header.tobuf(tarfile.USTAR_FORMAT)
        result = run(forge(layout, release, bytes(layer)).digest)
        assert result.exit_code == 5
        assert "was altered around them" in result.stderr

    @pytest.mark.parametrize("kind", ["gzip", "zstd"])
    def test_a_layer_that_is_packed(
        self, run: Verify, layout: Layout, release: str, kind: str
    ) -> None:
        """What it would grow to, nobody finds out."""
        document, bomb = document_of(layout, release), gzip.compress(bytes(50 << 20))
        digest = layout.add(bomb)
        document["layers"][-1] |= {
            "mediaType": f"{LAYER}+{kind}",
            "digest": digest,
            "size": len(bomb),
        }
        result = run(put(layout, "packed", document).digest)
        assert result.exit_code == 5
        assert "as a plain tar" in result.stderr

    def test_a_layer_that_lies_elsewhere(self, run: Verify, layout: Layout, release: str) -> None:
        """A foreign one, which a registry need not have."""
        document = document_of(layout, release)
        kind = "application/vnd.oci.image.layer.nondistributable.v1.tar"
        for media_type in (kind, f"{kind}+gzip", "application/vnd.docker.image.rootfs.foreign"):
            document["layers"][0] |= {"mediaType": media_type, "urls": ["https://evil.example/x"]}
            result = run(put(layout, "foreign", document).digest)
            assert result.exit_code == 5
            assert "expected an image's config and layers" in result.stderr

    def test_a_base_may_say_of_itself_what_it_wants(
        self, run: Verify, layout: Layout, release: str
    ) -> None:
        """And is bound by the image's digest, not by the statement."""
        image, digest = layout.image(release), layout.add(bytes(10240))
        config, document = json.loads(image.config_bytes), document_of(layout, release)
        config["rootfs"]["diff_ids"].insert(0, digest)
        config["history"].insert(0, {"created_by": "their builder"})
        config["config"] |= {"User": "1000:1000", "Env": ["A=b"]}
        config["config"]["Labels"]["theirs"] = "1"
        config["variant"] = "v2"
        data = to_bytes(config)
        document["config"] |= {"digest": layout.add(data), "size": len(data)}
        document["layers"].insert(0, document["layers"][0] | {"digest": digest, "size": 10240})
        assert run(put(layout, "based", document).digest).exit_code == 0
        config["history"][-1]["comment"] = "not /models"
        data = to_bytes(config)
        document["config"] |= {"digest": layout.add(data), "size": len(data)}
        assert run(put(layout, "based", document).digest).exit_code == 5


class TestHostileImages:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda one: one.update(mediaType="application/vnd.docker.x"), "mediaType"),
            (lambda one: one["config"].update(mediaType="application/x"), "an image's config"),
            (lambda one: one["layers"][0].update(mediaType="text/html"), "an image's config"),
            (lambda one: one["config"].update(size=1 << 40), "size"),
            (lambda one: one["config"].update(size=(4 << 20) + 1), "at most 4194304 bytes"),
            (lambda one: one["config"].update(digest="sha256:../../x"), "digest"),
            (lambda one: one["layers"].extend(one["layers"] * 127), "layers"),
            (lambda one: one.update(layers=[]), "layers"),
            (lambda one: one["layers"][0].pop("size"), "layers.0.size"),
            (lambda one: one["layers"][0].update(size=-1), "layers.0.size"),
            (lambda one: one["layers"][0].update(size="1"), "layers.0.size"),
            (lambda one: one["layers"][0].update(size=1.5), "layers.0.size"),
            (lambda one: one["layers"][0].update(size=None), "layers.0.size"),
            (lambda one: one["layers"][0].pop("digest"), "layers.0.digest"),
            (lambda one: one["layers"][0].update(digest="sha512:" + "0" * 128), "layers.0.digest"),
            (lambda one: one["layers"][0].update(digest="SHA256:" + "0" * 64), "layers.0.digest"),
            (lambda one: one["config"].pop("size"), "config.size"),
            (lambda one: one["config"].update(size=0), "another content"),
            (lambda one: one.pop("config"), "config"),
            (lambda one: one.pop("schemaVersion"), "schemaVersion"),
            (lambda one: one.update(schemaVersion="2"), "schemaVersion"),
            (lambda one: one.update(layers=[one["config"]]), "an image's config"),
            (lambda one: one.update(layers={"0": one["layers"][0]}), "layers"),
            (lambda one: one.update(annotations={str(i): "" for i in range(999)}), "annotations"),
        ],
    )
    def test_a_manifest(
        self, run: Verify, layout: Layout, release: str, change: Callable[[Any], None], said: str
    ) -> None:
        document = document_of(layout, release)
        change(document)
        result = run(put(layout, "hostile", document).digest)
        assert result.exit_code == 5
        assert said in result.stderr

    def test_a_giant_manifest(self, run: Verify, layout: Layout, release: str) -> None:
        data = b" " * ((4 << 20) + 1)
        layout.name(
            "giant", Descriptor(mediaType=MANIFEST, digest=layout.add(data), size=len(data))
        )
        result = run(digest_of(data))
        assert result.exit_code == 5
        assert "at most 4194304 bytes" in result.stderr

    @settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(data=st.binary(max_size=500))
    def test_whatever_else(
        self, workspace: Workspace, layout: Layout, release: str, data: bytes
    ) -> None:
        layout.name("odd", Descriptor(mediaType=MANIFEST, digest=layout.add(data), size=len(data)))
        with pytest.raises(WrongEngine):
            verify.verify(workspace, digest_of(data), None, say)


class TestWhatIsNotThere:
    @pytest.mark.parametrize(
        ("what", "said"),
        [
            (f"v1.0-{TARGET}-fp16-{'0' * 12}", "Make it with `release pack`"),
            (f"sha256:{'0' * 64}", "Make it with `release pack`"),
            ("nowhere/models", "Expected"),
            ("registry.example/meter:v1", "Expected"),
        ],
    )
    def test_bad_input(self, run: Verify, release: str, what: str, said: str) -> None:
        result = run(what)
        assert result.exit_code == 2
        assert said in result.stderr

    def test_an_empty_layout(self, run: Verify, release: str, tmp_path: Path) -> None:
        Layout(tmp_path / "layout").prepare()
        result = run(tmp_path / "layout")
        assert result.exit_code == 2
        assert "got none. Make one with `release pack`" in result.stderr


def forge(layout: Layout, release: str, layer: bytes) -> Descriptor:
    """The image of a release with another layer, in which every digest is right."""
    image = layout.image(release)
    document, config = document_of(layout, release), json.loads(image.config_bytes)
    digest = layout.add(layer)
    config["rootfs"]["diff_ids"][-1] = digest
    data = to_bytes(config)
    document["config"] |= {"digest": layout.add(data), "size": len(data)}
    document["layers"][-1] |= {"digest": digest, "size": len(layer)}
    return put(layout, "forged", document)


def configured(layout: Layout, release: str, config: bytes) -> Descriptor:
    """The image of a release with another config."""
    document = document_of(layout, release)
    document["config"] |= {"digest": layout.add(config), "size": len(config)}
    return put(layout, "configured", document)


def signed_again(
    workspace: Workspace, layout: Layout, release: str, change: Callable[[Statement], Statement]
) -> Descriptor:
    """The image of a release whose key's owner signed another statement about it."""
    key = open_key(workspace, str(private_file(workspace, "ours")))
    path = attestation_path(workspace, release)
    statement = verify_envelope(path.read_bytes(), [key.record]).statement
    before = path.read_bytes()
    layer = layout.blob(layout.image(release).manifest.layers[-1].digest).read_bytes()
    return forge(layout, release, swap(layer, before, seal(change(statement), key)))


def swap(layer: bytes, before: bytes, after: bytes) -> bytes:
    """The tar of a layer with other bytes in its attestation.json."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(layer)) as old:
        for entry in old:
            data = old.extractfile(entry).read() if entry.isfile() else b""  # type: ignore[union-attr]
            data = after if data == before else data
            entry.size = len(data)
            out.write(entry.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
    return out.getvalue() + bytes(1024)
