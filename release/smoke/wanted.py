"""Whether a release can be smoked on this machine, and was."""

from __future__ import annotations

from collections.abc import Iterable

from engines.config.workspace import Workspace
from engines.machine.fingerprint import describe, differences, read_fingerprint
from engines.records.attestation import Predicate, verify_envelope
from engines.records.trusted_key import TrustedKey
from release.records import attestation_path
from release.smoke.record import Smoke, read_smoke
from release.smoke.tool import installed


def signed_predicate(
    workspace: Workspace, release: str, keys: Iterable[TrustedKey]
) -> Predicate | None:
    """What is signed of a release; None where nothing is. Raises WrongEngine where the signature
    does not hold."""
    path = attestation_path(workspace, release)
    if not path.is_file():
        return None
    return verify_envelope(path.read_bytes(), keys, where=str(path)).statement.predicate


def why_not_here(predicate: Predicate) -> str | None:
    """Why the engine cannot run in a container of this machine; None where it can."""
    here = read_fingerprint()
    if differences(predicate.device, here, predicate.backend_package):
        return (
            f"this machine is {describe(here)}, and the engine is for {describe(predicate.device)}"
        )
    return None if installed() else "neither podman nor docker is installed here"


def say_smoked(workspace: Workspace, predicate: Predicate, digest: str) -> str:
    """One sentence on the image of a release: smoked, to be smoked, or why it cannot be here."""
    release = predicate.release
    smoke = read_smoke(workspace, release, digest)
    if smoke is not None:
        return f"{release}: smoked with {in_words(smoke)}"
    if problem := why_not_here(predicate):
        return f"{release}: not smoked, since {problem}"
    return f"{release}: not smoked yet; run `release smoke {release}` before it is promoted"


def in_words(smoke: Smoke) -> str:
    """For example `PASS, p99 4.1 ms of 30 ms`."""
    if smoke.verdict == "FAIL":
        return f"FAIL: {'; '.join(smoke.reasons)}"
    times = smoke.times
    return f"PASS, p99 {times.p99_ms:g} ms of {times.limit_p99_ms:g} ms" if times else "PASS"
