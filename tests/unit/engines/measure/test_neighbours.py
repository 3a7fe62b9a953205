"""Neighbours: what other programs did is read from files below a root."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.measure.neighbours import Limits, Neighbours

LIMITS = Limits(steal_share=0.05, others_share=0.05, wait_share=0.25)
WINDOW = 0.1


class Machine:
    """Two processors below a root, whose accounts a test moves on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ticks = {"user": 1000, "idle": 5000, "steal": 0}
        self.own_ticks, self.own_ns, self.wait_ns, self.other_ns = 100, 10**9, 0, 5 * 10**9
        self.write()

    def write(self) -> None:
        half = {name: value // 2 for name, value in self.ticks.items()}
        row = f"{half['user']} 0 0 {half['idle']} 0 0 0 {half['steal']} 0 0"
        self._file("proc/stat", f"cpu  0\ncpu0 {row}\ncpu1 {row}\n")
        fields = " ".join(["S", *["0"] * 10, str(self.own_ticks), "0", "0"])
        self._file("proc/self/stat", f"1 (python) {fields}")
        self._file("proc/self/task/1/schedstat", f"{self.own_ns} {self.wait_ns} 5")
        self._file(f"proc/{os.getpid()}/task/1/schedstat", f"{self.own_ns} {self.wait_ns} 5")
        self._file("proc/999999/task/1/schedstat", f"{self.other_ns} 0 5")

    def _file(self, path: str, content: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def window(machine: Machine, **change: int) -> str | None:
    """What is said of a window in which these accounts rose by so much."""
    return watched(machine, **change)[0]


def watched(
    machine: Machine, *, limits: Limits = LIMITS, **change: int
) -> tuple[str | None, str | None]:
    """What disturbed such a window, and what disturbed it slightly."""
    watch = Neighbours(limits, [0, 1], machine.root)
    watch.begin()
    for name, by in change.items():
        if name in machine.ticks:
            machine.ticks[name] += by
        else:
            setattr(machine, name, getattr(machine, name) + by)
    machine.write()
    return watch.end(WINDOW), watch.slight


def test_our_own_work_is_no_disturbance(machine: Machine) -> None:
    assert window(machine, user=20, own_ticks=20, own_ns=200_000_000) is None


def test_another_program_is_seen_by_its_own_account(machine: Machine) -> None:
    assert window(machine, other_ns=11_000_000) == "others"
    assert window(machine, other_ns=9_000_000) is None


@pytest.mark.parametrize("change", [{"other_ns": 300_000_000}, {"user": 30}, {"steal": 30}])
def test_a_limit_of_all_lets_others_have_all(machine: Machine, change: dict[str, int]) -> None:
    """More than the window was long: under load the counters are read late."""
    everything = Limits(steal_share=1.0, others_share=1.0, wait_share=1.0)
    assert watched(machine, **change, limits=everything)[0] is None
    assert watched(machine, **change)[0] is not None


def test_another_program_that_came_since_counts_whole(machine: Machine) -> None:
    watch = Neighbours(LIMITS, [0, 1], machine.root)
    watch.begin()
    machine._file("proc/999998/task/1/schedstat", "50000000 0 1")
    assert watch.end(WINDOW) == "others"


def test_what_a_container_does_not_see_is_in_the_ticks(machine: Machine) -> None:
    assert window(machine, user=8, own_ticks=4) == "others"
    assert window(machine, user=6, own_ticks=4) is None


def test_what_the_hypervisor_took(machine: Machine) -> None:
    assert window(machine, steal=4, idle=16) == "steal"
    assert window(machine, steal=2, idle=18) is None


def test_a_window_is_calm_with_a_quarter_of_what_others_may_have(machine: Machine) -> None:
    assert watched(machine, other_ns=2_400_000) == (None, None)
    assert watched(machine, other_ns=2_600_000) == (None, "others")
    assert watched(machine, own_ns=200_000_000, own_ticks=20, user=20) == (None, None)


def test_a_tick_of_the_hypervisor_and_more_than_two_of_others_are_not_calm(
    machine: Machine,
) -> None:
    assert watched(machine, steal=2, idle=18) == (None, "steal")
    assert watched(machine, user=2) == (None, None)
    much = Limits(steal_share=0.05, others_share=0.5, wait_share=0.25)
    watch = Neighbours(much, [0, 1], machine.root)
    watch.begin()
    machine.ticks["user"] += 4
    machine.write()
    assert (watch.end(WINDOW), watch.slight) == (None, "others")


def test_waiting_for_a_processor(machine: Machine) -> None:
    assert window(machine, own_ns=100_000_000, wait_ns=50_000_000) == "wait"
    assert window(machine, own_ns=100_000_000, wait_ns=20_000_000) is None


def test_a_machine_that_says_nothing_disturbs_nothing(tmp_path: Path) -> None:
    watch = Neighbours(LIMITS, [0, 1], tmp_path)
    watch.begin()
    assert watch.end(WINDOW) is None


def test_a_real_neighbour_is_seen() -> None:
    cpus = [min(os.sched_getaffinity(0))]  # of very many it would be a small part
    busy = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    )
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        watch = Neighbours(Limits(steal_share=1, others_share=0.05, wait_share=1), cpus)
        watch.begin()
        begun = time.perf_counter()
        time.sleep(0.5)
        assert watch.end(time.perf_counter() - begun) == "others"
    finally:
        busy.kill()
        busy.wait()
