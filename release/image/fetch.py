"""An image from a registry, by its digest: skopeo brings it into a layout, which is then read.

Credentials are skopeo's: the auth file of `skopeo login`, `podman login` or `docker login`, or the
one that REGISTRY_AUTH_FILE names. A registry without TLS is one that registries.conf names so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engines.errors import InputError, ServiceError
from release.image.layout import Layout

_REFERENCE = re.compile(
    r"(?:docker://)?(?P<repository>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?(?:/[a-z0-9._-]+)+)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?@(?P<digest>sha256:[0-9a-f]{64})"
)
RETRIES = 3


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image in a registry."""

    repository: str
    """With its registry, as in `registry.example/jetrail/meter`."""
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


def parse_reference(text: str) -> Reference | None:
    """`registry/repository[:tag]@sha256:…`, taken apart; None for anything else. The tag is left
    aside: it may move, the digest does not."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        return None
    return Reference(repository=found["repository"], digest=found["digest"])


def fetch(reference: Reference, folder: Path) -> Layout:
    """The image in a new layout `folder`, without conversion.

    Raises InputError where there is no skopeo, and ServiceError when the registry does not give it.
    """
    if shutil.which("skopeo") is None:
        raise InputError(
            "Expected the program skopeo, which reads registries, but it is not there. Install it "
            "(`apt-get install skopeo`), or check a layout that you have: `release verify FOLDER`."
        )
    command = ["skopeo", "copy", "--quiet", "--preserve-digests", f"--retry-times={RETRIES}"]
    done = subprocess.run(
        [*command, f"docker://{reference}", f"oci:{folder}:image"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["nothing"]
        said = lines[-1].partition(' level=fatal msg="')[2].rstrip('"') or lines[-1]
        raise ServiceError(
            f"Expected the image {reference} from its registry, but skopeo says: {said[:500]}. "
            "See that the registry can be reached, has this digest, and lets you in."
        )
    return Layout(folder)
