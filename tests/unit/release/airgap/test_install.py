"""install.sh at a site: by Debian's shell and by busybox, with the network taken away."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.airgapped import FLEET, Node, no_network, pack, run, unpack

from engines.config.workspace import Workspace
from release.rollout.release_yaml import release_file
from release.signing.keys import trusted_keys
from tests.unit.release.publications import PUBLICATION, TARGET

ROOT = Path(__file__).parents[4]
SHELLS = ("dash", "busybox")


@pytest.fixture(params=SHELLS)
def node(request: pytest.FixtureRequest, site: Workspace, tmp_path: Path) -> Node:
    """With busybox not only its shell: every program that it has."""
    shell = str(request.param)
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}: install {shell}")
    made = Node(folder=tmp_path / "node", public_key=trusted_keys(site)[0].public_key)
    made.shell = ("dash",)
    if shell == "busybox":
        made.shell = ("busybox", "sh")
        applets = tmp_path / "applets"
        applets.mkdir()
        subprocess.run(["busybox", "--install", "-s", str(applets)], check=True)
        made.environment = {"PATH": f"{made.bin}:{applets}:{os.environ['PATH']}"}
    return made


@pytest.fixture
def top(bundle: Path, tmp_path: Path) -> Path:
    return unpack(bundle, tmp_path / "stick")


def archive_of(top: Path) -> Path:
    (path,) = (top / "images").iterdir()
    return path


def test_install(node: Node, top: Path) -> None:
    done = node.install(top)
    assert done.returncode == 0, done.stderr
    assert f"signed by ours: dock-7, {PUBLICATION.release}" in done.stdout
    image = node.images / archive_of(top).name
    assert image.read_bytes() == archive_of(top).read_bytes()
    names = sorted(path.name for path in node.manifests.iterdir())
    assert names == ["jetrail-site.yaml", "meter-x86.yaml"]
    # Again: nothing is written twice.
    before = image.stat().st_mtime_ns
    done = node.install(top)
    assert done.returncode == 0
    assert image.stat().st_mtime_ns == before
    assert str(node.root) not in done.stdout


def test_the_page_prints_what_is_printed(node: Node, top: Path) -> None:
    """docs/releasing.md, names and numbers aside."""
    day = (ROOT / "docs" / "releasing.md").read_text().partition("**Air gap.**")[2]
    printed = re.findall(r"(?s)```\n\$ tar .*?\n(.*?)```", day)[0].splitlines()
    got = node.install(top).stdout.replace(str(node.root), "").splitlines()
    assert [shape(line) for line in got] == [shape(line) for line in printed]


def shape(line: str) -> str:
    """A line without names of keys, releases and images, versions and sizes."""
    line = re.sub(r"(?<=by )\w+|v1\.\S+?(?=-[0-9a-f]{12}\.tar|$)|[0-9a-f]{12}(?=\.tar)", "…", line)
    return re.sub(r"[0-9.]+(?=,)|\d+(?= KiB)|meter-[a-z0-9-]+(?=\.yaml)", "…", line)


def test_check_changes_nothing(node: Node, top: Path) -> None:
    assert node.install(top, "--check").returncode == 0
    assert not node.images.exists()


def test_a_node_that_is_no_server(node: Node, top: Path) -> None:
    assert node.install(top, "--agent").returncode == 0
    assert len(node.archives) == 1
    assert not node.manifests.exists()


def test_by_the_site_s_own_copy_of_the_script(node: Node, top: Path, tmp_path: Path) -> None:
    """Which whoever altered the stick did not alter."""
    own = tmp_path / "own"
    own.mkdir()
    shutil.copyfile(top / "install.sh", own / "install.sh")
    assert node.install(own, "--from", str(top)).returncode == 0
    assert len(node.archives) == 1
    (top / "install.sh").write_text("#!/bin/sh\nrm -rf /\n")
    assert node.install(own, "--from", str(top)).returncode == 5


def test_the_archives_of_one_bundle_before_stay(
    site: Workspace, node: Node, tmp_path: Path
) -> None:
    """Whatever the clock says: a device without a battery for it wakes in 1970."""
    tops, archives = [], []
    for number in range(3):
        pack(site, b"engine %d" % number)
        assert run("bundle", "--site", "dock-7").exit_code == 0
        tops.append(unpack(site.root / "jetrail-dock-7.tar", tmp_path / str(number)))
        archives.append(archive_of(tops[-1]).name)
    node.images.mkdir()
    (node.images / "k3s-airgap-images-amd64.tar.zst").write_text("K3s' own")
    for number, kept in enumerate(([0], [0, 1], [1, 2])):
        done = node.install(tops[number])
        assert done.returncode == 0, done.stderr
        assert node.archives == sorted(archives[one] for one in kept)
        os.utime(node.images / archives[number], (1000 - number, 1000 - number))
        assert node.install(tops[number]).returncode == 0
        assert node.archives == sorted(archives[one] for one in kept)
    # Back to the one before, by its own stick: nothing has to be copied.
    done = node.install(tops[1])
    assert "images/jetrail" not in done.stdout
    assert node.archives == sorted(archives[1:])
    assert (node.images / "k3s-airgap-images-amd64.tar.zst").exists()


# --- what is refused -----------------------------------------------------------------------------


def _wrong_key(node: Node, top: Path) -> None:
    shutil.copyfile(top / "install.sh", node.keys / "ours.pem")


def _no_key(node: Node, top: Path) -> None:
    (node.keys / "ours.pem").unlink()


def _altered(node: Node, top: Path) -> None:
    (top / "manifests" / "meter-x86.yaml").write_text("kind: Other\n")


def _altered_image(node: Node, top: Path) -> None:
    content = bytearray(archive_of(top).read_bytes())
    content[len(content) // 2] ^= 1
    archive_of(top).write_bytes(content)


def _half_an_image(node: Node, top: Path) -> None:
    archive_of(top).write_bytes(archive_of(top).read_bytes()[:-1024])


def _other_facts(node: Node, top: Path) -> None:
    (top / "FACTS").write_text("SITE=dock-7\nRUNTIME=\n")


def _missing(node: Node, top: Path) -> None:
    archive_of(top).unlink()


def _added(node: Node, top: Path) -> None:
    (top / "manifests" / "more.yaml").write_text("kind: Other\n")


def _link(node: Node, top: Path) -> None:
    """A link is no file for `find -type f`, and one for the shell's `*`."""
    (top / "manifests" / "more.yaml").symlink_to(top / "FACTS")


