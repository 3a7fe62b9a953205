"""When a measurement is INVALID, and that each reason says what was measured and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from engines.config.target import BenchmarkRow, load_target
from engines.config.workspace import Workspace
from engines.records.benchmark import MachineState, Quiet
from engines.records.reason import Reason
from pipeline.latency import validity

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
def row() -> BenchmarkRow:
    return load_target(Workspace(root=REPOSITORY), "x86-openvino").benchmark


ALL_QUIET = Quiet(share=1, enough=True, seconds=8, set_aside={})


def invalid_reasons(
    state: MachineState, row: BenchmarkRow, quiet: Quiet = ALL_QUIET, *, jetson: bool = False
) -> tuple[str, ...]:
    return texts(validity.invalid_reasons(state, quiet, row, jetson=jetson))


def disturbances(state: MachineState, row: BenchmarkRow) -> tuple[str, ...]:
    return texts(validity.disturbances(state, row))


def texts(reasons: Iterable[Reason]) -> tuple[str, ...]:
    return tuple(one.text for one in reasons)


QUIET = MachineState(
    steal_share=0.0,
    others_share=0.01,
    run_queue_wait_share=0.01,
    drift_share=0.02,
    clock_min_mhz=None,
    clock_max_mhz=None,
    throttle_events=0,
    temperature_max_c=60.0,
)


def test_a_machine_that_others_use_is_valid_where_enough_was_quiet(row: BenchmarkRow) -> None:
    mostly_busy = Quiet(share=0.2, enough=True, seconds=8, set_aside={"others": 300})
    assert invalid_reasons(QUIET, row, mostly_busy) == ()


def test_a_quiet_machine_is_valid(row: BenchmarkRow) -> None:
    assert invalid_reasons(QUIET, row) == ()
    nothing_readable = QUIET.model_copy(
        update=dict.fromkeys(
            ("steal_share", "run_queue_wait_share", "throttle_events", "temperature_max_c")
        )
    )
    assert invalid_reasons(nothing_readable, row) == ()


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"drift_share": 0.3}, ("30.0%", "limit is 10.0%", "settle")),
        ({"throttle_events": 4}, ("by 4", "limit is 0", "Cool")),
        ({"temperature_max_c": 101.0}, ("101 °C", "limit is 95 °C", "Cool")),
    ],
)
def test_each_reason_says_measured_limit_and_what_to_do(
    row: BenchmarkRow, change: dict[str, object], parts: tuple[str, ...]
) -> None:
    (reason,) = invalid_reasons(QUIET.model_copy(update=change), row)
    for part in parts:
        assert part in reason


JETSON = QUIET.model_copy(
    update={
        "gpu_clock_min_mhz": 918.0,
        "gpu_clock_max_mhz": 918.0,
        "over_current_events": 0,
        "power_mode": "MAXN",
    }
)


@pytest.fixture
def jetson_row(row: BenchmarkRow) -> BenchmarkRow:
    return row.model_copy(update={"max_clock_drift_share": 0.05, "power_mode": "MAXN"})


def test_a_jetson_that_holds_its_clock_and_mode_is_valid(jetson_row: BenchmarkRow) -> None:
    assert invalid_reasons(JETSON, jetson_row) == ()
    within = JETSON.model_copy(update={"gpu_clock_min_mhz": 918.0 * 0.96})
    assert invalid_reasons(within, jetson_row) == ()


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            {"gpu_clock_min_mhz": 612.0},
            (
                "between 612 and 918 MHz, 33.3% of the higher",
                "limit is 5.0%",
                "sudo jetson_clocks",
                "-lgc",
            ),
        ),
        ({"over_current_events": 3}, ("rose by 3", "limit is 0", "power supply", "nvpmodel -m")),
        (
            {"throttle_reasons": ("HwSlowdown", "SwPowerCap")},
            ("nothing slows down", "HwSlowdown, SwPowerCap", "Cool the device"),
        ),
        (
            {"other_gpu_processes": (812, 913)},
            ("process 812, 913", "GPU to itself", "`nvidia-smi` names them"),
        ),
        (
            {"power_mode": "15W"},
            ("Expected the power mode MAXN, got 15W", "sudo nvpmodel -m"),
        ),
        (
            {"power_mode": "MAXN, then 15W"},
            ("one power mode", "got MAXN, then 15W", "nvpmodel -q"),
        ),
        (
            {"memory_clock_min_mhz": 2133.0, "memory_clock_max_mhz": 3199.0},
            ("memory clock moved between 2133 and 3199 MHz", "33.3%", "sudo jetson_clocks", "-lmc"),
        ),
        ({"power_mode": None}, ("does not say", "nvpmodel -q", "params.yaml")),
    ],
)
def test_each_reason_of_a_gpu(
    jetson_row: BenchmarkRow, change: dict[str, object], parts: tuple[str, ...]
) -> None:
    (reason,) = invalid_reasons(JETSON.model_copy(update=change), jetson_row)
    for part in parts:
        assert part in reason


def test_a_card_is_judged_by_its_own_temperature(jetson_row: BenchmarkRow) -> None:
    row = jetson_row.model_copy(update={"max_temperature_c": 83.0})
    hot_processors = {"temperature_max_c": 97.0, "gpu_temperature_max_c": 61.0}
    assert invalid_reasons(JETSON.model_copy(update=hot_processors), row) == ()
    hot_card = {"temperature_max_c": 97.0, "gpu_temperature_max_c": 84.0}
    (reason,) = invalid_reasons(JETSON.model_copy(update=hot_card), row)
    assert "The GPU reached 84 °C; the limit is 83 °C" in reason
    (reason,) = invalid_reasons(JETSON.model_copy(update={"temperature_max_c": 97.0}), row)
    assert "The machine reached 97 °C" in reason


def test_a_row_without_a_clock_limit_and_mode_asks_for_none(row: BenchmarkRow) -> None:
    unsteady = {"gpu_clock_min_mhz": 100.0, "memory_clock_min_mhz": 9.0, "power_mode": "15W"}
    moved = JETSON.model_copy(update=unsteady | {"memory_clock_max_mhz": 99.0})
    assert invalid_reasons(moved, row) == ()
    changed = JETSON.model_copy(update={"power_mode": "MAXN, then 15W"})
    assert len(invalid_reasons(changed, row)) == 1


def test_a_clock_with_a_limit_that_cannot_be_read_is_invalid(jetson_row: BenchmarkRow) -> None:
    unread = {"gpu_clock_min_mhz": None, "gpu_clock_max_mhz": None}
    state = JETSON.model_copy(update=unread)
    (reason,) = invalid_reasons(state, jetson_row, jetson=True)
    assert "Expected the GPU's clock, which benchmark.max_clock_drift_share limits" in reason
    assert "/sys/class/devfreq" in reason
    (reason,) = invalid_reasons(state, jetson_row)
    assert "nvidia-smi" in reason
    assert (
        invalid_reasons(state, jetson_row.model_copy(update={"max_clock_drift_share": None})) == ()
    )


def test_over_current_counters_are_asked_of_a_jetson_alone(jetson_row: BenchmarkRow) -> None:
    state = JETSON.model_copy(update={"over_current_events": None})
    (reason,) = invalid_reasons(state, jetson_row, jetson=True)
    assert "Expected the Jetson's over-current counters" in reason
    assert "oc1_event_cnt" in reason
    assert invalid_reasons(state, jetson_row) == ()


def test_heat_disturbs_no_soak_but_other_programs_do(jetson_row: BenchmarkRow) -> None:
    hot = {
        "throttle_events": 9,
        "over_current_events": 9,
        "throttle_reasons": ("HwThermalSlowdown",),
        "temperature_max_c": 105.0,
        "drift_share": 0.9,
        "gpu_clock_min_mhz": 100.0,
    }
    state = JETSON.model_copy(update=hot)
    assert len(invalid_reasons(state, jetson_row)) == 6
    assert disturbances(state, jetson_row) == ()
    (reason,) = disturbances(state.model_copy(update={"others_share": 0.4}), jetson_row)
    assert "used by other programs" in reason
    for mode in ("15W", "MAXN, then 15W", None):
        assert len(disturbances(state.model_copy(update={"power_mode": mode}), jetson_row)) == 1
    (reason,) = disturbances(state.model_copy(update={"other_gpu_processes": (812,)}), jetson_row)
    assert "process 812" in reason


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"steal_share": 0.2}, ("20.0%", "limit is 5.0%", "hypervisor", "own")),
        ({"run_queue_wait_share": 0.5}, ("50.0%", "limit is 25.0%", "Stop other programs")),
        ({"others_share": 0.4}, ("40.0%", "used by other programs", "limit is 2.0%")),
    ],
)
def test_what_others_took_disturbs_a_soak_and_is_set_aside_elsewhere(
    row: BenchmarkRow, change: dict[str, object], parts: tuple[str, ...]
) -> None:
    state = QUIET.model_copy(update=change)
    (reason,) = disturbances(state, row)
    for part in parts:
        assert part in reason
    assert invalid_reasons(state, row) == ()


def test_a_container_that_its_quota_held_back_is_told_so_and_of_nothing_else(
    row: BenchmarkRow,
) -> None:
    throttled = QUIET.model_copy(update={"quota_processors": 1.5, "quota_throttles": 7})
    too_little = Quiet(share=0.1, enough=False, seconds=1, set_aside={"wait": 30})
    (reason,) = invalid_reasons(throttled, row, too_little)
    assert "quota of 1.5 processors held the measurement back 7 times" in reason
    assert "--cpus" in reason
    assert texts(validity.lasting_reasons(throttled, row)) == (reason,)
    unthrottled = QUIET.model_copy(update={"quota_processors": 1.5, "quota_throttles": 0})
    assert invalid_reasons(unthrottled, row) == ()


def test_at_its_limit_a_machine_is_valid(row: BenchmarkRow, jetson_row: BenchmarkRow) -> None:
    at = {"drift_share": row.max_drift_share, "temperature_max_c": row.max_temperature_c}
    assert invalid_reasons(QUIET.model_copy(update=at), row) == ()
    share = jetson_row.max_clock_drift_share
    assert share is not None
    clocks = {"gpu_clock_min_mhz": 1000 * (1 - share), "gpu_clock_max_mhz": 1000.0}
    assert invalid_reasons(JETSON.model_copy(update=clocks), jetson_row, jetson=True) == ()
    below = clocks | {"gpu_clock_min_mhz": 1000 * (1 - 1.5 * share)}
    (reason,) = invalid_reasons(JETSON.model_copy(update=below), jetson_row, jetson=True)
    assert f"{1.5 * share:.1%} of the higher" in reason
    taken = {"others_share": row.max_others_share}
    assert disturbances(QUIET.model_copy(update=taken), row) == ()


LIMITS = {
    "drift_share": "max_drift_share",
    "temperature_max_c": "max_temperature_c",
    "steal_share": "max_steal_share",
    "others_share": "max_others_share",
    "run_queue_wait_share": "max_run_queue_wait_share",
}


@pytest.mark.parametrize(("figure", "limit"), LIMITS.items())
def test_just_above_its_limit_it_is_not(row: BenchmarkRow, figure: str, limit: str) -> None:
    """Neither in a soak nor elsewhere is there room beyond what the row says."""
    judged = {"drift_share", "temperature_max_c"}
    for part, reasons in ((1.0, 0), (1.1, 1)):
        state = QUIET.model_copy(update={figure: part * getattr(row, limit)})
        found = invalid_reasons(state, row) if figure in judged else disturbances(state, row)
        assert len(found) == reasons


@pytest.mark.parametrize("clock", ["gpu_clock", "memory_clock"])
def test_a_clock_that_is_read_at_one_end_only_says_nothing(
    jetson_row: BenchmarkRow, clock: str
) -> None:
    for low, high in ((100.0, None), (None, 900.0)):
        ends = {f"{clock}_min_mhz": low, f"{clock}_max_mhz": high}
        state = JETSON.model_copy(update={"gpu_clock_max_mhz": 918.0} | ends)
        found = invalid_reasons(state, jetson_row)
        assert not [reason for reason in found if "moved between" in reason]


def test_a_lower_clock_of_the_gpu_does_not_hide_that_of_the_memory(
    jetson_row: BenchmarkRow,
) -> None:
    """Each clock is looked at, and each that moved is a reason of its own."""
    moved = {"gpu_clock_min_mhz": 612.0, "memory_clock_min_mhz": 9.0, "memory_clock_max_mhz": 99.0}
    found = invalid_reasons(JETSON.model_copy(update=moved), jetson_row)
    assert [reason.partition(" moved")[0] for reason in found] == [
        "The GPU's clock",
        "The GPU's memory clock",
    ]


def test_what_disturbed_most_is_said_first(row: BenchmarkRow) -> None:
    few = Quiet(share=0.1, enough=False, seconds=1, set_aside={"steal": 3, "wait": 9, "others": 5})
    (reason,) = invalid_reasons(QUIET, row, few)
    places = [reason.index(validity.WORDS[name]) for name in ("wait", "others", "steal")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("what", "had"),
    [
        ("wait", "nobody else had the processors, got"),
        ("gpu", "nobody else had the processors or the GPU, got"),
        ("clock", "nobody else had the processors or the GPU, got"),
    ],
)
def test_whose_quiet_was_too_little_is_said(row: BenchmarkRow, what: str, had: str) -> None:
    (reason,) = invalid_reasons(
        QUIET, row, Quiet(share=0.1, enough=False, seconds=1, set_aside={what: 3})
    )
    assert had in reason


def test_a_quota_that_cannot_be_read_is_not_named(row: BenchmarkRow) -> None:
    (reason,) = invalid_reasons(QUIET.model_copy(update={"quota_throttles": 2}), row)
    assert reason.startswith("The container's CPU quota held the measurement back 2 times")


def test_what_lasts(jetson_row: BenchmarkRow) -> None:
    asked = {"jetson": True}
    assert validity.lasting_reasons(JETSON, jetson_row, **asked) == ()
    unread = JETSON.model_copy(update={"over_current_events": None})
    assert len(validity.lasting_reasons(unread, jetson_row, **asked)) == 1
    assert validity.lasting_reasons(unread, jetson_row) == ()
    other = JETSON.model_copy(update={"power_mode": "15W"})
    assert len(validity.lasting_reasons(other, jetson_row, **asked)) == 1
    changed = JETSON.model_copy(update={"power_mode": "MAXN, then 15W"})
    assert validity.lasting_reasons(changed, jetson_row, **asked) == ()


def test_too_few_calls_though_nobody_disturbed(row: BenchmarkRow) -> None:
    """A machine that slows down tenfold after the warm-up: "got 100% quiet ()" it said."""
    quiet = Quiet(share=1.0, enough=False, seconds=50.0, set_aside={})
    (reason,) = invalid_reasons(QUIET, row, quiet)
    assert "got fewer, though nobody else was seen to have the processors: the machine" in reason


def test_too_little_quiet_is_one_reason(row: BenchmarkRow) -> None:
    little = Quiet(share=0.04, enough=False, seconds=0.2, set_aside={"wait": 1, "others": 9})
    drifted = QUIET.model_copy(update={"drift_share": 0.9, "others_share": 0.8})
    (reason,) = invalid_reasons(drifted, row, little)
    assert "got 4% quiet (other programs used the processors in 9 of the windows, the" in reason
    assert len(invalid_reasons(drifted, row)) == 1
    hot = drifted.model_copy(update={"throttle_events": 3})
    assert len(invalid_reasons(hot, row, little)) == 2
