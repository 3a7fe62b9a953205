"""trtexec, NVIDIA's own benchmark, as a second opinion on the plan that we measured.

Compared is the GPU's compute time at batch 1: from an event before the inference to one after it on
the same stream, no copies between host and device. trtexec keeps one inference enqueued ahead of
the one that it waits for, so the time to launch is in none of its figures ("Command-Line Programs"
in NVIDIA's TensorRT documentation); what it is compared with must be measured in that way too.

Flags and formats follow NVIDIA/TensorRT, `samples/common` at 8.6.1, 10.3.0, 10.16 and 11.1, and for
`tensorrt_rtx` (trtexec of TensorRT-RTX) its documentation. No real tool has confirmed them here.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import statistics
from pathlib import Path
from typing import Any

from packaging.version import Version

from engines.errors import InputError, JetrailError, WrongEngine
from engines.files import temporary_folder
from engines.records.benchmark import CrossCheck
from engines.records.manifest import Manifest, Tensor
from pipeline.latency.trtexec_tool import Tool, ended, find, probe, run, tail

LIMIT_SHARE = 0.03
"""How far the two medians may lie apart, as a part of trtexec's."""
TIMEOUT_S = 300.0
TIMES_FILE = "trtexec-times.json"
# trtexec keeps times as float32 milliseconds since its start and subtracts those: before 4096 ms
# they are exact to 0.00024 ms, after ten seconds to 0.001 ms, 0.5 % of an engine of 0.2 ms. In the
# first second, five times the default, the clocks rise.
# 100 inferences are enough for a median where one takes long; averages of 100 keep the log short.
LENGTH = ("--warmUp=1000", "--duration=3", "--iterations=100", "--avgRuns=100")
OFF_SWITCHES = {
    # As we run it, and so that the gaps between kernels do not count.
    "--useCudaGraph": {"--noCudaGraph", "--rtxCudaGraphStrategy"},
    # A thread that sleeps wakes late and lets the queue run dry.
    "--useSpinWait": {"--noSpinWait"},
    # Copies of the next inference would share the memory's bandwidth with this one's compute.
    "--noDataTransfers": {"--includeDataTransfers"},
}
"""Flag to those that appear in the help of tools that behave so without being asked. trtexec 11
still takes the old flags, warns and ignores them; NVIDIA does not say since when tensorrt_rtx has
its defaults, and its numbers are its own. So the help decides, not the version."""
VALUES = {
    "--rtxCudaGraphStrategy": "wholeGraph",
    # By default (lazy) the first inferences run fallback kernels while others are compiled.
    "--specializeStrategyDS": "eager",
}
"""Flags of tensorrt_rtx, where it has them, to the value that is ours."""

NO_GRAPH = re.compile(r".*(?:without using CUDA graph|CUDA graph option has been disabled).*")
REFUSED = re.compile(
    r"version tag does not match|not compatible with this version|incompatible device|magic ?tag",
    re.IGNORECASE,
)


def arguments(tool: Tool, manifest: Manifest) -> tuple[str, ...]:
    """What makes this tool measure the plan as we do, at batch 1, in the plan's own folder.

    Raises InputError when the plan does not take batch 1.
    """
    asked = [flag for flag, off in OFF_SWITCHES.items() if not off & tool.flags]
    asked += [f"{flag}={value}" for flag, value in VALUES.items() if flag in tool.flags]
    plan = manifest.tensorrt
    if plan and plan.version_compatible:
        # Else trtexec refuses a plan that carries code of the host (the lean runtime).
        asked.append("--versionCompatible")
    if plan and plan.dla_core is not None:
        asked.append(f"--useDLACore={plan.dla_core}")
    return (
        f"--loadEngine={manifest.engine_file}",
        *_shapes(manifest),
        *asked,
        *LENGTH,
        f"--exportTimes={TIMES_FILE}",
    )


def _shapes(manifest: Manifest) -> tuple[str, ...]:
    if manifest.batch.min > 1:
        raise InputError(
            f"Expected {manifest.engine} to take batch 1, which --cross-check measures, but its "
            f"smallest batch is {manifest.batch.min}. Set `batch` min to 1 in the target's "
            "params.yaml and build again, or leave --cross-check out."
        )
    dynamic = [_shape(tensor) for tensor in manifest.inputs if None in tensor.shape]
    return (f"--shapes={','.join(dynamic)}",) if dynamic else ()


def _shape(tensor: Tensor) -> str:
    # A colon parts name and shape, but not inside single quotes.
    name = f"'{tensor.name}'" if ":" in tensor.name else tensor.name
    return f"{name}:{'x'.join(str(size or 1) for size in tensor.shape)}"


