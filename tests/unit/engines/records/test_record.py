"""Files between the steps: an old, foreign or missing one is refused by name, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline.records
import release.records
from engines.config.yaml import load_yaml
from engines.errors import InputError
from engines.records import benchmark, evaluation, fingerprint, manifest, verdict
from engines.records.manifest import Manifest
from engines.records.record import EngineRecord, Record
from engines.records.trusted_key import TrustedKey

ROOMS = (benchmark, evaluation, fingerprint, manifest, verdict, pipeline.records, release.records)


def kinds() -> Iterator[type[Record]]:
    """Every kind of file that a step writes."""
    for room in ROOMS:
        for one in vars(room).values():
            if isinstance(one, type) and issubclass(one, Record) and hasattr(one, "written_by"):
                yield one


KINDS = sorted(set(kinds()), key=lambda one: one.__name__)


def test_all_that_the_steps_write_is_here() -> None:
    assert {"Benchmark", "Candidates", "Evaluation", "Fingerprint", "Manifest", "Publication"} | {
        *("Quantize", "Verdict", "Verify")
    } <= {one.__name__ for one in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "Field required"),
        ('{"schema": 0}', "schema: Input should be greater than or equal to 1, got 0"),
        ('{"kept_from_older_days": 1}', "Field required"),
        ("[]", "the file"),
        ("", "Invalid JSON"),
    ],
)
def test_an_older_file_is_refused(
    tmp_path: Path, kind: type[Record], content: str, said: str
) -> None:
    """As those in out/ are after an upgrade that changed their format."""
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        kind.read(path)
    assert str(raised.value).startswith(f"{path} is not what `{kind.written_by}` writes: ")
    assert said in str(raised.value)
    assert str(raised.value).endswith("Make it again with that command, or with `dvc repro`.")


@pytest.mark.parametrize("place", ["release/trust/keys", "release/records/v1-x"])
def test_what_git_keeps_is_brought_back(tmp_path: Path, place: str) -> None:
    """A key that is made again is another key, and no command makes a record a second time."""
    path = tmp_path / place / "a key.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(InputError, match=r"bring it back with `git checkout -- '.*a key\.json'`"):
        TrustedKey.read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_not_there(tmp_path: Path, kind: type[Record]) -> None:
    with pytest.raises(InputError, match=f"which `{kind.written_by}` writes, .* or `dvc repro` "):
        kind.read(tmp_path / "a.json")


def test_the_command_makes_that_target_s_file(tmp_path: Path) -> None:
    """A bare `dvc repro` is about the target of params.yaml, and exports models first: on a Jetson
    that fails."""
    path = tmp_path / "engines" / "targets" / "line-4" / "out" / "m-fp16" / "a.json"
    wanted = "`dvc repro engines/targets/line-4/dvc.yaml`"
    with pytest.raises(InputError, match=wanted):
        Manifest.read(path)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(InputError, match=wanted):
        Manifest.read(path)


def test_records_of_an_engine_name_it() -> None:
    for kind in (benchmark.Benchmark, evaluation.Evaluation, manifest.Manifest, verdict.Verdict):
        assert issubclass(kind, EngineRecord)


MERGED = "<<<<<<< HEAD\n{ours}\n=======\n{theirs}\n>>>>>>> theirs\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_both_sides_of_a_merge_are_named_as_that(tmp_path: Path, end: str) -> None:
    """In what people write as in what commands write."""
    text = MERGED.format(ours="models: [one]", theirs="models: [two]").replace("\n", end)
    path = tmp_path / "it"
    path.write_bytes(text.encode())
    for read in (load_yaml, Manifest.read):
        with pytest.raises(InputError, match="it holds both sides of a merge"):
            read(path)
    path.write_text("a: [<<<<<<< no merge")
    with pytest.raises(InputError, match="is not YAML"):
        load_yaml(path)


def test_a_key_twice(tmp_path: Path) -> None:
    """`keygen` writes `"valid_until": null`; a date above that line would count for nothing."""
    path = tmp_path / "plant.json"
    at = '"valid_from": "2026-01-01T00:00:00Z"'
    until = '"valid_until": "2026-12-01T00:00:00Z", "valid_until": null'
    path.write_text(f'{{"name": "plant", "keyid": "{64 * "a"}", "public_key": "", {at}, {until}}}')
    with pytest.raises(InputError, match="has the key 'valid_until' twice"):
        TrustedKey.read(path)
