"""Templates: what Go and sprig print; each case was given to Fleet's own code."""

from __future__ import annotations

from typing import Any

import pytest

from release.rollout.clusters.inventory import Cluster
from release.rollout.simulation.sync import BundleChange
from release.rollout.targets.cluster_values import ClusterValues
from release.rollout.targets.template_functions import (
    FUNCTIONS,
    OTHERS,
    CannotTell,
    TemplateFails,
)

CLUSTER = Cluster(
    "c1", {"a": "1", "n": "x-y"}, template_values={"z": 0, "l": [1, "x"], "m": {"q": "r"}}
)


def filled(action: str) -> Any:
    """What becomes of a value that is one action."""
    options = {"helm": {"chart": "x", "values": {"v": f"${{ {action} }}"}}}
    return ClusterValues(options).options_of(CLUSTER)["helm"]["values"]["v"]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ('default "d" .ClusterLabels.n "more"', "x-y"),
        ('default "d"', "d"),
        ("1_000", 1000),
        ("'a'", 97),
        ('add1 "2.5"', 3),
        ('max "007" "-3.9"', 7),
        ('int "08"', 0),
        ('int "9223372036854775808"', 0),
        ('atoi "0x1F"', 0),
        ('float64 "1_0"', 10),
        ('fromJson "no json" | kindOf', "invalid"),
        ('len "\u00e9-\u00fc"', 5),
        ("print 0 false", "0 false"),
        ('print 0 "a" false', "0afalse"),
        ("list nil", ["<nil>"]),
        ('printf "a" .ClusterLabels.n', "a%!(EXTRA string=x-y)"),
        ("kindOf .ClusterValues.z", "float64"),
        ("tuple 1 2 | rest | first", 2),
        ('initial (list "a" "b") | join ","', "a"),
        ('list "b" "a" "b" | uniq | sortAlpha | join ","', "a,b"),
        ('without (list "a" "b") "a" | first', "b"),
        ('concat (list "a") (list "b") | reverse | join ","', "b,a"),
        ('append (prepend (list "b") "a") "" | compact | join ","', "a,b"),
        ('hasKey (omit .ClusterLabels "a") "a"', False),
        ('hasKey (pick .ClusterLabels "a") "a"', True),
        ('any 0 "" .ClusterName', True),
        ('all 1 ""', False),
        ("until 3 | last", 2),
        ('sha1sum "a"', "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
        ('indent 2 "a" | quote', "  a"),
        ('nindent 1 "a" | trim', "a"),
    ],
)
def test_what_is_printed(action: str, expected: Any) -> None:
    assert filled(action) == expected


@pytest.mark.parametrize(
    "action",
    [
        "eq .ClusterValues.z 0",  # a number of a cluster's own values is a float
        "nosuch .ClusterName",
        "rest 5",
        'pick .ClusterValues.z "a"',
        'omit "a" "b"',
        'until "3"',
    ],
)
def test_what_stops_the_bundle(action: str) -> None:
    with pytest.raises(TemplateFails):
        filled(action)


@pytest.mark.parametrize(
    "action", ['printf "%5d" 1', 'b64dec "%"', 'b64dec "/w=="', "randAlpha 3", "now | date"]
)
def test_what_nobody_here_can_tell(action: str) -> None:
    with pytest.raises(CannotTell):
        filled(action)


def test_a_function_is_either_here_or_not() -> None:
    assert not OTHERS & FUNCTIONS.keys()
    assert {"env", "expandenv", "getHostByName", "include", "tpl"}.isdisjoint(OTHERS)


@pytest.mark.parametrize(
    ("unsure", "start"), [(True, "Cannot be played"), (False, "Fleet does nothing")]
)
def test_what_is_said_of_a_bundle_that_is_not_played(unsure: bool, start: str) -> None:
    assert BundleChange("b", "f", stops="why", unsure=unsure).refusal.startswith(start)
