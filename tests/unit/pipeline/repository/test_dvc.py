"""pipeline.repository.dvc: DVC's own words reach whoever has to act on them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from pipeline.repository import dvc
from pipeline.repository.dvc import dvc_add, dvc_pull, locked_stages


def test_why_dvc_did_not_add_is_said(tmp_path: Path) -> None:
    """Without git: a folder that was unpacked from an archive, for example."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "weights.pt").write_bytes(b"weights")
    with pytest.raises(InputError, match=r"is not a git repository\. Make .*`git init`") as caught:
        dvc_add(tmp_path, [tmp_path / "weights.pt"])
    assert "\n" not in str(caught.value)


def test_a_folder_that_dvc_s_cache_lacks_a_part_of_is_not_added(tmp_path: Path) -> None:
    """As on a full disk: DVC says so for each file, and ends with 0."""
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True
    )
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a", "b"):
        (data / name).write_text(name)
    in_the_way = tmp_path / ".dvc/cache/files/md5" / hashlib.md5(b"a").hexdigest()[:2]
    in_the_way.parent.mkdir(parents=True)
    in_the_way.symlink_to("/nowhere/at/all")
    with pytest.raises(InputError, match="it said: ERROR: failed to transfer"):
        dvc_add(tmp_path, [data])


def test_a_part_of_a_lock_file_is_said_with_what_to_do(tmp_path: Path) -> None:
    """What a full disk leaves, since DVC writes it in place."""
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True
    )
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: 'true'}}")
    (tmp_path / "dvc.lock").touch()
    (tmp_path / "weights.pt").touch()
    for asked in (
        lambda: dvc_add(tmp_path, [tmp_path / "weights.pt"]),
        lambda: locked_stages(Workspace(root=tmp_path), tmp_path),
    ):
        with pytest.raises(InputError, match="validation failed.*`git checkout -- dvc.lock`"):
            asked()


def test_stages_of_which_all_ran_are_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC reads the dvc.yaml anew for each name: with four models `pull` took a minute."""
    ran = ("build@a-fp16", "build@a-int8", "gate@a-fp16", "probe")
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": dict.fromkeys(ran)}))
    listed = "\n".join(f"t/dvc.yaml:{one}" for one in (*ran, "gate@a-int8", "report"))
    done = subprocess.CompletedProcess([], 0, stdout=listed, stderr="")
    monkeypatch.setattr(dvc, "_asked", lambda *_: done)
    names = locked_stages(Workspace(root=tmp_path), tmp_path)
    assert names == [f"t/dvc.yaml:{one}" for one in ("build", "gate@a-fp16", "probe")]


def test_a_new_clone_without_a_remote_is_not_told_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True
    )
    names = [f"{index}.png.dvc" for index in range(20)]
    for index, name in enumerate(names):
        (tmp_path / name).write_text(f"outs: [{{md5: a{index:031x}, size: 1, path: {name[:-4]}}}]")
    with pytest.raises(InputError, match=r"where it was made name one with `dvc remote add"):
        dvc_pull(Workspace(root=tmp_path), names)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "ERROR: Checkout failed for following targets:"
    assert "(and 15 lines more)" in said
    assert len(said) == 9


def test_a_remote_that_is_not_reached_is_not_said_to_lack_all(tmp_path: Path) -> None:
    """As a network folder that is not mounted: DVC only lists each file as missing."""
    for words in (
        "init -q --no-scm",
        f"remote add -q --default store {tmp_path}/not-mounted",
        "add -q weights.pt",
    ):
        (tmp_path / "weights.pt").write_bytes(b"weights")
        subprocess.run([sys.executable, "-m", "dvc", *words.split()], cwd=tmp_path, check=True)
    (tmp_path / "weights.pt").unlink()
    shutil.rmtree(tmp_path / ".dvc/cache")
    with pytest.raises(ServiceError) as failed:
        dvc_pull(Workspace(root=tmp_path), ["weights.pt.dvc"])
    said = str(failed.value)
    assert "its remote store, but" in said
    assert said.index("reaches it (`dvc remote list`") < said.index("`dvc push`")


def test_files_of_dvc_s_stages_that_stand_in_the_way_can_be_let_go(tmp_path: Path) -> None:
    """As the tables that `pipeline report` writes, after `git revert`: no .dvc file is theirs."""
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True
    )
    (tmp_path / "dvc.yaml").write_text("stages: {report: {cmd: echo a > a.csv, outs: [a.csv]}}")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv").write_text("written by hand")
    with pytest.raises(InputError) as refused:
        dvc_pull(Workspace(root=tmp_path), ["report"])
    (command,) = re.findall(r"`(dvc checkout --force)` and their paths", str(refused.value))
    assert "remote" not in str(refused.value)
    run = [sys.executable, "-m", *command.split(), "a.csv"]
    subprocess.run(run, cwd=tmp_path, check=True)
    dvc_pull(Workspace(root=tmp_path), ["report"])
    assert (tmp_path / "a.csv").read_text() == "a\n"


def test_a_reader_who_left_does_not_end_dvc(tmp_path: Path) -> None:
    """`pipeline pull | head -1` was told that the remote lacks something."""
    for words in ("init -q --no-scm", "add -q weights.pt"):
        (tmp_path / "weights.pt").write_bytes(b"weights")
        subprocess.run([sys.executable, "-m", "dvc", *words.split()], cwd=tmp_path, check=True)
    (tmp_path / "weights.pt").unlink()
    reader, writer = os.pipe()
    os.close(reader)
    code = (
        "from pathlib import Path\n"
        "from engines import streams\n"
        "from engines.config.workspace import Workspace\n"
        "from pipeline.repository.dvc import dvc_pull\n"
        "streams.prepare()\n"
        "dvc_pull(Workspace(root=Path.cwd()), ['weights.pt.dvc'])\n"
    )
    pull = [sys.executable, "-c", code]
    pulled = subprocess.run(pull, cwd=tmp_path, stdout=writer, check=False)
    os.close(writer)
    assert pulled.returncode == 0
    (tmp_path / "weights.pt").unlink()
    assert "weights.pt" in subprocess.check_output(pull, cwd=tmp_path, text=True)