def _linked_folder(node: Node, top: Path) -> None:
    (top / "manifests").rename(top.parent / "elsewhere")
    (top / "manifests").symlink_to(top.parent / "elsewhere")


def _other_sums(node: Node, top: Path) -> None:
    _altered(node, top)
    subprocess.run("sha256sum manifests/* > SHA256SUMS", shell=True, cwd=top, check=True)


def _unsigned(node: Node, top: Path) -> None:
    (top / "SHA256SUMS.sig").unlink()


def _old(node: Node, top: Path) -> None:
    node.k3s("v1.33.6+k3s1")


def _ancient(node: Node, top: Path) -> None:
    node.k3s("v1.29.2+k3s1")


def _no_k3s(node: Node, top: Path) -> None:
    (node.bin / "k3s").unlink()


def _another_k3s(node: Node, top: Path) -> None:
    node.program("k3s", "echo something else; exit 3")


def _never_started(node: Node, top: Path) -> None:
    shutil.rmtree(node.root / "var")


def _small(node: Node, top: Path) -> None:
    node.program("df", "echo Filesystem; echo 'x 1 1 1024 1% /'")


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (_wrong_key, 5, "No key in"),
        (_no_key, 2, "Expected the public keys that this site trusts"),
        (_altered, 5, "is not what was signed"),
        (_altered_image, 5, "is not what was signed"),
        (_half_an_image, 5, "is not what was signed"),
        (_other_facts, 5, "is not what was signed"),
        (_missing, 5, "is not what was signed"),
        (_added, 5, "files here that nobody signed"),
        (_link, 5, "files here that nobody signed"),
        (_linked_folder, 5, "nobody signed"),
        (_other_sums, 5, "No key in"),
        (_unsigned, 5, "is not signed"),
        (_old, 2, "Expected K3s 1.32.11, 1.33.7, 1.34.3 or newer"),
        (_ancient, 2, "Expected K3s 1.32.11"),
        (_no_k3s, 2, "Expected K3s on this machine"),
        (_another_k3s, 2, "Expected K3s on this machine"),
        (_never_started, 2, "which K3s makes"),
        (_small, 2, "KiB free"),
    ],
)
def test_what_the_script_refuses(
    node: Node, top: Path, spoil: Callable[[Node, Path], None], code: int, said: str
) -> None:
    spoil(node, top)
    done = node.install(top)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not node.images.exists()
    assert not node.manifests.exists()


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        ("v1.32.10+k3s1", False),
        ("v1.32.11+k3s1", True),
        ("v1.33.7+k3s1", True),
        ("v1.34.2+k3s1", False),
        ("v1.34.10+k3s2", True),
        ("v1.35.0+k3s1", True),
        ("v1.31.14+k3s1", False),
        ("v2.0.0+k3s1", True),
        ("v1.36.0-rc1+k3s1", True),
    ],
)
def test_versions_of_k3s(node: Node, top: Path, version: str, taken: bool) -> None:
    node.k3s(version)
    assert node.install(top, "--check").returncode == (0 if taken else 2)


