"""What `atomic` and a timeout make of a bad image, by Fleet's version."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories.fleet import inventory, played

CLUSTERS = inventory("a", "b")


@pytest.mark.parametrize(
    ("version", "helm", "state"),
    [
        ("0.16", "", "broken"),
        ("0.14", "", "broken"),
        ("0.14", ", timeoutSeconds: 300", "broken"),
        ("0.14", ", timeoutSeconds: 300, atomic: true", "broken"),
        ("0.15", ", timeoutSeconds: 300", "retried"),
        ("0.15", ", atomic: true", "retried"),
        ("0.16", ", timeoutSeconds: 300, atomic: true", "retried"),
    ],
)
def test_a_bad_image(tmp_path: Path, version: str, helm: str, state: str) -> None:
    outcome = played(
        tmp_path, "{maxUnavailable: 1}", CLUSTERS, bad=True, version=version, helm=helm
    )
    assert outcome.counts == {state: 1, "held": 1}
    one = outcome.played.deployments[0]
    assert one.unavailable
    assert one.applied == ("old" if state == "retried" else one.want)


@pytest.mark.parametrize(("version", "state"), [("0.14", "broken"), ("0.15", "ready")])
def test_helm_3_fails_a_good_image_with_atomic_and_no_timeout(
    tmp_path: Path, version: str, state: str
) -> None:
    outcome = played(
        tmp_path, "{maxUnavailable: 1}", CLUSTERS, version=version, helm=", atomic: true"
    )
    assert set(outcome.counts) == {state} | ({"held"} if state == "broken" else set())


@pytest.mark.parametrize("version", ["0.14", "0.16"])
def test_a_failed_first_installation_with_atomic_is_tried_for_ever(
    tmp_path: Path, version: str
) -> None:
    helm = ", atomic: true, timeoutSeconds: 60"
    outcome = played(tmp_path, "{}", CLUSTERS, before={}, bad=True, version=version, helm=helm)
    assert outcome.counts == {"retried": 2}


def test_time_runs_out(tmp_path: Path) -> None:
    outcome = played(tmp_path, "{maxUnavailable: 1}", CLUSTERS, seconds=59)
    assert outcome.counts == {"working": 1, "held": 1}
    assert outcome.done_s is None
    assert played(tmp_path, "{maxUnavailable: 1}", CLUSTERS, seconds=120).done_s == 120
