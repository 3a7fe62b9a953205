"""`make mutants`: do the unit tests notice small changes to the code of the heart?

mutmut makes the changes and runs, for each, the tests that reach it. Texts stay as they are: what a
message says is held by few tests on purpose. Files and tests are in pyproject.toml (tool.mutmut).

Ends with 1 where fewer than MOST of those that were tried were noticed; the rest is listed. A run
that was cut short by time says how many it tried, and the next one goes on where it stopped. What
ran out of time may be a fork that hung: it runs once more in a process of its own, and what runs
out of time there too is endless by the change's own doing, which counts as noticed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mutmut.__main__ import cli
from mutmut.mutation import mutators
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.runners.harness import PytestRunner
from mutmut.state import state

MOST = 0.9
TEXTS = frozenset(
    {
        "operator_string",
        "operator_symmetric_string_methods_swap",
        "operator_unsymmetrical_string_methods_swap",
    }
)
UNNOTICED = (0, 33)
"""mutmut's exit codes: the tests passed, or none of them reaches the change."""
OUT_OF_TIME = -24
"""mutmut's exit code: SIGXCPU, for time on the clock too."""
PATIENCE_SECONDS = 300
"""For the tests of one change in a process of its own."""
EQUAL = {
    "astype(None)": "float64 is what numpy takes for it",
    "endpoint=None": "as False to numpy",
    "reshape(-2": "as -1 to numpy",
    "jetson: bool = True": "every caller in the product says which it is",
    "out=None": "saves an array, nothing else",
    "np.maximum(width, 0, )": "saves an array, nothing else",
    "np.maximum(height, 0, )": "saves an array, nothing else",
    "boxes - (classes": "classes lie apart in the other direction then",
    "range(0, len(boxes), )": "a block that begins earlier holds what was kept or removed already",
    "np.arange(min(start": "a block that begins earlier holds what was kept or removed already",
    "if len(kept) > limit": "looks at one more block, and cuts it off",
    "fill_diagonal(overlap, ": "a box is compared only with those after it",
    "divide=None": "where something is shared the union is not 0",
    'errstate(invalid="ignore")': "where something is shared the union is not 0",
    "zip(_leaves(expected), _leaves(got), ": "where one is longer, a key differs before its end",
    "in zip(by_method, found, ": "there are as many errors as methods",
    "file.read(": "a file's hash is the same in blocks of any size",
    "rmtree(folder, ": "what cannot be removed stays either way, and the error goes no further",
    "nan_to_num(computed, posinf": "0 is what numpy takes for it",
    "threads=None": "any number of threads gives the same",
    "threads and usable_processors()": "any number of threads gives the same",
    "copy.copy(model)": "a protobuf message is copied whole either way",
    "op_block_list=[],": "a YOLOv8 has none of the operators that would stay float32",
}
"""A part of a change that changes nothing, and why."""


def main() -> int:
    """Run mutmut (`run`, with names of modules to try no others), or only tell what it found so far
    (`show`)."""
    mutators.mutation_operators[:] = [
        (kind, operator)
        for kind, operator in mutators.mutation_operators
        if operator.__name__ not in TEXTS
    ]
    if sys.argv[1:] != ["show"]:
        modules = [f"{name}.*" for name in sys.argv[2:]]
        PytestRunner.run_tests = _short_ones_first(PytestRunner.run_tests)
        cli(["run", "--max-children", "2", *modules], standalone_mode=False)
    settle()
    return show()


def _short_ones_first(run_tests: Any) -> Any:
    """Most changes are noticed by the first test that runs them."""

    def run(runner: PytestRunner, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        in_order = sorted(tests, key=lambda test: (state().duration_by_test[test], test))
        return int(run_tests(runner, mutant_name=mutant_name, tests=in_order))

    return run


def settle() -> None:
    """Run what ran out of time once more, without a fork."""
    for meta in sorted(Path("mutants").rglob("*.meta")):
        told = json.loads(meta.read_text())
        for mutant, code in told["exit_code_by_key"].items():
            if code == OUT_OF_TIME:
                told["exit_code_by_key"][mutant] = _alone(mutant)
                meta.write_text(json.dumps(told, indent=4))


def _alone(mutant: str) -> int:
    """The exit code of a change's tests in a process of their own; OUT_OF_TIME where none comes."""
    stats = json.loads(Path("mutants/mutmut-stats.json").read_text())
    seconds = stats["duration_by_test"]
    tests = stats["tests_by_mangled_function_name"][mutant.rpartition("__mutmut_")[0]]
    paths = [str(Path("mutants").absolute()), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "pytest", "--rootdir=.", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *sorted(tests, key=lambda test: seconds[test])],
            cwd="mutants",
            env=os.environ | {"MUTANT_UNDER_TEST": mutant, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return OUT_OF_TIME
    return done.returncode


def show() -> int:
    """Print what was unnoticed, then the rates."""
    tried, left, noticed, endless = (Counter[str]() for _ in range(4))
    for meta in sorted(Path("mutants").rglob("*.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        name = str(meta.relative_to("mutants")).removesuffix(".meta")
        left[name] = sum(code is None for code in codes.values())
        for mutant, code in codes.items():
            change = changed(mutant) if code in UNNOTICED else ""
            if code is None or any(part in change for part in EQUAL):
                continue
            tried[name] += 1
            noticed[name] += code not in UNNOTICED
            endless[name] += code == OUT_OF_TIME
            if change:
                print(f"{name}: {mutant.rpartition('.')[2]}\n{change}")
    for name, count in sorted(tried.items()):
        rest = f", {endless[name]} of them endless" if endless[name] else ""
        rest += f", {left[name]} not tried" if left[name] else ""
        print(f"{noticed[name] / count:5.0%} of {count} noticed  {name}{rest}")
    rate = noticed.total() / max(tried.total(), 1)
    print(f"{rate:5.0%} of {tried.total()} noticed in all, {left.total()} not tried")
    return 0 if rate >= MOST else 1


def changed(mutant: str) -> str:
    """The lines that a mutant changes."""
    lines = get_diff_for_mutant(mutant).splitlines()
    kept = [line for line in lines if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]
    return "\n".join(kept[:6])


if __name__ == "__main__":
    sys.exit(main())
