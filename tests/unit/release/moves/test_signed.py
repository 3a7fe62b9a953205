"""The rules `signature` and `verdict`: who signed a release, and what it was measured on."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from factories.fleet_reports import cluster, write_report
from factories.gitops import GitOpsRepository
from factories.paper import row_yaml
from factories.records import manifest
from factories.signed import SIGNED_AT, Signer
from typer.testing import Result

from engines.records.attestation import MlflowVersion, Predicate, Statement
from release.records import Candidates, attestation_path, candidates_path, publication_path
from tests.unit.release.publications import PUBLICATION, TARGET, another

Run = Callable[..., Result]
RINGS = "schema: 1\nrings: [{name: canary}, {name: pilot, rules: [{rule: %s}]}]\n"
OURS, OTHER = Signer(), Signer("others")
ENGINE = {"engine.blob": PUBLICATION.engine_sha256}


def statement(jetpack: str | None = None, **changes: object) -> Statement:
    device = manifest(9).device.model_copy(update={"jetpack": jetpack})
    files = {**PUBLICATION.judged, **changes.pop("files", {})}  # type: ignore[dict-item]
    fields = {
        **{"release": PUBLICATION.release, "engine": "meter-fp16", "model": "meter"},
        **{"model_version": "1.0", "target": TARGET, "precision": "fp16"},
        **{"engine_sha256": PUBLICATION.engine_sha256, "backend": "tensorrt"},
        **{"backend_package": "tensorrt", "backend_version": "10.3.0", "device": device},
        **{"weights_sha256": "1" * 64, "onnx_sha256": "2" * 64, "data_sets": {}},
        **{"evidence": files, "verdict": "PASS", "git_commit": "", "signed_at": SIGNED_AT},
        "mlflow": MlflowVersion(registered_model="m", version=1, run_id="r"),
    }
    return Statement(
        subject=tuple({"name": name, "digest": {"sha256": sha}} for name, sha in files.items()),
        predicate=Predicate(**(fields | changes)),
    )


@pytest.fixture
def signed(repository: GitOpsRepository) -> Callable[..., None]:
    """Pushes an attestation by a key, the one that counts, and the rule."""

    def push(rule: str, one: Statement | None, signer: Signer = OURS) -> None:
        workspace = repository.workspace
        workspace.rings_file.write_text(RINGS % rule)
        workspace.trusted_keys.mkdir(parents=True, exist_ok=True)
        OURS.record().write(workspace.trusted_keys / "ours.json")
        if one is not None:
            attestation_path(workspace, PUBLICATION.release).write_bytes(signer.envelope(one))
        repository.push("Signed")

    return push


def promote(*more: str) -> list[str]:
    return ["promote", "meter", "--target", TARGET, "--to", "pilot", *more]


def test_signed(run: Run, signed: Callable[..., None]) -> None:
    signed("signature", statement())
    result = run(*promote())
    assert result.exit_code == 0, result.output
    assert "signature  holds: signed by ours on 2026-05-01" in result.stdout


def test_not_signed(run: Run, signed: Callable[..., None]) -> None:
    signed("signature", None)
    result = run(*promote())
    assert result.exit_code == 3
    assert "signature: it is not signed: there is no release/records/v1.0-" in result.stderr


@pytest.mark.parametrize(
    ("one", "signer", "said"),
    [
        (statement(), OTHER, "which is none of the trusted"),
        (statement(release=PUBLICATION.release.replace("v1", "v2")), OURS, "is of another release"),
        (statement(files={"engine.blob": "9" * 64}), OURS, "is over another engine.blob"),
        (statement(verdict="FAIL"), OURS, "Expected the verdict PASS"),
    ],
)
def test_signed_otherwise(
    run: Run, signed: Callable[..., None], one: Statement, signer: Signer, said: str
) -> None:
    signed("signature", one, signer)
    result = run(*promote())
    assert result.exit_code == 3
    assert said in result.stderr


def test_a_key_that_expired_since(
    repository: GitOpsRepository, run: Run, signed: Callable[..., None]
) -> None:
    """What was pushed is never signed again, so the sentence does not tell to."""
    signed("signature", statement())
    end = datetime(2026, 6, 1, tzinfo=timezone.utc)
    record = OURS.record().model_copy(update={"valid_until": end})
    record.write(repository.workspace.trusted_keys / "ours.json")
    repository.push("Its last day")
    result = run(*promote())
    assert result.exit_code == 3
    assert "signature: the key 'ours', which signed it on 2026-05-01, expired on 2026-06-01" in (
        result.stderr
    )
    assert "give the model a new version" in result.stderr
    assert "Sign the release again" not in result.stderr


def test_back_to_what_no_trusted_key_signed(
    repository: GitOpsRepository, run: Run, signed: Callable[..., None]
) -> None:
    """As after a stolen key's record was removed: the pods of the ring would not start."""
    two = another("2.0", "b")
    for one in (PUBLICATION, two):
        one.write(publication_path(repository.workspace, one.release))
        repository.put(one, "pilot")
        repository.push(f"Pilot gets {one.release}")
    back = ("rollback", "meter", "--target", TARGET, "--ring", "pilot", "--dry-run")
    assert "refuse" not in run(*back).stdout
    signed("signature", statement())
    assert "refuse" not in run(*back).stdout
    (repository.workspace.trusted_keys / "ours.json").unlink()
    OTHER.record().write(repository.workspace.trusted_keys / "others.json")
    repository.push("Stolen")
    result = run(*back)
    assert result.exit_code == 0
    assert "  reach     Pods that are given release/trust/keys refuse it: " in result.stdout
    assert "which is none of the trusted keys\n" in result.stdout


