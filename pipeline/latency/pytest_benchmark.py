"""pytest-benchmark as the harness: run its measurements in a child process and read its JSON."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from engines.disks import ROOM, disk_error
from engines.errors import JetrailError, says_lack_of_memory, says_lack_of_threads
from engines.extras import require
from engines.process.orphans import FOR_MEMORY, ends_with_us
from engines.records.folder import RAW_TIMES
from pipeline.latency.harness.plan import PLAN_VARIABLE, BenchmarkPlan, SoakProgress
from pipeline.latency.measurement import Extra, Measurement

HARNESS = Path(__file__).parent / "harness" / "bench_engine.py"

Tell = Callable[[SoakProgress], None]


def measure(plan: BenchmarkPlan, folder: Path, tell: Tell | None = None) -> tuple[Measurement, ...]:
    """Run the plan in a process of its own; leaves the raw JSON and what it printed in `folder`.

    A process of its own, so that the memory is the engine's and nothing else warmed the caches.
    Raises MemoryError when it gets none, and JetrailError when the harness itself fails.
    """
    for module in ("pytest", "pytest_benchmark"):
        require(module)
    plan_file, raw, printed = folder / "plan.json", folder / RAW_TIMES, folder / "printed.txt"
    tests = [f"{HARNESS}::{test}" for test in plan.tests]
    command = [
        *(sys.executable, "-m", "pytest", *tests, "--quiet", "--no-header", "--capture=no"),
        *(f"--rootdir={HARNESS.parent}", "--config-file=/dev/null", "--import-mode=importlib"),
        *("-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin"),
        *("--benchmark-only", "--benchmark-disable-gc"),
        *(f"--benchmark-json={raw}", "--benchmark-save-data", "--benchmark-storage", str(folder)),
    ]
    # Plugins and options that the user's own tests need have no place in a measurement.
    environment = (
        os.environ
        | {"PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        | {PLAN_VARIABLE: str(plan_file)}
    )
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8") as progress, printed.open("wb") as output:
        try:
            plan.model_copy(update={"progress_fd": writer}).write(plan_file)
            child = subprocess.Popen(
                ends_with_us(command),
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writer,),
            )
        finally:
            os.close(writer)  # from now on the pipe ends when the harness does
        code = _exit_status(child, progress, tell)
    if code in FOR_MEMORY:
        raise MemoryError(
            f"the measurements of {plan.engine_folder.name} were killed (signal {-code}), as "
            "happens when memory runs out"
        )
    if code:
        lines = printed.read_text(encoding="utf-8", errors="replace").splitlines()
        # pytest shows the code around an error too, with the words of errors that did not happen.
        errors = [line for line in lines if line.startswith("E ")]
        if says_lack_of_memory(text := "\n".join(errors or lines)):
            raise MemoryError(f"the measurements of {plan.engine_folder.name} got none")
        if says_lack_of_threads(text):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if error := disk_error(text, folder):
            raise error
        if shutil.disk_usage(folder).free < ROOM:  # no room to say it, too
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        tail = "\n".join(lines[-25:])
        raise JetrailError(
            f"Expected the measurements of {plan.engine_folder.name} to run, but the harness ended "
            f"with {code}:\n{tail}\nThe engine loads (that was checked), so this is "
            "a lack of memory or a defect: report it with these lines."
        )
    return parse(raw)


def _exit_status(child: subprocess.Popen[bytes], progress: Iterable[str], tell: Tell | None) -> int:
    """How the harness ends, whose progress is told while it runs."""
    with child:
        try:
            for line in progress:
                if tell is not None:
                    tell(SoakProgress.model_validate_json(line))
            return child.wait()
        except BaseException:  # Ctrl-C and SIGTERM too must not leave an hour's soak behind
            child.kill()
            raise


def parse(raw: Path) -> tuple[Measurement, ...]:
    """Read pytest-benchmark's JSON (its format 5 has a list `benchmarks`)."""
    content = json.loads(raw.read_text(encoding="utf-8"))
    return tuple(
        Measurement(
            name=one["name"].partition("[")[0],
            parameters=one["params"] or {},
            seconds=tuple(one["stats"]["data"]),
            extra=Extra.model_validate(one["extra_info"]),
        )
        for one in content["benchmarks"]
    )
