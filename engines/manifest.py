"""The checks before an engine is deserialised: is it whole, unaltered, and built for here?

A deserialiser trusts its input, and an engine of another device or SDK version crashes or, worse,
computes something else. So the manifest is compared with the file and the machine first.
"""

from __future__ import annotations

from pathlib import Path

from engines.backends import BACKENDS, Backend, Session, backend
from engines.device import differences
from engines.errors import InputError, WrongEngine
from engines.files import sha256_file
from engines.records import Fingerprint, Manifest

MANIFEST_FILE = "manifest.json"


def load_engine(
    folder: Path, device: Fingerprint, *, in_flight: int = 1
) -> tuple[Manifest, Session]:
    """Check and load the engine in `folder`; `in_flight` 1 means lowest latency.

    Raises WrongEngine when it is damaged, altered or not for this device, InputError when there is
    no readable manifest.
    """
    manifest = Manifest.read(folder / MANIFEST_FILE)
    engine = check_engine(folder, manifest, device)
    return manifest, _backend(manifest).load(engine, manifest, in_flight=in_flight)


def check_engine(folder: Path, manifest: Manifest, device: Fingerprint) -> Path:
    """The engine's file, when it is what the manifest says and may run here.

    Raises WrongEngine with the field that differs, both values and what to do.
    """
    _check_device(manifest, device)
    _check_backend(manifest, _backend(manifest))
    return _check_file(folder, manifest)


def _backend(manifest: Manifest) -> Backend:
    if manifest.backend not in BACKENDS:
        raise _refused(
            manifest,
            f"backend: expected one of {', '.join(BACKENDS)}, the manifest says "
            f"{manifest.backend!r}",
        )
    return backend(manifest.backend, manifest.backend_package)


def _check_device(manifest: Manifest, device: Fingerprint) -> None:
    if found := differences(manifest.device, device, manifest.backend_package):
        raise _refused(
            manifest, "it was built for another device: " + "; ".join(f"device {d}" for d in found)
        )


def _check_backend(manifest: Manifest, backend: Backend) -> None:
    try:
        installed = backend.version()
    except InputError as error:
        raise _refused(manifest, f"{manifest.backend_package} is not installed here") from error
    if installed != manifest.backend_version:
        raise _refused(
            manifest,
            f"backend_version: it was built with {manifest.backend_package} "
            f"{manifest.backend_version}, "
            f"here is {installed}",
        )


def _check_file(folder: Path, manifest: Manifest) -> Path:
    engine = folder / manifest.engine_file
    if engine.parent != folder or not engine.is_file():
        raise _refused(manifest, f"engine_file: {engine} is not there")
    size = engine.stat().st_size
    if size != manifest.engine_bytes:
        raise _refused(
            manifest,
            f"engine_bytes: expected {manifest.engine_bytes}, {engine} has {size}",
        )
    digest = sha256_file(engine)
    if digest != manifest.engine_sha256:
        raise _refused(
            manifest,
            f"engine_sha256: expected {manifest.engine_sha256}, {engine} has {digest}",
        )
    return engine


def _refused(manifest: Manifest, problem: str) -> WrongEngine:
    return WrongEngine(
        f"Engine {manifest.engine} is refused: {problem}. Build it here with "
        f"`pipeline build {manifest.engine} --target {manifest.target}`."
    )
