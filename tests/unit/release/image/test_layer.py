"""The layer: the same bytes wherever it is made, and what is taken out of one is what went in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from factories.images import layer_files, tar_of
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import InputError, WrongEngine
from release.image import layer
from release.image.layer import LayerFile, layer_chunks
from release.image.reading import MAX_FILES, Taken, take_files

CONTENTS = {"manifest.json": b'{"a": 1}\n', "engine.blob": bytes(range(256)) * 3, "empty": b""}
DIGEST = "fcacaf3e5c701dcb69076d9571ecbb2bb75860b26a77e5d84c412e160aca6394"
"""Of the layer with CONTENTS, on every machine and Python there is."""

SCRIPT = """
import hashlib, json, os, sys, time
sys.dont_write_bytecode = True
from pathlib import Path
os.umask(0o077)
time.time = lambda: 5e8
time.tzset()
from release.image.layer import LayerFile, layer_chunks
os.setuid(int(sys.argv[2]))
files = {k: LayerFile(Path(p), s) for k, (p, s) in json.loads(sys.argv[1]).items()}
print(hashlib.sha256(b"".join(layer_chunks(files))).hexdigest(), os.getuid())
"""
ROOT = Path(__file__).parents[4]


def made(folder: Path, contents: dict[str, bytes]) -> bytes:
    return b"".join(layer_chunks(layer_files(folder, contents)))


def test_the_digest_is_known(tmp_path: Path) -> None:
    assert hashlib.sha256(made(tmp_path, CONTENTS)).hexdigest() == DIGEST


def elsewhere(tmp_path: Path, python: str, uid: int) -> str:
    """What SCRIPT says in another environment, of files with other times and modes."""
    files = layer_files(tmp_path / "one", CONTENTS)
    for file in files.values():
        os.utime(file.path, (1, 1))
        file.path.chmod(0o444)
    for folder in (tmp_path / "one", tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    given = {name: (str(file.path), file.sha256) for name, file in reversed(files.items())}
    done = subprocess.run(
        [python, "-c", SCRIPT, json.dumps(given), str(uid)],
        cwd="/",
        env={"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_user_clock_umask_and_order(tmp_path: Path) -> None:
    uid = os.getuid() or 65534  # only root may become another
    assert elsewhere(tmp_path, sys.executable, uid) == f"{DIGEST} {uid}"


def test_every_python_that_is_here(tmp_path: Path) -> None:
    """Each writes tar's headers by itself."""
    found = [shutil.which(f"python3.{minor}") for minor in range(10, 16)]
    homes = (Path.home() / ".pyenv" / "versions").glob("3.1*/bin/python")
    for number, python in enumerate({sys.executable, *filter(None, found), *map(str, homes)}):
        if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            folder = tmp_path / str(number)  # the files of one are read-only
            folder.mkdir()
            assert elsewhere(folder, python, os.getuid()).split()[0] == DIGEST, python


def test_other_readers_agree(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(made(tmp_path, CONTENTS))) as tar:
        entries = tar.getmembers()
        assert [one.name for one in entries] == [
            "models",
            *(f"models/{name}" for name in sorted(CONTENTS)),
        ]
        for one in entries:
            assert (one.mtime, one.uid, one.gid, one.uname) == (0, 0, 0, "")
            assert one.mode == (0o755 if one.isdir() else 0o644)
            if one.isfile():
                read = tar.extractfile(one)
                assert read is not None
                assert read.read() == CONTENTS[one.name.removeprefix("models/")]


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}", fullmatch=True)