def test_an_old_k3s_on_somebody_s_word(node: Node, top: Path) -> None:
    _old(node, top)
    assert node.install(top, "--old-k3s").returncode == 0


def test_without_openssl(node: Node, top: Path, tmp_path: Path) -> None:
    """Nothing is believed unchecked."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dirname", "basename", "cat", "sed", "sort", "find", "sh", *no_network()[:1]):
        (programs / name).symlink_to(str(shutil.which(name)))
    node.environment = {"PATH": f"{node.bin}:{programs}"}
    node.shell = [str(shutil.which(node.shell[0])), *node.shell[1:]]
    done = node.install(top)
    assert done.returncode == 2
    assert "Expected openssl on this machine" in done.stderr
    assert not node.images.exists()


@pytest.mark.parametrize("words", [["--keys"], ["--from"], ["--frm", "x"], ["--from", "/nowhere"]])
def test_bad_words(node: Node, top: Path, words: list[str]) -> None:
    done = node.install(top, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Expected ")


# --- an engine that is mounted into a runtime's image --------------------------------------------

RUNTIME = f"registry.example.com/base-x86@sha256:{'5' * 64}"


@pytest.fixture
def mounted(site: Workspace, tmp_path: Path) -> Path:
    fleet = release_file(site, "meter", TARGET, "canary").with_name("fleet.yaml")
    fleet.write_text(FLEET.replace("{image:", f"{{runtime: {{image: '{RUNTIME}'}}, image:"))
    assert run("bundle", "--site", "dock-7").exit_code == 0
    return unpack(site.root / "jetrail-dock-7.tar", tmp_path / "mounted")


def test_a_runtime_image_must_be_there(node: Node, mounted: Path) -> None:
    done = node.install(mounted)
    assert done.returncode == 2
    assert f"Expected the runtime image {RUNTIME} in this K3s" in done.stderr
    node.k3s("v1.35.0+k3s1", "docker.io/rancher/mirrored-pause:3.6", RUNTIME)
    done = node.install(mounted)
    assert (done.returncode, done.stderr) == (0, "")
    assert "feature gate" not in done.stdout


def test_a_k3s_that_mounts_no_images(node: Node, mounted: Path) -> None:
    node.k3s("v1.32.11+k3s1", RUNTIME)
    done = node.install(mounted)
    assert done.returncode == 2
    assert "Expected K3s 1.33 or newer, which mounts" in done.stderr
    node.k3s("v1.34.3+k3s1", RUNTIME)
    gate = "only with the feature gate ImageVolume=true"
    assert gate in node.install(mounted).stdout
    config = node.root / "etc/rancher/k3s/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("kubelet-arg: [feature-gates=ImageVolume=true]\n")
    assert gate not in node.install(mounted).stdout


# --- disks, sticks and power ---------------------------------------------------------------------


def test_no_room_is_wanted_for_what_is_there(node: Node, top: Path) -> None:
    """A rerun on the disk that the first run filled."""
    assert node.install(top).returncode == 0
    node.program("df", "echo Filesystem; echo 'x 1 1 10240 1% /'")
    assert node.install(top).returncode == 0


def test_room_is_made_by_what_is_older(site: Workspace, node: Node, tmp_path: Path) -> None:
    """The archive before the last goes where there is no room otherwise; the last one never."""
    tops = []
    for number in range(3):
        pack(site, b"engine %d" % number)
        assert run("bundle", "--site", "dock-7").exit_code == 0
        tops.append(unpack(site.root / "jetrail-dock-7.tar", tmp_path / str(number)))
    for one in tops[:2]:
        assert node.install(one).returncode == 0
    # As much room as archives are gone.
    files = f"set -- {node.images}/jetrail-*.tar; [ $# -lt 2 ] && free=99999 || free=10"
    node.program("df", f"{files}; echo Filesystem; echo x 1 1 $free 1% /")
    assert node.install(tops[2], "--check").returncode == 2
    assert len(node.archives) == 2
    node.program("df", f"{files}; echo Filesystem; echo x 1 1 $((free + 10300)) 1% /")
    done = node.install(tops[2])
    assert done.returncode == 0, done.stderr
    assert node.archives == sorted(archive_of(one).name for one in tops[1:])


@pytest.mark.parametrize("program", ["cp", "sync"])
def test_a_full_disk(node: Node, top: Path, program: str) -> None:
    """Said, and nothing half-written stays; with room the next run does it."""
    real = shutil.which("cp")
    half = f'head -c 100 "$1" >"$2"; echo "cp: No space left on device" >&2; exit 1; {real}'
    node.program(program, half if program == "cp" else "exit 1")
    done = node.install(top)
    assert done.returncode == 2, done.stdout
    assert "Cannot write" in done.stderr
    assert list(node.images.iterdir()) == []
    (node.bin / program).unlink()
    assert node.install(top).returncode == 0


def test_a_worn_stick(node: Node, top: Path) -> None:
    """It reads well when it is checked, and otherwise when it is copied."""
    node.program("cp", 'head -c 100 "$1" >"$2"')
    done = node.install(top)
    assert done.returncode == 5
    assert "changed while it was copied" in done.stderr
    assert list(node.images.iterdir()) == []


KILLER = """\
count=$(cat {counter} 2>/dev/null || echo 0)
count=$((count + 1))
echo $count >{counter}
if [ $count -eq {moment} ]; then
    {before}{program} "$@"
    kill -9 $PPID
    exit 1
