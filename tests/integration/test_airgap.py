"""A bundle at a site: install.sh in a real container, without a network, on a disk of its own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from factories import paper
from factories.airgapped import Node, lay_out_site, run, unpack
from factories.bases import debian
from factories.containers import Podman

from engines.config.workspace import Workspace
from release.signing.keys import trusted_keys
from tests.unit.release.publications import PUBLICATION

pytestmark = pytest.mark.integration

SITE_MIB, ENGINE_MIB = 40, 6
"""The disk of the site, and what has to get onto it: three times as much is asked for."""

SCRIPT = """\
say() { echo "$1: $?"; }
try() { $SHELL_HERE /stick/install.sh 2>&1; say "$1"; }
K3S=/var/lib/rancher/k3s
echo $(ls /sys/class/net)
mkdir -p $K3S/agent
dd if=/dev/zero of=$K3S/filler bs=1024k count=12 2>/dev/null
try full
rm $K3S/filler
# Now the disk says that it has room, and has none: somebody else writes to it as well.
mkdir -p /tmp/liar
printf '#!/bin/sh\\necho; echo x 1 1 99999999 1%% /\\n' >/tmp/liar/df; chmod +x /tmp/liar/df
dd if=/dev/zero of=$K3S/filler bs=1024k count=36 2>/dev/null
PATH=/tmp/liar:$PATH try breaks
find $K3S -type f ! -name filler
rm $K3S/filler
try good
try again
find $K3S -type f | sort
"""


@pytest.fixture
def stick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Node]:
    """An unpacked bundle, and what the site has of its own: keys and a stand-in for `k3s`."""
    workspace = Workspace(root=tmp_path / "clone")
    paper.lay_out(workspace)
    folder = workspace.ring("meter", paper.TARGET, "canary")
    folder.mkdir(parents=True)
    workspace.rings_file.write_text("schema: 1\nrings: [{name: canary}]\n")
    monkeypatch.chdir(workspace.root)
    lay_out_site(workspace, engine=bytes(ENGINE_MIB << 20))
    assert run("bundle", "--site", "dock-7").exit_code == 0
    key = trusted_keys(workspace)[0].public_key
    return (
        unpack(workspace.root / "jetrail-dock-7.tar", tmp_path / "stick"),
        Node(folder=tmp_path / "node", public_key=key),
    )


@pytest.mark.parametrize("shell", ["dash", "/bb/busybox sh"])
def test_at_a_site(tools: Podman, tmp_path: Path, stick: tuple[Path, Node], shell: str) -> None:
    """Two disks that are too full, then one that is not; with busybox all programs are its own."""
    top, node = stick
    mounts = [f"{top}:/stick:ro", f"{node.keys}:/etc/jetrail/keys:ro"]
    mounts += [f"{node.bin / 'k3s'}:/usr/local/bin/k3s:ro"]
    path = "/usr/local/bin:/usr/bin:/bin"
    if "busybox" in shell:
        busybox = shutil.which("busybox")
        if busybox is None:
            pytest.skip("no busybox: install busybox")
        applets = tmp_path / "applets"
        applets.mkdir()
        for name in tools.run("busybox", "--list").stdout.split():
            (applets / name).symlink_to("/bb/busybox")
        mounts += [f"{busybox}:/bb/busybox:ro", f"{applets}:/applets:ro"]
        path = f"/applets:{path}"
    done = tools.run(
        *("podman", "run", "--rm", "--network=none", "--cap-drop=all", "--read-only"),
        *(f"--volume={one}" for one in mounts),
        f"--mount=type=tmpfs,destination=/var/lib/rancher/k3s,tmpfs-size={SITE_MIB}m",
        *(f"--env=PATH={path}", f"--env=SHELL_HERE={shell}", debian(tmp_path, tools)),
        *("sh", "-c", SCRIPT),
    )
    archive = next(path.name for path in (top / "images").iterdir())
    signed = f"signed by ours: dock-7, {PUBLICATION.release}"
    k3s = "/var/lib/rancher/k3s"
    said = re.sub(r"\d+( KiB free)", r"…\1", done.stdout)
    assert [line for line in said.splitlines() if not line.startswith("cp: ")] == [
        "lo",
        signed,
        f"error: Expected … KiB free in {k3s}, got 28672. Make room.",
        "full: 2",
        signed,
        "K3s 1.34.3, … KiB free",
        f"error: Cannot write {k3s}/agent/images/{archive}. Make room, and run this again.",
        "breaks: 2",
        signed,
        "K3s 1.34.3, … KiB free",
        f"{k3s}/agent/images/{archive}",
        f"{k3s}/server/manifests/jetrail-site.yaml",
        f"{k3s}/server/manifests/meter-x86.yaml",
        "done",
        "good: 0",
        signed,
        "K3s 1.34.3, … KiB free",
        "done",
        "again: 0",
        f"{k3s}/agent/images/.jetrail.now",
        f"{k3s}/agent/images/{archive}",
        f"{k3s}/server/manifests/jetrail-site.yaml",
        f"{k3s}/server/manifests/meter-x86.yaml",
    ]
