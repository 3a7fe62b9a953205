"""What follows from Fleet's rules, each as it was found by playing them."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories.fleet import EVERYWHERE, bundle, inventory, of, played, running, sites, states
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from release.rollout.clusters.inventory import Cluster
from release.rollout.reading.version import parse_version
from release.rollout.simulation.reconcile import BundleDeployment
from release.rollout.targets.placement import place

RINGS = """{partitions: [
  {name: canary, maxUnavailable: MAX, clusterSelector: {matchLabels: {ring: canary}}},
  {name: pilot, maxUnavailable: MAX, clusterSelector: {matchLabels: {ring: pilot}}}]}"""


def rings(canary: int, pilot: int) -> list[Cluster]:
    return [
        *(Cluster(f"c{at}", {"ring": "canary"}) for at in range(canary)),
        *(Cluster(f"p{at}", {"ring": "pilot"}) for at in range(pilot)),
    ]


def test_1_the_next_partition_starts_one_cluster_early(tmp_path: Path) -> None:
    """Two canaries, one may be unavailable: second canary and first pilot come together."""
    outcome = played(tmp_path, RINGS.replace("MAX", "1"), of(rings(2, 2)))
    assert [step.told for step in outcome.played.steps] == [["c0"], ["c1", "p0"], ["p1"]]


@pytest.mark.parametrize("count", [2, 3, 20])
def test_2_a_bad_image_stops_at_the_first_by_name(tmp_path: Path, count: int) -> None:
    outcome = played(tmp_path, "{maxUnavailable: 1}", inventory(*sites(count)), bad=True)
    assert states(outcome) == {"site-00": "broken"} | dict.fromkeys(sites(count)[1:], "held")
    assert list(outcome.holds) == ["site-00 (not ready): 1 of its partition may be unavailable"]


@pytest.mark.parametrize("most", ["1", "1%", "10%", "100%"])
def test_3_one_cluster_is_no_gate(tmp_path: Path, most: str) -> None:
    outcome = played(tmp_path, RINGS.replace("MAX", most), of(rings(1, 1)), bad=True)
    assert outcome.played.steps[0].told == ["c0", "p0"]


def test_4_zero_never_changes_a_ready_cluster(tmp_path: Path) -> None:
    before = running(["a", "b"]) | {"c": BundleDeployment("old", True, "old", "old", False)}
    outcome = played(tmp_path, "{maxUnavailable: 0}", inventory("a", "b", "c", "d"), before=before)
    assert states(outcome) == {"a": "held", "b": "held", "c": "ready", "d": "ready"}
    assert "maxUnavailable 0" in next(iter(outcome.holds))


def test_5_a_first_install_minds_only_max_new(tmp_path: Path) -> None:
    names = sites(60)
    outcome = played(tmp_path, "{maxUnavailable: 1}", inventory(*names), before={}, bad=True)
    first = outcome.played.steps[0]
    assert (len(first.created), len(first.told)) == (50, 50)
    assert outcome.counts == {"broken": 60}
    few = played(tmp_path, "{maxNew: 7}", inventory(*names), before={})
    assert max(len(step.created) for step in few.played.steps) == 7


def test_6_offline_clusters_stop_it_once_they_are_told(tmp_path: Path) -> None:
    names = sites(5)
    outcome = played(tmp_path, "{maxUnavailable: 1}", inventory(*names), offline=["site-02"])
    assert list(states(outcome).values()) == ["ready", "ready", "silent", "held", "held"]
    assert "site-02 (offline)" in next(iter(outcome.holds))


def test_7_the_limit_is_one_of_the_whole_bundle_too(tmp_path: Path) -> None:
    rollout = RINGS.replace("MAX", "1").replace("{partitions", "{maxUnavailable: 1, partitions", 1)
    broken = {"p1": BundleDeployment("want", True, "x", "x", False)}
    before = running(["c0", "c1", "p0"]) | broken
    clusters = [Cluster(one.name, one.labels, paused=one.name == "p1") for one in rings(2, 2)]
    outcome = played(tmp_path, rollout, of(clusters), before=before)
    assert states(outcome)["c0"] == "held"
    assert "of the whole bundle" in outcome.fates[0].why


def test_8_a_stuck_canary_holds_production_from_a_rollback(tmp_path: Path) -> None:
    before = running(["p0", "p1"], "broken everywhere") | {
        "c0": BundleDeployment("x", True, "x", "y", True),
        "c1": BundleDeployment("x", True, "x", "x", True),
    }
    clusters = of(rings(2, 2))
    outcome = played(
        tmp_path, RINGS.replace("MAX", "1"), clusters, before=before, offline=["c0", "c1"]
    )
    assert states(outcome)["p0"] == states(outcome)["p1"] == "held"
    assert "in the partition before, 'canary'" in outcome.fates[2].why


def test_9_broken_clusters_are_told_at_once_and_all_together(tmp_path: Path) -> None:
    names = sites(9)
    before = {name: BundleDeployment("bad", True, "bad", "bad", False) for name in names[:7]}
    outcome = played(
        tmp_path, "{maxUnavailable: 1}", inventory(*names), before=before | running(names[7:])
    )
    assert outcome.played.steps[0].told == names[:7]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15
)
@given(tags=st.lists(st.text("abc123.-", min_size=1, max_size=4), min_size=2, max_size=5))
def test_10_earlier_content_has_the_earlier_id(tmp_path: Path, tags: list[str]) -> None:
    def identity(tag: str) -> str:
        text = f"{EVERYWHERE}helm: {{chart: x, values: {{t: '{tag}'}}}}"
        made = bundle(tmp_path, text)
        return place(made, inventory("a", site="a"), parse_version(None))[0].deployment_id

    first = {tag: identity(tag) for tag in tags}
    assert {tag: identity(tag) for tag in reversed(tags)} == first
    assert len(set(first.values())) == len(set(tags))


def test_10_clusters_that_never_took_it_are_up_to_date_at_once(tmp_path: Path) -> None:
    """One was told the bad image and is offline: told the old one again, it has it already."""
    new = played(tmp_path, "{maxUnavailable: 1}", inventory("a", "b")).played.placements[0]
    before = {
        "a": BundleDeployment("bad", True, "bad", new.deployment_id, True),
        "b": BundleDeployment(new.deployment_id, True, new.deployment_id, new.deployment_id, True),
    }
    outcome = played(
        tmp_path, "{maxUnavailable: 1}", inventory("a", "b"), before=before, offline=["a"]
    )
    assert outcome.played.steps[0].told == ["a"]
    assert outcome.played.reconciler.unavailable == 0


def test_11_no_customization_means_the_base_values(tmp_path: Path) -> None:
    text = (
        "overrideTargets: [{clusterSelector: {}}]\nhelm: {chart: x, values: {cameras: base}}\n"
        "targetCustomizations: [{clusterName: a, helm: {values: {cameras: own}}}]\n"
    )
    made = bundle(tmp_path, text)
    values = {
        one.cluster.name: one.options["helm"]["values"]["cameras"]
        for one in place(made, inventory("a", "b"), parse_version(None))
    }
    assert values == {"a": "own", "b": "base"}


def test_a_cluster_of_no_partition_is_left_alone(tmp_path: Path) -> None:
    clusters = of([*rings(1, 0), Cluster("z")])
    assert states(played(tmp_path, RINGS.replace("MAX", "1"), clusters))["z"] == "apart"


def test_a_paused_cluster_counts_against_its_partition(tmp_path: Path) -> None:
    clusters = of([Cluster("a", paused=True), Cluster("b"), Cluster("c")])
    outcome = played(tmp_path, "{maxUnavailable: 1}", clusters)
    assert states(outcome) == {"a": "paused", "b": "ready", "c": "ready"}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    count=st.integers(1, 30),
    most=st.sampled_from(["0", "1", "3", "10%", "50%", "'2'"]),
    size=st.sampled_from(["1", "4", "25%", "100%"]),
    bad=st.booleans(),
    away=st.sets(st.integers(0, 29), max_size=5),
)
def test_never_more_unavailable_than_allowed_and_the_same_every_time(
    tmp_path: Path, count: int, most: str, size: str, bad: bool, away: set[int]
) -> None:
    names = sites(count)
    rollout = f"{{maxUnavailable: {most}, autoPartitionSize: {size}, autoPartitionThreshold: 1}}"
    offline = [names[at] for at in away if at < count]
    one, other = (
        played(tmp_path, rollout, inventory(*names), bad=bad, offline=offline) for _ in range(2)
    )
    assert one.played.most_unavailable <= one.played.reconciler.gates.unavailable
    assert (one.fates, one.played.steps) == (other.fates, other.played.steps)
