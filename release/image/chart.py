"""The Helm chart in a registry, as an OCI chart: `fleet.yaml` names it there by its version."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from engines.config.yaml import load_yaml
from engines.errors import Conflict, InputError, ServiceError
from engines.files import listed, temporary_folder
from engines.process.orphans import ends_with_us
from release.image.credentials import Credentials, auth_file, without_secrets
from release.image.distribution import Client, parse_repository
from release.image.retry import Temporary, retried
from release.say import Say

FINAL = re.compile(r"unauthorized|denied|forbidden|certificate|401|403", re.IGNORECASE)
RENDERED = re.compile(r"templates/(?!\.).*|values\.yaml|values\.schema\.json")
"""What says what a cluster runs, as helm packs it byte for byte. Chart.yaml it writes anew, and it
leaves out hidden files, as macOS and editors put them beside templates."""
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
"""The layer with the chart's files; a signed chart has another one, in any order."""


def push_chart(chart: Path, registry: str, credentials: Credentials | None, say: Say) -> None:
    """Push the chart of a folder to `<registry>/charts/<its name>`, with helm.

    A version that is there stays as it is: helm packs each time a little differently. Without a
    chart nothing happens, without helm it is said. Raises InputError for a folder without name and
    version, Conflict where the version is another chart there, and ServiceError when the registry
    does not take it.
    """
    if not (chart / "Chart.yaml").is_file():
        return
    name, version = name_and_version(chart)
    repository = parse_repository(f"{registry}/charts/{name}")
    client = Client(repository=repository, credentials=credentials, say=say)
    there = client.manifest(version.replace("+", "_"))
    if there is not None:
        _refuse_another(chart, client, there, f"{repository}:{version}")
        say(f"{repository}:{version} is there already")
        return
    helm = shutil.which("helm")
    if helm is None:
        say(f"{repository}:{version} is not pushed, since helm is not here; install it, push again")
        return
    with (
        temporary_folder() as folder,
        auth_file(str(repository), credentials) as auth,
    ):
        _helm(helm, "package", str(chart), "--destination", str(folder), credentials=credentials)
        words = ["push", f"{folder}/{name}-{version}.tgz", f"oci://{registry}/charts"]
        words += ["--registry-config", str(auth), *(["--plain-http"] if repository.plain else [])]
        what = f"{repository} to take the chart {version}"
        retried(lambda: _helm(helm, *words, credentials=credentials), what, say)
    say(f"{repository}:{version} pushed")


def name_and_version(chart: Path) -> tuple[str, str]:
    """Of the chart in a folder. Raises InputError where Chart.yaml does not say both as text."""
    about = load_yaml(chart / "Chart.yaml")
    about = about if isinstance(about, dict) else {}
    name, version = about.get("name"), about.get("version")
    if not (isinstance(name, str) and isinstance(version, str)):
        raise InputError(
            f"Expected `name` and `version` in {chart / 'Chart.yaml'} as text, got {name!r} and "
            f"{version!r}. Write both."
        )
    return name, version


def other_files(chart: Path, client: Client, manifest: bytes) -> list[str]:
    """The files of a chart's folder that are not as the chart of `manifest` has them, of those that
    say what a cluster runs."""
    here = {
        path.relative_to(chart).as_posix(): path for path in listed(chart, "**/*") if path.is_file()
    }
    try:
        layers = {one["mediaType"]: one["digest"] for one in json.loads(manifest)["layers"]}
        packed = client.blob(layers[CONTENT])
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            files = {one.name.partition("/")[2]: archive.extractfile(one) for one in archive}
            there = {path: file.read() for path, file in files.items() if file}
    except (ValueError, LookupError, TypeError, OSError, tarfile.TarError):
        there = {}  # no chart at all
    return [
        path
        for path in sorted(here.keys() | there.keys())
        if RENDERED.fullmatch(path)
        and (here[path].read_bytes() if path in here else None) != there.get(path)
    ]


def _refuse_another(chart: Path, client: Client, manifest: bytes, name: str) -> None:
    """Raise Conflict where the registry has something else under the version than the folder."""
    if other := other_files(chart, client, manifest):
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise Conflict(
            f"Expected {name} to be the chart of this clone, but {other[0]}{more} differ there; "
            "clusters run what is there. A version never changes: `git pull`, or raise `version` "
            f"in {chart.name}/Chart.yaml and in the fleet.yaml of each ring that shall have the "
            "new chart, then push again. The image is pushed."
        )


def _helm(helm: str, *words: str, credentials: Credentials | None) -> None:
    done = subprocess.run(ends_with_us([helm, *words]), capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    lines = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
    said = without_secrets(lines[-1], credentials)[-400:]
    if words[0] != "push" or FINAL.search(said):
        raise ServiceError(f"`helm {words[0]}` failed: {said}. Fix that and push again.")
    raise Temporary(f"helm says {said!r}")
