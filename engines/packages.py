"""The packages that backends run on: one row each, and the one place that knows them.

A row and a folder under `engines/backends` are a backend. What is looked up by name here costs
nothing: no backend is imported until it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

PROCESSOR = ("architecture", "name", "isa", "cores")
"""Fields of a fingerprint. `cores` is among them since latencies and the verdict were measured with
that many; on a Jetson the power mode changes them, so there they are not."""
GPU = (
    *("kind", "architecture", "gpu", "compute_capability", "driver", "cuda"),
    *("family", "module", "l4t", "jetpack"),
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package, and what a backend needs of it."""

    name: str
    """As Python imports it; a key of a fingerprint's `backends`."""
    backend: str
    """`backend:` in a target's row."""
    location: str
    """`module:class` of the backend, which is made with the package's name."""
    options: str
    """`module:class` of the options in `builder:` of a target's row."""
    engine_file: str
    """Name of its engines' files."""
    distributions: tuple[str, ...]
    """Names that it may be installed under; the first that is there counts."""
    requirement: str | None
    """What pip installs to run its engines elsewhere; None: it comes with the device's system."""
    extras: tuple[str, ...] = ()
    """Extras of Jetrail's that bring it, beside `device`, which all machines that build have."""
    build_needs: tuple[str, ...] = ()
    """Distributions that building wants beside it."""
    run_needs: tuple[str, ...] = ()
    """Distributions that running an engine wants beside it."""
    gpu: bool
    """Whether its engines run on a GPU, or on the processors."""
    tied_to: tuple[str, ...]
    """Fields of the fingerprint that tie its engines to a device. Memory and the versions of other
    packages never do."""


PACKAGES: dict[str, Package] = {
    row.name: row
    for row in (
        Package(
            name="openvino",
            backend="openvino",
            location="engines.backends.openvino.backend:OpenVINO",
            options="engines.backends.openvino.options:OpenVINOOptions",
            engine_file="engine.blob",
            distributions=("openvino",),
            requirement="openvino",
            gpu=False,
            tied_to=PROCESSOR,
        ),
        Package(
            name="tensorrt",
            backend="tensorrt",
            location="engines.backends.tensorrt.backend:TensorRT",
            options="engines.backends.tensorrt.options:TensorRTOptions",
            engine_file="engine.plan",
            distributions=("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
            requirement=None,
            build_needs=("polygraphy",),
            run_needs=("cuda-bindings",),
            gpu=True,
            tied_to=GPU,
        ),
        Package(
            name="tensorrt_rtx",
            backend="tensorrt",
            location="engines.backends.tensorrt.backend:TensorRT",
            options="engines.backends.tensorrt.options:TensorRTOptions",
            engine_file="engine.plan",
            distributions=("tensorrt_rtx",),
            requirement="tensorrt-rtx",
            extras=("rtx",),
            build_needs=("polygraphy",),
            run_needs=("cuda-bindings",),
            gpu=True,
            # Its plans are compiled for the GPU when they are loaded.
            tied_to=("architecture",),
        ),
    )
}
"""By name."""


def backend_names() -> list[str]:
    """The backends there are, each once."""
    return list(dict.fromkeys(row.backend for row in PACKAGES.values()))


def packages_of(backend: str) -> list[Package]:
    """The packages that a backend can run on; none where there is no such backend."""
    return [row for row in PACKAGES.values() if row.backend == backend]


def extra_command(extra: str) -> str:
    """What installs one of Jetrail's extras, pinned, in the root of the repository."""
    return f"`pip install --constraint constraints.txt --editable '.[{extra}]'`"


def installed_packages() -> dict[str, str]:
    """Package to its installed version, of those that are installed; none is imported.

    JetPack's `python3-libnvinfer` is seen too, where the system's packages are.
    """
    versions = {name: installed_version(name) for name in PACKAGES}
    return {name: found for name, found in versions.items() if found is not None}


def installed_version(name: str) -> str | None:
    """The version of a package of the table, or of any distribution; None where it is not
    installed."""
    row = PACKAGES.get(name)
    for distribution in row.distributions if row else (name,):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None
