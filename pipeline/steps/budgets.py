"""`pipeline budgets`: the budgets of an engine from what its own device measured.

A budget that is derived from other devices' figures may be twice what the engine needs, and then
catches nothing. After a device's first run its own figures, with a margin, are better ones.
"""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.machine.fingerprint import describe
from engines.records.benchmark import Benchmark
from pipeline.device.recognition import mismatches
from pipeline.repository.lock import one_at_a_time
from pipeline.repository.yaml_edit import edited_yaml, put

MOST = 10.0
"""A margin above 1000 % is a slip of the pen."""


def budgets(workspace: Workspace, target_name: str, measurement: Path, margin: float) -> str:
    """Write the budgets of the engine that `measurement`, a benchmark.json, is of; `margin` is a
    part of the figures. Returns what was done, in words.

    The limits of time, throughput and memory are written; those of accuracy and size are nobody's
    measurement. The p99 never goes above the target's own, which is what cameras need, and the p50
    never above the p99.
    Raises InputError when the measurement is INVALID, not of this target and its device, or without
    figures above 0; nothing is written then.
    """
    target = load_target(workspace, target_name)
    found = Benchmark.read(measurement)
    _check(target, found, measurement)
    limits = _limits(target, found, margin)
    with (
        one_at_a_time(workspace),
        edited_yaml(workspace.target(target_name) / "params.yaml") as content,
    ):
        row = content["engines"][found.engine]
        put(row, "budgets_from", "measured", _source(found))
        written = row.get("budgets") or CommentedMap()
        for name, (limit, beside) in limits.items():
            put(written, name, limit, beside)
        if row.get("budgets") is not written:
            put(row, "budgets", written)
    target = load_target(workspace, target_name)
    now = target.budgets_of(found.engine).limits()
    lines = "\n".join(
        f"  {name}: {now[name]:g}  ({beside})" for name, (_, beside) in limits.items()
    )
    return (
        f"Wrote the budgets of {found.engine} to engines/targets/{target_name}/params.yaml:\n"
        f"{lines}\nLook at the difference, commit it, and judge again with "
        f"`dvc repro engines/targets/{target_name}/dvc.yaml`."
    )


def parse_margin(text: str) -> float:
    """`25%` as 0.25. Raises InputError for anything else, and below 0 or above 1000 %."""
    number = text.strip().removesuffix("%")
    try:
        margin = float(number) / 100
    except ValueError:
        margin = -1.0
    if not text.strip().endswith("%") or not 0 <= margin <= MOST:
        raise InputError(f"Expected --margin as a percentage such as 25%, got {text!r}.")
    return margin


def _check(target: TargetConfig, found: Benchmark, path: Path) -> None:
    if found.target != target.target:
        raise InputError(
            f"Expected a measurement of target {target.target}, but {path} is of {found.target}. "
            f"Run this with `--target {found.target}`."
        )
    target.engine(found.engine)
    if not found.validity.valid:
        raise InputError(
            f"Expected a measurement that can be trusted, but {path} is INVALID: "
            f"{' '.join(found.validity.causes())} Measure again with `pipeline benchmark "
            f"{found.engine} --target {target.target}`."
        )
    wrong = mismatches(found.device, target.device) if found.device else ["named in the file"]
    if wrong:
        device = describe(found.device) if found.device else "an unknown device"
        raise InputError(
            f"Expected a measurement on a device of target {target.target}, but {path} is of "
            f"{device}, which is not {', '.join(wrong)}. Measure again with `pipeline benchmark "
            f"{found.engine} --target {target.target}` on such a device."
        )
    _check_figures(target, found, path)


def _check_figures(target: TargetConfig, found: Benchmark, path: Path) -> None:
    again = f"Measure again with `pipeline benchmark {found.engine} --target {target.target}`."
    if (frame := found.frame.get("1")) is None:
        raise InputError(
            f"Expected figures at batch 1 in {path}, got `frame` at batches "
            f"{', '.join(found.frame) or '(none)'}. {again}"
        )
    for name, figure in (
        ("p50_ms", frame.p50_ms),
        ("p99_ms", frame.p99_ms),
        ("frames_per_second", found.throughput.frames_per_second),
        ("memory_peak_mib", found.memory_peak_mib),
    ):
        if figure <= 0:
            raise InputError(
                f"Expected measured figures above 0 in {path}, got {name} {figure:g}. {again}"
            )


def _limits(target: TargetConfig, found: Benchmark, margin: float) -> dict[str, tuple[float, str]]:
    """Budget to its limit and the words beside it."""
    frame, more = found.frame["1"], f"{margin:.0%}"
    highest = target.budgets.frame_p99_ms
    p50, p99 = frame.p50_ms * (1 + margin), frame.p99_ms * (1 + margin)
    capped = f", at most the target's {highest:g}" if p99 > highest else ""
    below = ", at most that of the p99" if p50 > highest else ""
    fps = found.throughput.frames_per_second
    figures = {
        "frame_p50_ms": (min(p50, highest), f"p50 {frame.p50_ms:.3g} ms + {more}{below}"),
        "frame_p99_ms": (min(p99, highest), f"p99 {frame.p99_ms:.3g} ms + {more}{capped}"),
        "throughput_fps": (fps / (1 + margin), f"{fps:.4g} a second less {more}"),
        "memory_peak_mib": (
            found.memory_peak_mib * (1 + margin),
            f"{found.memory_peak_mib:.4g} MiB + {more}",
        ),
    }
    return {
        name: (float(f"{limit:.4g}"), f"measured {of}") for name, (limit, of) in figures.items()
    }


def _source(found: Benchmark) -> str:
    assert found.device is not None
    return f"measured with engine {found.engine_sha256[:12]} on {describe(found.device)}"
