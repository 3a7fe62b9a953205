"""`runtime check`: what may run here is loaded and looked at, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import served
from factories.paper import edit
from factories.signed import Signer
from typer.testing import CliRunner

from engines.detect.detector import Detector
from engines.detect.golden import Golden, read_golden, write_golden
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest
from runtime import cli
from runtime.check import admit
from runtime.trust import ExpectedRelease


def refused(wanted: ExpectedRelease, said: str) -> None:
    with pytest.raises(WrongEngine, match=said):
        admit(wanted)


def test_what_was_signed_is_admitted(wanted: ExpectedRelease) -> None:
    admitted = admit(wanted, rounds=5)
    admitted.detector.close()
    report = admitted.report
    assert report.ok
    assert report.release == served.RELEASE
    assert (report.engine, report.model_version, report.signed_by) == ("tiny-fp32", "1.0", "ours")
    golden = report.golden
    assert (golden.frames, golden.objects, golden.missing, golden.unexpected) == (3, 3, 0, 0)
    assert golden.sha256 == EngineFolder(wanted.folder).sha256("golden.npz")
    assert report.times.count == 3 + 5 - 1
    assert 0 < report.times.p50_ms <= report.times.p99_ms


def test_an_engine_that_finds_other_boxes_is_refused(
    wanted: ExpectedRelease, signer: Signer, tmp_path: Path
) -> None:
    """Signed with golden boxes that this engine does not find."""
    other = tmp_path / "other"
    served.build(other, box=(2.0, 7.0, 22.0, 37.0))
    golden = EngineFolder(wanted.folder).golden
    (other / "golden.npz").write_bytes(golden.read_bytes())
    served.judge_and_sign(other, signer)
    refused(
        ExpectedRelease(folder=other, keys=wanted.keys),
        "find the 3 boxes .* 3 of them are missing and 3 others are there",
    )


def test_the_engine_is_closed_when_it_is_refused(
    wanted: ExpectedRelease, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = read_golden(EngineFolder(wanted.folder).golden)
    write_golden(
        Golden(frames=golden.frames, found=tuple(reversed_boxes(golden))),
        EngineFolder(wanted.folder).golden,
    )
    served.judge_and_sign(wanted.folder, signer)
    closed: list[Detector] = []
    monkeypatch.setattr(Detector, "close", lambda self: closed.append(self))
    refused(wanted, "find the 3 boxes")
    assert len(closed) == 1


def reversed_boxes(golden: Golden) -> Any:
    for one in golden.found:
        one.boxes[:] = 64 - one.boxes[:, ::-1] + np.float32([9, 0, 9, 0])
        yield one


def test_golden_frames_without_a_box_prove_nothing(wanted: ExpectedRelease, signer: Signer) -> None:
    path = EngineFolder(wanted.folder).golden
    golden = read_golden(path)
    nothing = tuple(type(one).empty() for one in golden.found)
    write_golden(Golden(frames=golden.frames, found=nothing), path)
    served.judge_and_sign(wanted.folder, signer)
    refused(wanted, "Expected boxes clearly above the threshold in .*golden.npz, got none among 0")


def test_golden_boxes_near_the_threshold_prove_nothing(
    wanted: ExpectedRelease, signer: Signer
) -> None:
    """Each may come or go, so an engine that finds nothing would pass."""
    edit(wanted.folder / Manifest.file, lambda one: one["thresholds"].update(confidence=0.88))
    served.judge_and_sign(wanted.folder, signer)
    refused(wanted, "Expected boxes clearly above the threshold .* got none among 3")


# --- trust ---------------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        *("attestation.json", "engine.blob", "evaluation.json", "golden.npz"),
        *("manifest.json", "verdict.json"),
    ],
)
def test_an_altered_byte_is_refused(wanted: ExpectedRelease, name: str) -> None:
    _flip(wanted.folder / name)
    refused(wanted, name)


@pytest.mark.parametrize("name", ["attestation.json", "golden.npz", "manifest.json"])
def test_a_missing_file_is_refused(wanted: ExpectedRelease, name: str) -> None:
    (wanted.folder / name).unlink()
    refused(wanted, name)


def test_a_file_more_is_refused(wanted: ExpectedRelease) -> None:
    (wanted.folder / "more.so").write_bytes(b"")
    refused(wanted, r"more\.so")


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_folder_is_refused(wanted: ExpectedRelease, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "nothing"
    if there:
        folder.mkdir()
    refused(ExpectedRelease(folder=folder, keys=wanted.keys), "an empty folder or none")


def test_another_s_key_is_refused(wanted: ExpectedRelease, tmp_path: Path) -> None:
    keys = served.write_keys(tmp_path / "theirs", Signer("theirs"))
    refused(ExpectedRelease(folder=wanted.folder, keys=keys), "none of the trusted keys")


def test_a_key_inside_the_image_is_not_trusted(
    wanted: ExpectedRelease, signer: Signer, tmp_path: Path
) -> None:
    """Whoever can alter the image could put theirs beside it."""
    theirs = Signer("theirs")
    theirs.record().write(wanted.folder / "theirs.json")
    served.sign(wanted.folder, theirs)
    refused(wanted, "none of the trusted keys")


def test_without_keys_it_is_said_where_they_belong(wanted: ExpectedRelease, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected the public keys"):
        admit(ExpectedRelease(folder=wanted.folder, keys=tmp_path / "none"))


def test_keys_of_a_config_map_are_links(wanted: ExpectedRelease, tmp_path: Path) -> None:
    """The kubelet mounts each key as a link into a folder that it can swap."""
    mounted = tmp_path / "mounted"
    (mounted / "..2026").mkdir(parents=True)
    (mounted / "..data").symlink_to("..2026")
    for key in wanted.keys.iterdir():
        (mounted / "..2026" / key.name).write_bytes(key.read_bytes())
        (mounted / key.name).symlink_to(f"..data/{key.name}")
    admit(ExpectedRelease(folder=wanted.folder, keys=mounted)).detector.close()


def test_another_version_is_refused(wanted: ExpectedRelease) -> None:
    refused(
        ExpectedRelease(folder=wanted.folder, keys=wanted.keys, version="2.1"),
        "Expected the model version 2.1, got 1.0",
    )


def test_another_engine_file_is_refused(wanted: ExpectedRelease) -> None:
    refused(
        ExpectedRelease(folder=wanted.folder, keys=wanted.keys, engine_file="engine.plan"),
        "Expected the engine file engine.plan, got engine.blob",
    )


def test_another_device_s_engine_is_refused(wanted: ExpectedRelease, signer: Signer) -> None:
    path = wanted.folder / Manifest.file
    edit(path, lambda one: one["device"].update(isa=["sve"]))
    served.judge_and_sign(wanted.folder, signer)
    refused(wanted, "it was built for another device: device isa")


def test_nothing_is_deserialised_before_it_is_trusted(
    wanted: ExpectedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    _flip(wanted.folder / "verdict.json")
    monkeypatch.setattr(Detector, "open", lambda *_: pytest.fail("the engine was loaded"))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("golden frames were loaded"))
    refused(wanted, "verdict.json")


# --- the command ---------------------------------------------------------------------------------


def run(*words: str, **environment: str) -> Any:
    return CliRunner().invoke(cli.commands, [*words], env=environment)


def test_the_command_prints_json(wanted: ExpectedRelease) -> None:
    done = run("check", str(wanted.folder), "--keys", str(wanted.keys), "--rounds", "2")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["schema"] == 1
    assert said["ok"] is True
    assert said["golden"]["missing"] == 0
    assert said["device"].startswith(f"{read_fingerprint().name!r}")


def _alter(wanted: ExpectedRelease) -> None:
    _flip(wanted.folder / "engine.blob")


def _no_key(wanted: ExpectedRelease) -> None:
    for path in wanted.keys.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [(_alter, 5, "engine.blob was altered"), (_no_key, 2, "Expected the public keys")],
)
def test_the_command_says_why_not(
    wanted: ExpectedRelease, spoil: Callable[[ExpectedRelease], None], code: int, said: str
) -> None:
    spoil(wanted)
    done = run("check", str(wanted.folder), "--keys", str(wanted.keys))
    assert done.exit_code == code
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["ok"], answer["exit_code"]) == (1, False, code)
    assert said in answer["problem"]
    assert answer["problem"] in done.stderr


def test_the_chart_s_environment_is_taken(wanted: ExpectedRelease) -> None:
    environment = {
        "MODEL_PATH": str(wanted.folder / "engine.blob"),
        "MODEL_VERSION_EXPECTED": "1.0",
        "TRUSTED_KEYS": str(wanted.keys),
    }
    assert run("check", **environment).exit_code == 0
    other = environment | {"MODEL_VERSION_EXPECTED": "2.1"}
    assert "Expected the model version 2.1" in run("check", **other).stderr
    other = environment | {"MODEL_PATH": str(wanted.folder / "engine.plan")}
    assert "Expected the engine file engine.plan" in run("check", **other).stderr
