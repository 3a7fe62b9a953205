"""fleet.yaml as people leave it: no move touches it, and each command says what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories.gitops import GitOpsRepository, git
from typer.testing import Result

from release.records import publication_path
from tests.unit.release.publications import PUBLICATION, TARGET, another
from tests.unit.release.rollout.folders import CLEAN

Run = Callable[..., Result]
TWO = another("2.0", "b")
PLACE = ("meter", "--target", TARGET)
FOLDER = f"release/fleet/meter/{TARGET}/pilot"
PILOT = CLEAN.replace("canary", "pilot").encode()
CLUSTERS = f"clusters: [{{name: a, labels: {{device: {TARGET}, ring: pilot}}}}]\n"

FAULTS: dict[str, tuple[bytes, str | None]] = {
    "CRLF": (PILOT.replace(b"\n", b"\r\n"), None),
    "anchors": (
        PILOT.replace(b"maxUnavailable: 1", b"maxUnavailable: &one 1\n  maxNew: *one"),
        None,
    ),
    "a merge key": (
        b"x-all: &all {ring: pilot}\n"
        + PILOT.replace(b"        ring: pilot\n", b"        <<: *all\n"),
        None,
    ),
    "broken": (PILOT + b"helm: {\n", "file-unreadable"),
    "cut off": (PILOT + b"paused: [", "file-unreadable"),
    "a tab": (PILOT.replace(b"  version", b"\tversion"), "file-unreadable"),
    "no UTF-8": (PILOT + b"# \xff\n", "file-unreadable"),
    "zero bytes": (PILOT + bytes(20), "file-unreadable"),
    "a list": (b"- helm\n", "file-unreadable"),
    "an anchor that is not there": (PILOT + b"paused: *no\n", "file-unreadable"),
    "anchors that grow without end": (
        PILOT
        + b"x-0: &x0 [1]\n"
        + b"".join(b"x-%d: &x%d [%s]\n" % (at, at, b"*x%d," % (at - 1) * 9) for at in range(1, 12)),
        "file-unreadable",
    ),
    "a key twice": (PILOT + b"helm: {chart: oci://x/y, version: 1.0.0}\n", "key-twice"),
    "a key twice in flow style": (
        PILOT.replace(b"maxUnavailable: 1", b"partitions: [{name: a, name: b, maxUnavailable: 1}]"),
        "key-twice",
    ),
    "a key twice, in another case": (PILOT + b"Helm: {chart: oci://x/y}\n", "key-case"),
    "empty": (b"", "no-targets"),
}


@pytest.fixture
def two(repository: GitOpsRepository) -> GitOpsRepository:
    """Canary has a second release, pilot the first."""
    TWO.write(publication_path(repository.workspace, TWO.release))
    repository.put(PUBLICATION, "pilot")
    repository.put(TWO, "canary")
    return repository


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault(two: GitOpsRepository, run: Run, name: str) -> None:
    content, code = FAULTS[name]
    (two.root / FOLDER / "fleet.yaml").write_bytes(content)
    (two.root / "clusters.yaml").write_text(CLUSTERS)
    two.push(f"fleet.yaml: {name}")
    stored = git(two.bare, "rev-parse", f"main:{FOLDER}/fleet.yaml")

    linted = run("lint")
    found = [one for one in linted.stdout.splitlines() if one.startswith(f"{FOLDER}/fleet.yaml:")]
    if code is None:
        assert found == []
    else:
        place, _, text = next(one for one in found if f": {code}: " in one).partition(": ")
        assert place.rpartition(":")[2].isdecimal()
        assert len(text) > 20
    played = run("simulate", "--clusters", "clusters.yaml", "--from", "nothing")
    if code == "file-unreadable":
        assert (linted.exit_code, played.exit_code) == (2, 2), played.output
        assert f"Fleet cannot read {FOLDER}/fleet.yaml, line " in played.stderr
    else:
        assert played.exit_code == 0, played.output

    # What a ring runs is another file: moves go on, byte for byte beside whatever people wrote.
    for words in (
        *(("history",), ("diff", "--clusters", "clusters.yaml")),
        *(("promote", *PLACE, "--to", "pilot"), ("rollback", *PLACE, "--ring", "pilot")),
    ):
        result = run(*words)
        assert result.exit_code in (0, 2), (words, result.output)
        if result.exit_code == 2:
            assert words[0] == "diff", result.output
            assert f"{FOLDER}/fleet.yaml, line " in result.stderr
        elif words[0] == "diff":
            assert code != "file-unreadable", "who gets what is not known"
    assert git(two.bare, "rev-parse", f"main:{FOLDER}/fleet.yaml") == stored
    assert PUBLICATION.release in two.at(f"{FOLDER}/release.yaml")
    assert [one.split()[0] for one in two.subjects()[:2]] == ["Roll", "Promote"]
    assert git(two.root, "status", "--porcelain") == ""
