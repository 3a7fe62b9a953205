"""Reports of each kind, and what is none."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from factories.fleet_reports import bundle, cluster, deployment, write_report
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import InputError, ServiceError
from release.reports.fleet import from_kubectl, from_monitor
from release.reports.load import load_report, load_reports
from release.reports.metrics import from_exposition, from_prometheus
from release.reports.report import Told

COMMIT = "c" * 40
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=timezone.utc)
TAG = "v1.0-x86-openvino-fp16-3f2a91c04b7e"


def test_kubectl(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "sites.json",
        [
            deployment("b", "two", COMMIT, ready=False, message="pods 0/1", applied=False),
            deployment("b", "one", COMMIT),
            deployment("b", "three", COMMIT, given=False, paused=True),
            deployment("other", "one", COMMIT),
            bundle("b", paused=True),
            cluster("one", "2026-11-28T11:00:00Z", ring="canary"),
            {"kind": "Secret"},
            {"kind": "BundleDeployment", "metadata": {"name": "without-labels"}},
        ],
    )
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    report = load_report(path)
    one, three, two = report.of("b")
    assert (report.at, report.paused_bundles) == (NOW, {"b"})
    assert (one.cluster, one.has_it, one.held, one.ready) == ("one", True, False, True)
    assert (two.has_it, two.held, two.ready, two.message) == (False, False, False, "pods 0/1")
    assert (three.has_it, three.held, three.paused) == (False, True, True)
    assert report.labels == {"one": {"ring": "canary"}}
    assert report.heard["one"].hour == 11


def test_fleet_monitor(tmp_path: Path) -> None:
    row = {
        **{"namespace": "cluster-fleet-default-one-01", "name": "b", "uid": "u", "generation": 1},
        **{"commit": COMMIT, "deploymentID": "n", "stagedDeploymentID": "n"},
        **{"appliedDeploymentID": "n", "ready": True},
    }
    path = tmp_path / "monitor.json"
    path.write_text(
        json.dumps({"timestamp": "2026-11-28T12:00:00Z", "bundledeployments": [row, 7]})
    )
    report = load_report(str(path))
    assert report.at == NOW
    assert [(one.cluster, one.has_it, one.ready) for one in report.of("b")] == [
        ("cluster-fleet-default-one-01", True, True)
    ]


def test_metrics_as_pods_print_them(tmp_path: Path) -> None:
    path = tmp_path / "metrics.txt"
    path.write_text(
        "# HELP model_version That runs here\n# TYPE model_version gauge\n"
        f'model_version{{version="1.0",release="{TAG}",site="dock"}} 1.0\n'
        'model_version{version="0.9",site="gate"} 0\n'
        'model_version_expected{version="2.0",site="dock"} 1.0\n'
    )
    assert load_report(str(path)).told == (Told(site="dock", version="1.0", release=TAG),)


def test_prometheus() -> None:
    metric = {"__name__": "model_version", "cluster": "dock", "version": "1.0", "release": TAG}
    result = [{"metric": metric, "value": [NOW.timestamp(), "1"]}, {"metric": {}, "value": []}]
    content = {"status": "success", "data": {"resultType": "vector", "result": result}}
    report = from_prometheus(content, "p", NOW - timedelta(days=1))
    assert report.at == NOW
    assert report.told == (Told(site="dock", version="1.0", release=TAG),)


class _Prometheus(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/api/v1/query?query=model_version":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "success", "data": {"resultType": "vector", "result": []}}')

    def log_message(self, *_: object) -> None:
        pass


def test_an_address() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Prometheus)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://ada:secret@127.0.0.1:{server.server_port}"
    try:
        assert load_report(address).told == ()
        with pytest.raises(ServiceError) as caught:
            load_report(f"{address}/elsewhere?token=hidden")
    finally:
        server.shutdown()
        server.server_close()
    assert "404" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    with pytest.raises(ServiceError, match="did not answer") as caught:
        load_report(f"{address}/elsewhere?token=hidden")  # of which requests tells the end only
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"items": [', "not JSON or ends early"),
        ('{"items": []} {"items": [', "not JSON or ends early"),
        ('{"items": [], "kind": "List"}}', "not JSON or ends early"),
        ("[" * 100_000, "not JSON or ends early"),
        ("", "an empty file"),
        (" \n", "an empty file"),
        ("apiVersion: v1\nitems: []\n", "got YAML. Ask kubectl for `-o json`"),
        ("---\nkind: List\n", "got YAML"),
        ('{"timestamp": 1}', "JSON of another kind"),
        ("[]", "JSON of another kind"),
        ('{"kind": "Pod"}', "JSON of another kind"),
        (
            '{"data": {"result": [{"metric": {"__name__": "up"}, "value": [1, "1"]}]}}',
            "instant query for `model_version`.*another query",
        ),
        (
            '{"data": {"result": [{"metric": {"version": "1.0"}, "values": [[1, "1"]]}]}}',
            "instant query for `model_version`.*another query",
        ),
        ("\0\xff", "not JSON"),
    ],
)
def test_what_is_none(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=said):
        load_report(str(path))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_report(str(tmp_path / "report.json"))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_report(str(tmp_path))


def test_several_are_as_old_as_the_oldest(tmp_path: Path) -> None:
    assert load_reports([]) is None
    names = [write_report(tmp_path / one, [deployment("b", one, COMMIT)]) for one in "ab"]
    os.utime(names[0], (NOW.timestamp(), NOW.timestamp()))
    report = load_reports(names)
    assert report is not None
    assert report.at == NOW
    assert [one.cluster for one in report.of("b")] == ["a", "b"]


# --- clusters that are taken for others ----------------------------------------------------------


def in_namespace(namespace: str, name: str, **how: object) -> dict[str, Any]:
    """A cluster of another workspace of Fleet, with a name that is there already."""
    one = deployment("b", name, COMMIT, **how)
    one["metadata"]["namespace"] = f"cluster-{namespace}-{name}-0123456789ab"
    one["metadata"]["labels"]["fleet.cattle.io/cluster-namespace"] = namespace
    return one


def test_two_clusters_of_one_name(tmp_path: Path) -> None:
    other = cluster("dock", "2026-11-28T09:00:00Z", ring="pilot", site="other")
    other["metadata"]["namespace"] = "vision"
    items = [
        in_namespace("fleet-default", "dock"),
        in_namespace("vision", "dock", ready=False),
        cluster("dock", "2026-11-28T11:00:00Z", ring="canary", site="dock-7"),
        other,
    ]
    report = load_report(write_report(tmp_path / "sites.json", items))
    assert [(one.cluster, one.ready) for one in report.of("b")] == [
        ("dock", True),
        ("vision/dock", False),
    ]
    assert report.labels["dock"]["site"] == "dock-7"
    assert report.labels["vision/dock"]["site"] == "other"
    assert report.heard["dock"] > report.heard["vision/dock"]


def test_a_cluster_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    """In one report, or in several; the latest word counts."""
    rows = [deployment("b", "one", COMMIT, ready=False), deployment("b", "one", COMMIT)]
    twice = write_report(tmp_path / "twice.json", rows)
    assert [one.ready for one in load_report(twice).of("b")] == [True]
    old = write_report(tmp_path / "old.json", [deployment("b", "one", COMMIT, ready=False)])
    os.utime(old, (NOW.timestamp(), NOW.timestamp()))
    row = {"name": "b", "commit": COMMIT, "ready": True}
    row["namespace"] = rows[0]["metadata"]["namespace"]
    monitor = tmp_path / "monitor.json"
    later = (NOW + timedelta(minutes=1)).isoformat()
    monitor.write_text(json.dumps({"timestamp": later, "bundledeployments": [row]}))
    report = load_reports([str(monitor), old, old])
    assert report is not None
    assert [one.ready for one in report.of("b")] == [True]
    assert report.at == NOW


# --- one object, many documents ------------------------------------------------------------------


def test_one_object_by_itself(tmp_path: Path) -> None:
    """`kubectl get bundledeployment NAME -o json`."""
    path = tmp_path / "one.json"
    path.write_text(json.dumps(deployment("b", "one", COMMIT)))
    assert [one.cluster for one in load_report(str(path)).of("b")] == ["one"]


def test_documents_one_after_the_other(tmp_path: Path) -> None:
    """`kubectl get -o json -w` prints an object each time it changes."""
    rows = [deployment("b", "one", COMMIT, ready=False), deployment("b", "two", COMMIT)]
    path = tmp_path / "watched.json"
    path.write_text(
        "\n".join(json.dumps(one, indent=2) for one in [*rows, deployment("b", "one", COMMIT)])
    )
    assert [(one.cluster, one.ready) for one in load_report(str(path)).of("b")] == [
        ("one", True),
        ("two", True),
    ]


def test_fleet_monitor_that_runs_on(tmp_path: Path) -> None:
    """One line each time, the last of which may be half there; and no deployments at all."""
    path = tmp_path / "monitor.json"
    row = {"namespace": "cluster-one", "name": "b", "commit": COMMIT, "ready": True}
    lines = [
        json.dumps({"timestamp": "2026-11-28T11:00:00Z", "bundledeployments": [row]}),
        json.dumps({"timestamp": "2026-11-28T12:00:00Z", "diagnostics": {}}),
    ]
    path.write_text("\n".join(lines))
    report = load_report(str(path))
    assert (report.at, report.deployments) == (NOW, ())
    path.write_text("\n".join([lines[0], lines[1][:40]]))
    report = load_report(str(path))
    assert report.at == NOW - timedelta(hours=1)
    assert len(report.deployments) == 1
    path.write_text(lines[0][:-1])
    with pytest.raises(InputError, match="ends early"):
        load_report(str(path))


def test_an_older_fleet(tmp_path: Path) -> None:
    """Without a staged id, without conditions, without the commit: nothing is claimed."""
    old = deployment("b", "one", COMMIT)
    del old["spec"]["stagedDeploymentID"], old["status"]["conditions"]
    del old["metadata"]["labels"]["fleet.cattle.io/commit"]
    (one,) = load_report(write_report(tmp_path / "sites.json", [old])).of("b")
    assert (one.commit, one.has_it, one.held, one.since) == ("", True, False, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
fields = st.sampled_from(
    ["metadata", "labels", "spec", "status", "conditions", "ready", "kind", "agent", "value",
     "metric", "name", "type", "timestamp"]
)  # fmt: skip
shaped = st.recursive(
    json_values, lambda inner: st.dictionaries(fields, inner, max_size=4), max_leaves=12
)
kinds = st.sampled_from(["Bundle", "BundleDeployment", "Cluster"])


@settings(deadline=None)
@given(st.lists(st.builds(lambda kind, one: {"kind": kind, "spec": one}, kinds, shaped) | shaped))
def test_another_fleet_s_fields_break_nothing(items: list[object]) -> None:
    with suppress(InputError):  # of other kinds alone
        from_kubectl({"items": items}, "r", NOW)
    from_monitor({"bundledeployments": items}, "r", NOW)
    with suppress(InputError):  # of another query
        from_prometheus({"data": {"result": items}}, "r", NOW)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read(text: str) -> None:
    from_exposition(text, "r", NOW)


@pytest.mark.parametrize(
    ("kind", "api"),
    [
        ("Pod", "v1"),
        ("Cluster", "cluster.x-k8s.io/v1beta1"),
        ("Cluster", "management.cattle.io/v3"),
    ],
)
def test_objects_of_another_kind_are_no_report(tmp_path: Path, kind: str, api: str) -> None:
    """Read as one, they say that no cluster fails."""
    row = {"apiVersion": api, "kind": kind, "metadata": {"name": "a", "labels": {"site": "b"}}}
    with pytest.raises(InputError, match=rf"Expected Fleet's .*, got others: {kind} of {api}"):
        load_report(write_report(tmp_path / "sites.json", [row]))
    both = load_report(write_report(tmp_path / "sites.json", [row, cluster("c", "", x="y")]))
    assert both.labels == {"c": {"x": "y"}}
    assert load_report(write_report(tmp_path / "sites.json", [])).deployments == ()