def test_a_key_of_the_clone_does_not_count(
    repository: GitOpsRepository, run: Run, signed: Callable[..., None]
) -> None:
    """Keys are those of the branch, as rules are."""
    signed("signature", statement(), OTHER)
    OTHER.record().write(repository.workspace.trusted_keys / "others.json")
    assert run(*promote()).exit_code == 3


@pytest.mark.parametrize(
    ("folder", "code", "said"),
    [
        ("release/trust/keys", 3, "no key was pushed in release/trust/keys"),
        (f"release/records/{PUBLICATION.release}", 2, "publication.json"),
    ],
)
def test_what_nobody_pushed_counts_for_no_ring(
    repository: GitOpsRepository,
    run: Run,
    signed: Callable[..., None],
    tmp_path: Path,
    folder: str,
    code: int,
    said: str,
) -> None:
    """Whoever has a clone would be who signs and who measured for all."""
    signed("signature", statement())
    place, aside = repository.root / folder, tmp_path / "aside"
    place.rename(aside)
    repository.push("Without it")
    aside.rename(place)
    result = run(*promote())
    assert result.exit_code == code, result.output
    assert said in result.stderr
    repository.push("With it")
    assert run(*promote()).exit_code == 0


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"jetpack": "6.2"}, None),
        ({"jetpack": "6.2.1"}, None),
        ({"jetpack": "6", "backend": "tensorrt"}, None),
        ({}, None),
        ({"jetpack": "6.1"}, "but pilot-1 has jetpack 6.1"),
        ({"backend": "openvino"}, "but pilot-1 has backend openvino"),
        ({"jetpack": "5.1", "ring": "production"}, None),
        ({"jetpack": "5.1", "device": "dgpu-x86"}, None),
    ],
)
def test_what_the_clusters_run_on(
    run: Run,
    signed: Callable[..., None],
    tmp_path: Path,
    labels: dict[str, str],
    said: str | None,
) -> None:
    signed("verdict", statement(jetpack="6.2"))
    shown = {"ring": "pilot", "device": TARGET} | labels
    path = write_report(tmp_path / "r.json", [cluster("pilot-1", "2026-01-01T00:00:00Z", **shown)])
    result = run(*promote("--report", path))
    assert result.exit_code == (3 if said else 0), result.output
    if said:
        assert "verdict: the verdict was measured on jetpack 6.2, backend tensorrt" in (
            result.stderr
        )
        assert said in result.stderr