fi
exec {program} "$@"
"""


def killed_at(node: Node, top: Path, moment: int, counter: Path) -> bool:
    """Run the script and kill it at the call of that number, of all calls that change anything;
    every second time after the call and not before."""
    counter.unlink(missing_ok=True)
    programs = ("cp", "sync", "mv", "rm", "mkdir")
    for name in programs:
        before = ": " if moment % 2 else ""
        real = shutil.which(name)
        script = KILLER.format(
            counter=counter, moment=(moment + 1) // 2, program=real, before=before
        )
        node.program(name, script)
    done = node.install(top)
    for name in programs:
        (node.bin / name).unlink()
    assert done.returncode in (0, -9, 137), done.stderr
    return done.returncode != 0


def test_killed_at_every_step(site: Workspace, node: Node, tmp_path: Path) -> None:
    """What is in place is whole, and the next run ends as if nothing had been."""
    tops = []
    for number in range(3):
        pack(site, b"engine %d" % number)
        assert run("bundle", "--site", "dock-7").exit_code == 0
        tops.append(unpack(site.root / "jetrail-dock-7.tar", tmp_path / str(number)))
    wanted = sorted(archive_of(one).name for one in tops[1:])
    whole = {archive_of(one).name: archive_of(one).read_bytes() for one in tops}
    moment, killed = 0, True
    while killed:
        moment += 1
        shutil.rmtree(node.root, ignore_errors=True)
        node.images.parent.mkdir(parents=True)
        for one in tops[:2]:
            assert node.install(one).returncode == 0
        killed = killed_at(node, tops[2], moment, tmp_path / "counter")
        for name in node.archives:
            assert (node.images / name).read_bytes() == whole[name]
        for manifest in node.manifests.glob("*.yaml"):
            same = [(one / "manifests" / manifest.name).read_bytes() for one in tops]
            assert manifest.read_bytes() in same
        assert set(node.archives) & set(wanted), "nothing to run any more"
        done = node.install(tops[2])
        assert done.returncode == 0, done.stderr
        assert node.archives == wanted
        left = {path.name for path in node.images.iterdir()} - set(wanted)
        assert left == {".jetrail.now", ".jetrail.before"}
    assert moment > 20