def cross_check(
    engine: Path, manifest: Manifest, ours_p50_ms: float, *, timeout_s: float = TIMEOUT_S
) -> CrossCheck:
    """Let NVIDIA's tool measure the plan and compare its median with ours, both milliseconds.

    Takes some ten seconds on a free GPU. Raises InputError when the tool is missing or the engine
    cannot be compared, WrongEngine when plan and tool do not belong together, and JetrailError
    with the tool's own words when it fails or is not done after `timeout_s` seconds.
    """
    tool = probe(find(manifest.backend_package))
    _check_version(tool, manifest)
    command = (str(tool.path), *arguments(tool, manifest))
    # From a folder of its own, so that the record's command names no temporary file and works
    # wherever the plan is.
    with temporary_folder() as folder:
        (folder / manifest.engine_file).symlink_to(engine.resolve())
        code, said = run(command, folder, timeout_s)
        _check_run(tool, manifest, code, said)
        theirs = statistics.median(read_times(folder / TIMES_FILE))
    return CrossCheck(
        command=command,
        version=tool.version,
        ours_p50_ms=ours_p50_ms,
        trtexec_p50_ms=theirs,
        difference_share=ours_p50_ms / theirs - 1,
    )


def disagreement(check: CrossCheck) -> tuple[str, ...]:
    """A sentence when the medians lie more than 3 % apart, else nothing."""
    if round(abs(check.difference_share), 9) <= LIMIT_SHARE:
        return ()
    return (
        f"Expected our median GPU compute time within {LIMIT_SHARE:.0%} of trtexec's, but ours is "
        f"{check.ours_p50_ms:.3f} ms and that of trtexec {check.version} "
        f"{check.trtexec_p50_ms:.3f} ms ({check.difference_share:+.1%}). Stop other programs on "
        "the GPU, fix its clocks (`sudo jetson_clocks`, or `nvidia-smi -lgc`) and measure again; "
        "if they still disagree, report it with what this prints in the engine's folder: "
        f"`{shlex.join(check.command)}`.",
    )


def read_times(path: Path) -> tuple[float, ...]:
    """GPU compute time of each inference in milliseconds, from what `--exportTimes` wrote.

    An array with an object an inference, warm-up left out (`exportJSONTrace` in
    sampleReporting.cpp; the same keys from 8.6 to 11.1). Raises JetrailError for anything else.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, list) or not content:
            raise ValueError("it holds no inference")
        return tuple(_compute_ms(one) for one in content)
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise JetrailError(
            "Expected trtexec to write an array of times with `computeMs` above 0, but "
            f"{path.name} is not that: {error}. Measure again; if it stays so, report it with the "
            "version of trtexec."
        ) from error


def _compute_ms(one: Any) -> float:
    value = one.get("computeMs") if isinstance(one, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"an inference without `computeMs`: {str(one)[:80]}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"`computeMs` is {value}")
    return float(value)


def _check_version(tool: Tool, manifest: Manifest) -> None:
    """Refuse a tool of another TensorRT, but for plans that bring their own runtime along."""
    built_with = Version(manifest.backend_version).release[:3]
    portable = manifest.tensorrt is not None and manifest.tensorrt.version_compatible
    if not portable and Version(tool.version).release[:3] != built_with:
        raise WrongEngine(
            f"Expected {tool.path.name} of {manifest.backend_package} {manifest.backend_version}, "
            f"which built {manifest.engine}, but {tool.path} is of {tool.version}. Put the right "
            f"one first on PATH, or build again with the TensorRT that is here: {_build(manifest)}."
        )


def _check_run(tool: Tool, manifest: Manifest, code: int, said: str) -> None:
    results = [line for line in said.splitlines() if line.startswith("&&&& ")]
    if code == 0 and results and results[-1].startswith("&&&& PASSED"):
        _check_graph(manifest, said)
        return
    if REFUSED.search(tail(said)):
        raise WrongEngine(
            f"Expected {tool.path.name} {tool.version} to load {manifest.engine}, but it refused:\n"
            f"{tail(said)}\nThe plan is of another TensorRT, JetPack or GPU, or was altered. "
            f"Build it again on this device: {_build(manifest)}."
        )
    raise JetrailError(
        f"Expected {tool.path.name} {tool.version} to measure {manifest.engine}, but it "
        f"{ended(code)}:\n{tail(said)}\nIf memory ran out, stop other programs on the GPU; "
        "otherwise report it with these lines. Without --cross-check nothing of this is needed."
    )


def _check_graph(manifest: Manifest, said: str) -> None:
    if warning := NO_GRAPH.search(said):
        raise InputError(
            f"Expected trtexec to run {manifest.engine} as a CUDA graph, as we do, but it said: "
            f"{warning[0].strip()} Its times would hold the gaps between kernels, which ours do "
            "not. Leave --cross-check out."
        )


def _build(manifest: Manifest) -> str:
    return f"`pipeline build {manifest.engine} --target {manifest.target}`"