@given(contents=st.dictionaries(names, st.binary(max_size=1500), min_size=1, max_size=5))
def test_what_went_in_is_taken_out(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("layer")
    (folder / "out").mkdir()
    found = take_files(io.BytesIO(made(folder / "in", contents)), folder / "out")
    assert found == {
        name: Taken(hashlib.sha256(content).hexdigest(), len(content))
        for name, content in contents.items()
    }
    assert {one.name: one.read_bytes() for one in (folder / "out").iterdir()} == contents


def test_a_file_that_is_another(tmp_path: Path) -> None:
    files = layer_files(tmp_path, {"engine.blob": b"an engine"})
    files["engine.blob"].path.write_bytes(b"an Engine")
    with pytest.raises(WrongEngine, match="is not the file that was signed for this image"):
        list(layer_chunks(files))


@pytest.mark.parametrize("change", [b"", b"shorter", b"much longer than the engine was"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: bytes) -> None:
    files = layer_files(tmp_path, {"engine.blob": b"an engine"})
    chunks = layer_chunks(files)
    next(chunks)  # the folder
    next(chunks)  # the header, with the size
    files["engine.blob"].path.write_bytes(change)
    with pytest.raises(WrongEngine, match="is not the file that was signed"):
        list(chunks)


def test_a_file_that_no_tar_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "MAX_FILE_BYTES", 4)
    with pytest.raises(InputError, match="Expected files of less than"):
        list(layer_chunks({"engine.blob": LayerFile(_file(tmp_path), "0" * 64)}))


def _file(folder: Path) -> Path:
    (folder / "engine.blob").write_bytes(b"12345")
    return folder / "engine.blob"


REG, DIR = tarfile.REGTYPE, tarfile.DIRTYPE


def pax_of(name: str, *, kind: bytes = tarfile.XHDTYPE, **keys: str) -> bytes:
    """A file behind an extended header, which says other things of it."""
    record = b"".join(pax_record(key.encode(), value.encode()) for key, value in keys.items())
    return tar_of(("x", kind, record), (name, REG, b"1"))


def pax_record(key: bytes, value: bytes) -> bytes:
    """`LENGTH key=value\\n`, with the length of the whole."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length + rest) != length:
        length += 1
    return b"%d" % length + rest


HOSTILE = {
    "above": tar_of(("models/../etc/passwd", REG, b"x")),
    "absolute": tar_of(("/models/engine.blob", REG, b"x")),
    "elsewhere": tar_of(("etc/passwd", REG, b"x")),
    "below": tar_of(("models/deep/engine.blob", REG, b"x")),
    "dots": tar_of(("models/..", REG, b"x")),
    "link": tar_of(("models/engine.blob", tarfile.SYMTYPE, "/etc/passwd")),
    "hard link": tar_of(("models/engine.blob", tarfile.LNKTYPE, "../etc/passwd")),
    "folder as a link": tar_of(("models", tarfile.SYMTYPE, "/etc"), ("models/x", REG, b"x")),
    "device": tar_of(("models/engine.blob", tarfile.CHRTYPE, b"")),
    "pipe": tar_of(("models/engine.blob", tarfile.FIFOTYPE, b"")),
    "block device": tar_of(("models/engine.blob", tarfile.BLKTYPE, b"")),
    "contiguous": tar_of(("models/engine.blob", tarfile.CONTTYPE, b"x")),
    "sparse": tar_of(("models/engine.blob", tarfile.GNUTYPE_SPARSE, b"x")),
    "long link": tar_of(("models/engine.blob", tarfile.GNUTYPE_LONGLINK, b"/etc/passwd\0")),
    "another volume": tar_of(("models/engine.blob", b"M", b"x")),
    "volume's name": tar_of(("models", b"V", b""), ("models/a", REG, b"1")),
    "pax path": pax_of("models/a", path="../../etc/passwd"),
    "pax link": pax_of("models/a", linkpath="/etc/passwd"),
    "pax size": pax_of("models/a", size="99999999999"),
    "pax sparse": pax_of("models/a", **{"GNU.sparse.major": "1", "GNU.sparse.name": "/etc/passwd"}),
    "pax for all": pax_of("models/a", kind=tarfile.XGLTYPE, path="/etc/passwd"),
    "solaris' pax": pax_of("models/a", kind=tarfile.SOLARIS_XHDTYPE, path="/etc/passwd"),
    "file as the folder": tar_of(("models", REG, b"x")),
    "folder below": tar_of(("models", DIR, b""), ("models/deep", DIR, b"")),
    "folder above": tar_of(("models", DIR, b""), ("..", DIR, b""), ("models/a", REG, b"1")),
    "slash behind": tar_of(("models/a/", tarfile.AREGTYPE, b"1")),
    "two slashes": tar_of(("models//a", REG, b"1")),
    "dot between": tar_of(("models/./a", REG, b"1")),
    "backslash": tar_of(("models/..\\a", REG, b"1")),
    "line break": tar_of(("models/a\nb", REG, b"1")),
    "letters that are no ASCII": tar_of(("models/\u202eblob", REG, b"1")),
    "wrong checksum": tar_of(("models/a", REG, b"1")).replace(b"models/a", b"models/b"),
    "second archive": tar_of(("models/a", REG, b"1")) + tar_of(("models/b", REG, b"1")),
    "whiteout": tar_of(("models/.wh.engine.blob", REG, b"")),
    "opaque": tar_of(("models/.wh..wh..opq", REG, b"")),
    "twice": tar_of(("models/a", REG, b"1"), ("models/a", REG, b"2")),
    "long name": tar_of(("models/" + "a" * 200, REG, b"1")),
    "nothing": tar_of(("models", DIR, b"")),
    "empty": b"",
    "many": tar_of(*((f"models/{number}", REG, b"") for number in range(MAX_FILES + 1))),
    "no tar": b"something else" * 100,
    "behind the end": tar_of(("models/a", REG, b"1")) + b"hidden" + bytes(506),
    "cut off": tar_of(("models/a", REG, bytes(2000)))[:1500],
    "without an end": tar_of(("models/a", REG, b"1"))[:1024],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layers(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(WrongEngine, match="Expected a layer with nothing but the files"):
        take_files(io.BytesIO(HOSTILE[name]), folder)
    assert {path.name for path in tmp_path.rglob("*")} <= {"out", "a", *map(str, range(99))}


def test_a_claimed_size_takes_no_memory() -> None:
    """A header may say anything: 8 GiB less a byte here, and nothing behind it."""
    entry = tarfile.TarInfo("models/engine.blob")
    entry.size = (8 << 30) - 1
    with pytest.raises(WrongEngine, match="in the middle of a file"):
        take_files(io.BytesIO(entry.tobuf(tarfile.USTAR_FORMAT)))
    entry.size = -1 & (1 << 80) - 1
    with pytest.raises(WrongEngine, match="no file right below"):
        take_files(io.BytesIO(entry.tobuf(tarfile.GNU_FORMAT)))


@given(data=st.binary(max_size=2048))
def test_anything_is_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(WrongEngine):
        take_files(io.BytesIO(data))
