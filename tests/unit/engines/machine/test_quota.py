"""What a container may use of the processors, on trees as the kernel's documents describe them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backends.openvino.settings import latency_config, streams_config
from engines.machine.sensors.processors import ProcessorSensor
from engines.machine.sensors.quota import read_quota, read_quota_throttles, usable_processors
from engines.measure.sampler import StateSampler

STAT = "nr_periods 20\nnr_throttled {}\nthrottled_usec 31\n"
TWO = "sys/fs/cgroup"
ONE = "sys/fs/cgroup/cpu"
V1 = "12:memory:/x\n4:cpu,cpuacct:/docker/abc\n0::/\n"

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A function that writes files, path below the root to content, and returns the root."""

    def write(files: dict[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", f"{TWO}/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", f"{TWO}/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", f"{TWO}/cpu.max": "0 0\n"}, None),
        # The group above has the smaller one.
        (
            {
                "proc/self/cgroup": "0::/kubepods/pod1/c\n",
                f"{TWO}/kubepods/cpu.max": "max 100000\n",
                f"{TWO}/kubepods/pod1/cpu.max": "50000 100000\n",
                f"{TWO}/kubepods/pod1/c/cpu.max": "200000 100000\n",
            },
            0.5,
        ),
        # Docker with version 1: the path is the host's, the mount is the container's own.
        (
            {
                "proc/self/cgroup": V1,
                f"{ONE}/cpu.cfs_quota_us": "250000\n",
                f"{ONE}/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": V1,
                f"{ONE}/docker/abc/cpu.cfs_quota_us": "-1\n",
                f"{ONE}/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/../../x\n", f"{TWO}/cpu.max": "100000 100000\n"}, 1.0),
        ({}, None),
    ],
)
def test_the_smallest_quota_of_the_groups(
    tree: Tree, files: dict[str, str], quota: float | None
) -> None:
    assert read_quota(tree(files)) == quota


@pytest.mark.parametrize(
    ("limit", "processors"), [("max", 4), ("50000", 1), ("199999", 1), ("250000", 2), ("900000", 4)]
)
def test_whole_processors_of_the_quota(
    tree: Tree, limit: str, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    files = {"proc/self/cgroup": "0::/\n", f"{TWO}/cpu.max": f"{limit} 100000\n"}
    assert usable_processors(tree(files)) == processors


def test_openvino_gets_as_many_threads_as_the_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = "engines.backends.openvino.settings"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(f"{settings}.usable_processors", lambda: 2)
    assert latency_config()["INFERENCE_NUM_THREADS"] == "2"
    assert streams_config(4) == {
        **{"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "2"}
    }
    monkeypatch.setattr(f"{settings}.usable_processors", lambda: 4)
    assert "INFERENCE_NUM_THREADS" not in latency_config()


def test_throttles_of_all_groups_are_counted(tree: Tree) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/c\n",
        f"{TWO}/cpu.stat": "usage_usec 5\n",
        f"{TWO}/pod/cpu.stat": STAT.format(3),
        f"{TWO}/pod/c/cpu.stat": STAT.format(4),
    }
    root = tree(files)
    assert sorted(read_quota_throttles(root).values()) == [3, 4]
    assert ProcessorSensor(root, [0]).count().quota_throttles == read_quota_throttles(root)


def test_a_measurement_says_how_often_it_was_held_back(tree: Tree) -> None:
    limits = {"proc/self/cgroup": "0::/\n", f"{TWO}/cpu.max": "150000 100000\n"}
    root = tree({**limits, f"{TWO}/cpu.stat": STAT.format(3)})
    sampler = StateSampler(root, cpus=[0])
    with sampler:
        tree({f"{TWO}/cpu.stat": STAT.format(8)})
    state = sampler.state(0.0)
    assert (state.quota_processors, state.quota_throttles) == (1.5, 5)


@given(
    group=st.text(max_size=40).filter(lambda text: "\0" not in text),
    limit=st.text(max_size=20),
    stat=st.text(max_size=60),
)
def test_any_content_is_read_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, group: str, limit: str, stat: str
) -> None:
    root = tmp_path_factory.mktemp("tree")
    (root / TWO).mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::{group}", errors="ignore")
    (root / TWO / "cpu.max").write_text(limit, errors="ignore")
    (root / TWO / "cpu.stat").write_text(stat, errors="ignore")
    quota = read_quota(root)
    assert quota is None or quota >= 0
    assert usable_processors(root) >= 1
    assert all(count >= 0 for count in read_quota_throttles(root).values())
