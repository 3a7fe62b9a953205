"""How long `runtime serve` takes from its start until /health/inference says 200, and with what.

    $ python benchmarks/ready.py [--runs 9] [--models FOLDER --keys FOLDER]

By default the candidate of x86-openvino as it lies in release/images/ after `dvc repro`, and the
key that signed it here. It reports and asks for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
TARGET = "x86-openvino"
PATIENCE_S = 60.0
SERVES = re.compile(r"serves on port (\d+), ([0-9.]+) s after its start")


class Start(NamedTuple):
    """Seconds of one start."""

    ready: float
    """From the process to the first 200."""
    serves: float
    """Of that, from the end of the imports to an open port, by the pod's own word."""


def measure(models: Path, keys: Path) -> Start:
    """Start the pod once."""
    began = time.perf_counter()
    words: list[str | Path] = [BIN / "runtime", "serve", models, "--keys", keys]
    words += ["--port", "0", "--deadline-ms", "10000"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        try:
            if not (found := SERVES.search(said)):
                raise SystemExit(f"the pod does not serve: {said}{process.stderr.read()}")
            _wait_for(f"http://127.0.0.1:{found[1]}/health/inference")
            return Start(time.perf_counter() - began, float(found[2]))
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    end = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < end:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.002)
    raise SystemExit(f"the pod was not healthy within {PATIENCE_S:g} s")


def parts(models: Path, keys: Path) -> dict[str, float]:
    """What `runtime check` says of its own seconds: signature with hashes, and loading."""
    command = (BIN / "runtime", "check", models, "--keys", keys)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    return {name: float(report[f"{name}_seconds"]) for name in ("trust", "load")}


def process_s(*words: str) -> float:
    """Of a Python that does only that."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - began


def unpack(folder: Path) -> tuple[Path, Path]:
    """The candidate's /models, and the folder of the keys that it may be signed by."""
    from engines.config.workspace import Workspace
    from release.image.layout import Layout
    from release.records import Candidates, candidates_path
    from release.signing.keys import trusted_keys, trying_key

    workspace = Workspace(root=ROOT)
    chosen = Candidates.read(candidates_path(workspace, TARGET)).candidates
    release = next(iter(chosen.values())).release
    models, keys = folder / "models", folder / "keys"
    models.mkdir()
    layout = Layout(workspace.images)
    layout.files(layout.image(release), models)
    for key in (*trusted_keys(workspace), *filter(None, [trying_key(workspace)])):
        keys.mkdir(exist_ok=True)
        key.write(keys / f"{key.name}.json")
    print(release)
    return models, keys


def show(runs: int, models: Path, keys: Path) -> None:
    """A line for each part, the middle of the runs and their range."""
    starts = [measure(models, keys) for _ in range(runs)]
    found = [parts(models, keys) for _ in range(runs)]
    imports = "import runtime.pod, cv2, openvino, cryptography.hazmat.primitives.asymmetric.ec"
    line("ready, all of it", [one.ready for one in starts])
    line("  Python by itself", take(runs, lambda: process_s("-c", "")))
    line("  with the imports", take(runs, lambda: process_s("-c", imports)))
    line("  from there to an open port", [one.serves for one in starts])
    line("    signature and hashes", [one["trust"] for one in found])
    line("    loading the engine", [one["load"] for one in found])


def take(runs: int, work: Callable[[], float]) -> list[float]:
    return [work() for _ in range(runs)]


def line(what: str, seconds: list[float]) -> None:
    print(f"{what:28} {median(seconds):6.3f} s  ({min(seconds):.3f} to {max(seconds):.3f})")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--keys", type=Path)
    given = parser.parse_args()
    if (given.models is None) != (given.keys is None):
        parser.error("--models and --keys go together")
    os.environ.pop("MODEL_PATH", None)
    with tempfile.TemporaryDirectory() as folder:
        models, keys = (given.models, given.keys) if given.models else unpack(Path(folder))
        show(given.runs, models, keys)


if __name__ == "__main__":
    main()
