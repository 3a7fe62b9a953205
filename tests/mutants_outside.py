"""Small changes that mutmut does not make: outside functions, where limits and tables stand, in
functions with a decorator, and a call left out anywhere (a forgotten fsync).

`make mutants-outside` runs it after `make mutants`, whose statistics say which tests reach what.
Each change runs in a fork of a process that has no threads: what hangs then is the change's doing.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

SECONDS = 120.0
"""For the tests of one change."""
OTHER: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
}
EQUAL = {
    "@dataclass(": "nobody changes a record, and all name its fields",
    "os.close(": "what stays open until the process ends",
    "ignore_errors=True": "what cannot be removed stays either way, and the error goes no further",
    "YOUNG_SECONDS = ": "any age of about a minute serves",
    "TINY = ": "any small number serves",
    "CUTS = ": "any fine steps serve",
    "BLOCK = ": "any size of block gives the same",
    "CLASS_OFFSET = ": "any distance beyond the largest input serves",
    "MAX_CANDIDATES = 30_000": "30 001 of them are as many",
    "np.fill_diagonal(": "a box is compared only with those after it",
    "check_symmetric(quantized)": "a guard: ONNX Runtime's quantizer is told what is checked here",
    "logging.disable(logging.WARNING)": "less is printed",
    "_pool.shutdown()": "threads that end with the process",
    "QDQ_IR_VERSION = 19, 9: 9": "a later IR version holds the same",
}
"""A part of a change that changes nothing, and why."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of one file."""

    path: str
    words: str
    """What stood there, and what stands there now."""
    source: str
    """The whole file with it."""


def changes(path: str) -> Iterator[Change]:
    """All of a file, in its order."""
    text = Path(path).read_bytes()
    tree = ast.parse(text)
    left_alone = {id(one) for one in _left_alone(tree)}
    for node in ast.walk(tree):
        new = _other(node) if id(node) in left_alone else None
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            new = "pass"
        if new is not None:
            yield _spliced(path, text, node, new)


def _left_alone(tree: ast.AST, outside: bool = True) -> Iterator[ast.AST]:
    """The nodes that mutmut does not change."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield from _left_alone(node, bool(node.decorator_list))
        else:
            if outside:
                yield node
            yield from _left_alone(node, outside)


def _other(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        if isinstance(value, bool):
            return str(not value)
        return str(value * 1.5 if isinstance(value, float) else value + 1)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        return f"({left} {OTHER[type(node.ops[0])]} {right})"
    return None


def _spliced(path: str, text: bytes, node: Any, new: str) -> Change:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    begin = starts[node.lineno - 1] + node.col_offset
    end = starts[node.end_lineno - 1] + node.end_col_offset
    line = text.splitlines()[node.lineno - 1].decode().strip()
    return Change(
        path=path,
        words=f"line {node.lineno}: {line}: {text[begin:end].decode()} -> {new}",
        source=(text[:begin] + new.encode() + text[end:]).decode(),
    )


class _Loader(SourceFileLoader):
    """Loads a module from a changed source."""

    def __init__(self, name: str, change: Change) -> None:
        super().__init__(name, str(Path(change.path).absolute()))
        self._source = change.source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec")


class _Finder:
    """Finds the changed module."""

    def __init__(self, change: Change) -> None:
        self._name = change.path.removesuffix(".py").replace("/", ".")
        self._change = change

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.util.spec_from_loader(name, _Loader(name, self._change))


def outcome(change: Change, tests: list[str]) -> str:
    """`noticed` or `unnoticed` by these tests, or `endless`."""
    child = os.fork()
    if not child:
        _run(change, tests)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "noticed" if os.waitstatus_to_exitcode(status) else "unnoticed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "endless"


def _run(change: Change, tests: list[str]) -> None:
    """In the fork; does not return."""
    import pytest

    os.setpgid(0, 0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    sys.meta_path.insert(0, _Finder(change))
    status = 1
    try:
        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    finally:
        os._exit(status)


def tests_of(path: str) -> list[str]:
    """The tests that reach a module, the short ones first, as mutmut found them."""
    told = json.loads(Path("mutants/mutmut-stats.json").read_text())
    seconds, module = told["duration_by_test"], path.removesuffix(".py").replace("/", ".")
    reached = {
        test
        for function, tests in told["tests_by_mangled_function_name"].items()
        if function.rpartition(".")[0] == module
        for test in tests
    }
    return sorted(reached, key=lambda test: (seconds[test], test))


def main() -> int:
    """Try the changes of the modules named, or of all; 1 where one was not noticed."""
    import numpy  # noqa: F401 - once, for all forks
    import pydantic  # noqa: F401

    metas = sorted(Path("mutants").rglob("*.meta"))
    modules = [str(one.relative_to("mutants")).removesuffix(".meta") for one in metas]
    found = Counter[str]()
    for path in sys.argv[1:] or modules:
        tests = tests_of(path)
        for change in changes(path):
            if any(part in change.words for part in EQUAL):
                continue
            said = outcome(change, tests)
            found[said] += 1
            if said != "noticed":
                print(f"{path}: {said}: {change.words}", flush=True)
    print(f"{found['noticed']} of {found.total()} noticed outside functions and of calls left out")
    return 0 if found["noticed"] >= 0.9 * found.total() else 1


if __name__ == "__main__":
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    sys.exit(main())