def test_clusters_that_are_labelled_otherwise_since_it_was_published(
    repository: GitOpsRepository, run: Run, signed: Callable[..., None], tmp_path: Path
) -> None:
    row = repository.workspace.target(TARGET) / "params.yaml"
    row.parent.mkdir(parents=True)
    row.write_text(row_yaml().replace(f"fleet_label: {TARGET}", "fleet_label: line-4") + "  {}\n")
    signed("verdict", statement(jetpack="6.2"))
    shown = {"ring": "pilot", "device": "line-4", "jetpack": "6.1"}
    path = write_report(tmp_path / "r.json", [cluster("pilot-1", "2026-01-01T00:00:00Z", **shown)])
    result = run(*promote("--report", path))
    assert result.exit_code == 3, result.output
    assert "but pilot-1 has jetpack 6.1" in result.stderr


def test_labelled_clusters_and_no_attestation(
    run: Run, signed: Callable[..., None], tmp_path: Path
) -> None:
    signed("verdict", None)
    shown = {"ring": "pilot", "device": TARGET, "jetpack": "6.2"}
    path = write_report(tmp_path / "r.json", [cluster("pilot-1", "2026-01-01T00:00:00Z", **shown)])
    os.utime(path)
    result = run(*promote("--report", path))
    assert result.exit_code == 3
    assert "stands in the attestation, which does not hold: it is not signed" in result.stderr


def test_what_two_rules_refuse_for_is_said_once(
    run: Run, signed: Callable[..., None], tmp_path: Path
) -> None:
    signed("verdict}, {rule: signature", None)
    shown = {"ring": "pilot", "device": TARGET, "jetpack": "6.2"}
    path = write_report(tmp_path / "r.json", [cluster("pilot-1", "2026-01-01T00:00:00Z", **shown)])
    os.utime(path)
    said = run(*promote("--report", path)).stderr
    assert "verdict: as signature says. signature: it is not signed: there is no " in said
    assert said.count(f"`release sign {PUBLICATION.release}`") == 1
    assert "--override verdict --override signature" in said


def test_a_fail_that_was_not_handed_over(
    repository: GitOpsRepository, run: Run, signed: Callable[..., None]
) -> None:
    """The machine that judged the engine again knows more than the branch, and says so there."""
    signed("verdict", None)
    failed = {PUBLICATION.release: "frame_p99_ms 31 ms, at most 30"}
    Candidates(target=TARGET, policy="fastest", candidates={}, skipped={}, failed=failed).write(
        candidates_path(repository.workspace, TARGET)
    )
    assert "its engine FAILs since it was published: frame_p99_ms 31 ms" in run("status").stdout


@pytest.mark.parametrize("more", [(), ("--override", "verdict", "--why", "a tighter budget")])
def test_an_engine_that_fails_since_it_was_published(
    repository: GitOpsRepository, run: Run, signed: Callable[..., None], more: tuple[str, ...]
) -> None:
    """Its record says PASS for ever: pilot got what the canary has and would not get again."""
    missed = "its engine FAILs since it was published: frame_p99_ms 31 ms, at most 30"
    failed = {PUBLICATION.release: "frame_p99_ms 31 ms, at most 30"}
    Candidates(target=TARGET, policy="fastest", candidates={}, skipped={}, failed=failed).write(
        candidates_path(repository.workspace, TARGET)
    )
    signed("verdict", None)
    assert f"{'':13}{missed}" in run("status").stdout
    result = run(*promote(*more))
    assert result.exit_code == (0 if more else 3), result.output
    assert f"verdict    {'overridden' if more else 'refuses'}: {missed}" in result.stdout
