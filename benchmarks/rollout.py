"""Time and memory of `release simulate` by the number of clusters, each in a process of its own.

    python benchmarks/rollout.py [COUNT …]

From an inventory file to the table, for a rollout one cluster at a time, which is the most work
there is: two reconciles a cluster, and nearly every one tells somebody.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNTS = (100, 1_000, 10_000)
FLEET_YAML = """helm: {chart: oci://example.com/chart, version: 0.1.0, valuesFiles: [release.yaml]}
overrideTargets: [{clusterSelector: {matchLabels: {ring: production}}}]
rolloutStrategy: {maxUnavailable: 1}
"""


def lay_out(root: Path, count: int) -> Path:
    """A repository with one bundle, and an inventory; gives the inventory."""
    folder = root / "release" / "fleet" / "model" / "target" / "production"
    folder.mkdir(parents=True)
    (root / "models").mkdir()
    (root / "dvc.yaml").write_text("")
    (folder / "fleet.yaml").write_text(FLEET_YAML)
    (folder / "release.yaml").write_text("image: {tag: v1}\n")
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "v1"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=root, check=True)
    (folder / "release.yaml").write_text("image: {tag: v2}\n")
    rows = (
        f"  - name: site-{at:06}\n    labels: {{ring: production, site: site-{at:06}}}\n"
        for at in range(count)
    )
    inventory = root / "clusters.yaml"
    inventory.write_text("clusters:\n" + "".join(rows))
    return inventory


def measure(count: int) -> None:
    """Play `count` clusters in this process and print seconds and MiB."""
    from engines.config.workspace import Workspace
    from release.rollout.simulation import table
    from release.rollout.simulation.result import SimulationInput
    from release.steps.simulate import simulate

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inventory = lay_out(root, count)
        start = time.perf_counter()
        asked = SimulationInput(clusters=inventory, minutes=100_000)
        printed = "\n".join(table.lines(simulate(Workspace(root=root), asked)))
        seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert "all are ready" in printed
    print(f"{count:>9,} clusters {seconds:>8.2f} s {memory:>6} MiB")


def main() -> None:
    """Each count in a child, so that its memory is its own."""
    if sys.argv[1:2] == ["--one"]:
        measure(int(sys.argv[2]))
        return
    for count in map(int, sys.argv[1:]) if sys.argv[1:] else COUNTS:
        subprocess.run([sys.executable, __file__, "--one", str(count)], check=True)


if __name__ == "__main__":
    main()
