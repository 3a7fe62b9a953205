"""A layout: what is written is found again, whole; what others wrote is believed in nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from factories.images import NAME, add_foreign, add_image, layer_files, make_layout, tar_of

from engines.errors import InputError, WrongEngine
from engines.files import sha256_file
from release.image.layout import Layout
from release.image.oci import (
    CONFIG,
    LAYER,
    MAX_DOCUMENT_BYTES,
    MAX_LAYERS,
    Descriptor,
    digest_of,
    to_bytes,
)

ROOT = Path(__file__).parents[4]
CONTENTS = {"engine.blob": b"an engine", "manifest.json": b"{}"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_layout(tmp_path / "images")


def state(layout: Layout) -> dict[str, bytes]:
    return {
        str(path.relative_to(layout.path)): path.read_bytes()
        for path in layout.path.rglob("*")
        if path.is_file()
    }


def edit_index(layout: Layout, **changes: Any) -> None:
    path = layout.path / "index.json"
    document = json.loads(path.read_text())
    document["manifests"][0].update(changes)
    path.write_text(json.dumps(document))


class TestWriting:
    def test_as_the_image_spec_says(self, layout: Layout, tmp_path: Path) -> None:
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        assert json.loads((layout.path / "oci-layout").read_text()) == {
            "imageLayoutVersion": "1.0.0"
        }
        index = json.loads((layout.path / "index.json").read_text())
        (entry,) = index["manifests"]
        assert entry == {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest,
            "size": image.descriptor.size,
            "platform": {"architecture": "amd64", "os": "linux"},
            "annotations": {"org.opencontainers.image.ref.name": NAME},
        }
        manifest = json.loads(layout.blob(image.digest).read_bytes())
        config = json.loads(image.config_bytes)
        (layer,) = manifest["layers"]
        assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
        assert manifest["annotations"] == {"io.jetrail.model": "meter"}
        assert config["config"]["Labels"] == manifest["annotations"]
        for path in (layout.path / "blobs" / "sha256").iterdir():
            assert path.name == sha256_file(path)

    def test_a_rerun_writes_nothing(self, layout: Layout, tmp_path: Path) -> None:
        files = layer_files(tmp_path / "in", CONTENTS)
        image = add_image(layout, files)
        times = {path: path.stat().st_mtime_ns for path in layout.path.rglob("*")}
        assert add_image(layout, files) == image
        assert {path: path.stat().st_mtime_ns for path in layout.path.rglob("*")} == times

    def test_images_share_their_blobs(self, layout: Layout, tmp_path: Path) -> None:
        base = add_image(layout, layer_files(tmp_path / "base", {"base": b"b"}), name="base")
        before = set(state(layout))
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS), name="first", base=base)
        assert len(set(state(layout)) - before) == 3  # layer, config and manifest
        assert image.manifest.layers[:-1] == base.manifest.layers
        assert image.config.rootfs.diff_ids[:-1] == base.config.rootfs.diff_ids
        assert layout.files(image).keys() == CONTENTS.keys()
        assert set(layout.images()) == {"base", "first"}

    def test_a_name_is_one_image(self, layout: Layout, tmp_path: Path) -> None:
        add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        image = add_image(layout, layer_files(tmp_path / "in", {"engine.blob": b"another"}))
        assert {name: one.digest for name, one in layout.images().items()} == {NAME: image.digest}

    def test_an_image_whose_name_is_another_s_by_now(self, layout: Layout, tmp_path: Path) -> None:
        """A base that was built again: until bases.yaml names the new one, it is that one."""
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        add_image(layout, layer_files(tmp_path / "in", {"engine.blob": b"another"}))
        again = layout.image(image.digest)
        assert (again.digest, again.manifest) == (image.digest, image.manifest)
        assert layout.files(again).keys() == CONTENTS.keys()
        layer = image.manifest.layers[0].digest
        assert layout.has_image(layer)
        with pytest.raises(WrongEngine):  # no manifest
            layout.image(layer)
        with pytest.raises(InputError):
            layout.image("sha256:../../index.json")

    def test_an_altered_blob_is_written_again(self, layout: Layout, tmp_path: Path) -> None:
        files = layer_files(tmp_path / "in", CONTENTS)
        image = add_image(layout, files)
        whole = state(layout)
        for path in (layout.path / "blobs" / "sha256").iterdir():
            path.write_bytes(b"half")
        assert add_image(layout, files).digest == image.digest
        assert state(layout) == whole

    def test_what_a_killed_command_left_goes(self, layout: Layout) -> None:
        whole = state(layout)
        for folder in (layout.path, layout.path / "blobs" / "sha256"):
            (folder / ".jetrail-abc").mkdir()
            (folder / ".jetrail-abc" / "half").write_bytes(b"1")
        layout.prepare()
        assert state(layout) == whole

    def test_a_base_for_another_machine(self, layout: Layout, tmp_path: Path) -> None:
        add_foreign(layout, [tar_of()], name="base", config={"architecture": "arm64"})
        with pytest.raises(InputError, match="Expected a base for linux/amd64"):
            add_image(layout, layer_files(tmp_path, CONTENTS), name="x", base=layout.image("base"))

    def test_what_the_base_says_besides_is_kept(self, layout: Layout, tmp_path: Path) -> None:
        settings = {
            "config": {"User": "1000", "Entrypoint": ["runtime"], "Labels": {"theirs": "1"}},
            "history": [{"created_by": "debian"}],
            "variant": "v2",
        }
        add_foreign(layout, [tar_of()], name="base", config=settings)
        image = add_image(
            layout, layer_files(tmp_path, CONTENTS), name="x", base=layout.image("base")
        )
        config = json.loads(image.config_bytes)
        assert config["config"]["User"] == "1000"
        assert config["config"]["Entrypoint"] == ["runtime"]
        assert config["config"]["Labels"] == {"theirs": "1", "io.jetrail.model": "meter"}
        assert config["history"][0] == {"created_by": "debian"}
        assert len(config["history"]) == 2


class TestReading:
    def test_the_files_of_an_image(self, layout: Layout, tmp_path: Path) -> None:
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        folder = tmp_path / "out"
        folder.mkdir()
        layout.files(layout.image(image.digest), folder)
        assert {one.name: one.read_bytes() for one in folder.iterdir()} == CONTENTS
        layout.check_layers(image)

    def test_no_layout(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no index\.json"):
            Layout(tmp_path).images()

    def test_no_such_image(self, layout: Layout) -> None:
        with pytest.raises(
            InputError, match="got none.*or copy release/images from where it was packed"
        ):
            layout.image(NAME)

    def test_a_byte_of_any_blob_is_altered(self, layout: Layout, tmp_path: Path) -> None:
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        for path in (layout.path / "blobs" / "sha256").iterdir():
            whole = path.read_bytes()
            for changed in (whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"\0", whole[:-1]):
                path.write_bytes(changed)
                with pytest.raises(WrongEngine, match="It was altered"):
                    layout.check_layers(layout.image(image.digest))
                    layout.files(layout.image(image.digest))
            path.write_bytes(whole)
        assert layout.files(image)

    def test_a_blob_that_is_a_link(self, layout: Layout, tmp_path: Path) -> None:
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        path = layout.blob(image.digest)
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(WrongEngine, match="it cannot be read"):
            layout.image(image.digest)

    def test_a_blob_that_is_a_pipe(self, layout: Layout, tmp_path: Path) -> None:
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        layout.blob(image.digest).unlink()
        os.mkfifo(layout.blob(image.digest))
        with pytest.raises(WrongEngine, match="It was altered"):
            layout.image(image.digest)

    @pytest.mark.parametrize("kind", ["a pipe", "a link", "a folder"])
    def test_an_index_that_is_no_file(self, layout: Layout, tmp_path: Path, kind: str) -> None:
        """A pipe would be waited for, a link leads anywhere."""
        path = layout.path / "index.json"
        path.rename(tmp_path / "index.json")
        if kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a link":
            path.symlink_to(tmp_path / "index.json")
        else:
            path.mkdir()
        with pytest.raises(WrongEngine):
            layout.images()

    def test_giant_documents(self, layout: Layout, tmp_path: Path) -> None:
        image = add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        edit_index(layout, size=MAX_DOCUMENT_BYTES + 1)
        with pytest.raises(WrongEngine, match="Expected a document of at most"):
            layout.image(image.digest)
        (layout.path / "index.json").write_bytes(b" " * (MAX_DOCUMENT_BYTES + 1))
        with pytest.raises(WrongEngine, match="Expected an index of at most"):
            layout.images()

    def test_a_name_twice(self, layout: Layout, tmp_path: Path) -> None:
        add_image(layout, layer_files(tmp_path / "in", CONTENTS))
        path = layout.path / "index.json"
        document = json.loads(path.read_text())
        document["manifests"] *= 2
        path.write_text(json.dumps(document))
        with pytest.raises(WrongEngine, match="Expected each name once"):
            layout.image(NAME)

    @pytest.mark.parametrize(
        "manifest",
        [
            {"mediaType": "application/vnd.oci.image.index.v1+json"},
            {"schemaVersion": 1},
            {"layers": []},
            {"layers": [{"mediaType": LAYER, "digest": "sha256:../../etc/passwd", "size": 1}]},
            {"layers": [{"mediaType": "text/html", "digest": digest_of(b""), "size": 0}]},
            {"layers": [{"mediaType": LAYER, "digest": digest_of(b""), "size": -1}]},
            {"layers": [{"mediaType": LAYER, "digest": digest_of(b""), "size": 1 << 60}]},
            {"layers": [{"mediaType": LAYER, "digest": digest_of(b""), "size": 0}] * 128},
            {"config": {"mediaType": "application/x", "digest": digest_of(b""), "size": 0}},
        ],
    )
    def test_manifests_that_are_none(self, layout: Layout, manifest: dict[str, Any]) -> None:
        assert MAX_LAYERS < 128
        add_foreign(layout, [tar_of()], manifest=manifest)
        with pytest.raises(WrongEngine, match="is not an OCI manifest that can be read"):
            layout.image(NAME)

    def test_an_index_where_an_image_should_be(self, layout: Layout) -> None:
        add_foreign(layout, [tar_of()])
        edit_index(layout, mediaType="application/vnd.oci.image.index.v1+json")
        with pytest.raises(WrongEngine, match="Only images are read"):
            layout.image(NAME)

    @pytest.mark.parametrize(
        "config",
        [
            {"rootfs": {"type": "layers", "diff_ids": []}},
            {"rootfs": {"type": "layers", "diff_ids": [digest_of(b"")] * 2}},
            {"rootfs": {"type": "other", "diff_ids": [digest_of(b"")]}},
            {"architecture": 7},
        ],
    )
    def test_configs_that_are_none(self, layout: Layout, config: dict[str, Any]) -> None:
        add_foreign(layout, [tar_of()], config=config)
        with pytest.raises(WrongEngine):
            layout.image(NAME)

    def test_a_layer_that_is_not_the_config_s(self, layout: Layout) -> None:
        layer = tar_of(("models/engine.blob", b"0", b"x"))
        rootfs = {"rootfs": {"type": "layers", "diff_ids": [digest_of(b"another")]}}
        add_foreign(layout, [layer], config=rootfs)
        with pytest.raises(WrongEngine, match="Expected the layer with the engine on top"):
            layout.files(layout.image(NAME))

    def test_a_layer_above_ours(self, layout: Layout, tmp_path: Path) -> None:
        ours = add_image(layout, layer_files(tmp_path, CONTENTS), name="ours")
        below = layout.blob(ours.manifest.layers[0].digest).read_bytes()
        add_foreign(layout, [below, tar_of(("models/.wh.engine.blob", b"0", b""))])
        with pytest.raises(WrongEngine, match="Expected a layer with nothing but the files"):
            layout.files(layout.image(NAME))

    def test_deeply_nested_documents(self, layout: Layout) -> None:
        data = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
        layout.add(data)
        descriptor = Descriptor(
            mediaType="application/vnd.oci.image.manifest.v1+json",
            digest=digest_of(data),
            size=len(data),
        )
        with pytest.raises(WrongEngine):
            layout.image_of(descriptor)


MEMORY = """
import re, sys
from pathlib import Path
from engines.files import sha256_file
from release.image.layer import LayerFile, layer_chunks
from release.image.layout import Layout
from release.image.oci import LAYER
engine, layout = Path(sys.argv[1]), Layout(Path(sys.argv[2]))
layout.prepare()
files = {"engine.plan": LayerFile(engine, sha256_file(engine))}
layer = layout.add_stream(lambda: layer_chunks(files), LAYER)
assert layout.has(layer) and layer.size > engine.stat().st_size
# Not getrusage: its peak is that of the process that started this one, too.
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def test_a_large_engine_takes_no_memory(tmp_path: Path) -> None:
    """It is a stream, so that 2 GB take what 256 MB take."""
    engine = tmp_path / "engine.plan"
    with engine.open("wb") as file:
        file.truncate(256 << 20)
    words = [sys.executable, "-c", MEMORY, engine, tmp_path / "images"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 128


def test_documents_have_one_spelling() -> None:
    assert to_bytes({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    assert CONFIG in str(Descriptor(mediaType=CONFIG, digest=digest_of(b""), size=0))
