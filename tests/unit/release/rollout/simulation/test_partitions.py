"""Limits and partitions, with the figures of Fleet's own code."""

from __future__ import annotations

import pytest
from factories.fleet import inventory, of, sites

from release.rollout.clusters.inventory import Cluster, Group
from release.rollout.reading.version import parse_version
from release.rollout.simulation.partitions import Amount, BadAmount, Partition, limit, partitions

NEWEST = parse_version(None)


@pytest.mark.parametrize(
    ("count", "value", "expected"),
    [
        (10, None, 10),
        (10, 0, 0),
        (10, 3, 3),
        (10, 30, 10),
        (10, -3, 0),
        (10, "7", 7),
        (3, "7", 7),  # in quotes it is not cut to the count
        (10, "25%", 2),
        (10, "9%", 1),
        (10, "0%", 1),
        (10, "-5%", 1),
        (10, "150%", 10),
        (10, "33.4%", 3),
        (10, "1e1%", 1),
        (10, "1e300%", 1),  # beyond Go's whole numbers
        (10, "nan%", 1),
        (0, 0, 1),
        (-1, "50%", 1),
        (230, "25%", 57),
    ],
)
def test_limit(count: int, value: Amount, expected: int) -> None:
    assert limit(count, value) == expected


@pytest.mark.parametrize("value", ["0", "-1", "x", "%", "5 %", " 5%", "5%%", "1_0%", ""])
def test_what_is_no_amount_stops_the_bundle(value: str) -> None:
    with pytest.raises(BadAmount, match="neither a whole number nor a percentage"):
        limit(3, value)


def test_the_first_amount_that_is_given_counts() -> None:
    assert limit(10, None, 4, 2) == 4


def automatic(rollout: dict[str, object], count: int) -> list[Partition]:
    return partitions(rollout, inventory(*sites(count)).clusters, {}, NEWEST)


def test_fewer_than_200_are_one_partition() -> None:
    assert automatic({}, 199) == [Partition("All", tuple(range(199)), 199)]


def test_more_are_slices_and_a_remainder() -> None:
    found = automatic({"maxUnavailable": "10%"}, 230)
    assert [len(one.members) for one in found] == [57, 57, 57, 57, 2]
    assert [one.limit for one in found] == [5, 5, 5, 5, 1]
    assert found[0].name == "Partition 0 - 57"


@pytest.mark.parametrize(
    "rollout",
    [
        {"autoPartitionSize": 0},
        {"autoPartitionSize": -1},
        {"autoPartitionThreshold": 0},
        {"autoPartitionThreshold": 231},
    ],
)
def test_switched_off(rollout: dict[str, object]) -> None:
    assert len(automatic(rollout, 230)) == 1


def test_as_many_as_the_threshold_are_sliced() -> None:
    assert len(automatic({"autoPartitionThreshold": 230}, 230)) == 5
    assert len(automatic({}, 200)) == 4


def test_a_size_in_quotes_is_never_switched_off() -> None:
    assert len(automatic({"autoPartitionSize": "0%"}, 230)) == 230


def test_people_s_partitions_leave_out_and_overlap() -> None:
    rollout = {
        "maxUnavailable": 2,
        "partitions": [
            {"name": "one", "clusterName": "site-01", "maxUnavailable": "50%"},
            {"name": "both", "clusterSelector": {"matchLabels": {"dock": "yes"}}},
            {"name": "none", "clusterName": "elsewhere"},
            {"name": "no criteria"},
        ],
    }
    clusters = [Cluster(name, {"dock": "yes"} if name < "site-02" else {}) for name in sites(3)]
    found = partitions(rollout, clusters, {}, NEWEST)
    assert [(one.name, one.members, one.limit) for one in found] == [
        ("one", (1,), 1),
        ("both", (0, 1), 2),
        ("none", (), 1),
        ("no criteria", (), 1),
    ]


def test_before_0_13_a_partition_sees_no_cluster_without_a_group() -> None:
    rollout = {"partitions": [{"clusterSelector": {}}]}
    clusters = of([Cluster("a"), Cluster("b", groups=("docks",))]).clusters
    groups = {"docks": Group("docks")}
    assert partitions(rollout, clusters, groups, parse_version("0.12"))[0].members == (1,)
    assert partitions(rollout, clusters, groups, parse_version("0.13"))[0].members == (0, 1)
