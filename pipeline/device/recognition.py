"""Whether this machine is a device of a target, and which target it is one of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from engines.config.target import TargetConfig
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import describe
from engines.machine.sensors.quota import usable_processors
from engines.packages import PROCESSOR, Package
from engines.records.fingerprint import Fingerprint
from pipeline.device.installing import how_to_install


def check_target(
    fingerprint: Fingerprint,
    target: TargetConfig,
    expected: Mapping[str, str],
    others: Callable[[], Iterable[TargetConfig]] = tuple,
) -> None:
    """Raise WrongEngine unless this device is what the target's row asks for: `expected` is its
    `device` or its `build_device`. `others` gives the targets to name instead, where one is for
    this device. Raises InputError when the row asks for something that no fingerprint says."""
    if unknown := expected.keys() - Fingerprint.model_fields.keys():
        raise InputError(
            f"Target {target.target}: expected under `device:` the fields of a fingerprint "
            f"({', '.join(PROCESSOR)}, …), got {', '.join(sorted(unknown))}. Fix its params.yaml."
        )
    if wrong := mismatches(fingerprint, expected):
        raise WrongEngine(
            f"Expected a device of target {target.target} ({_row(expected)}), got "
            f"{describe(fingerprint)}, which is not {', '.join(wrong)}. "
            + _elsewhere(target, [row.target for row in others() if suits(fingerprint, row)])
        )
    if target.package.name not in fingerprint.backends:
        installed = ", ".join(fingerprint.backends) or "none"
        raise WrongEngine(
            f"Expected the package {target.package.name!r}, which target {target.target} runs on, "
            f"on this device, got {installed} installed. "
            + how_to_install(fingerprint, target.package.name)
        )


def mismatches(fingerprint: Fingerprint, expected: Mapping[str, str]) -> list[str]:
    """What a row asks for and this device is not, each as `key: value`."""
    asked = expected.items()
    return [f"{key}: {value}" for key, value in asked if not _matches(fingerprint, key, value)]


def suits(fingerprint: Fingerprint, target: TargetConfig) -> bool:
    """Whether this is a device of the target, with the package that its engines run on."""
    at_home = target.package.name in fingerprint.backends
    return at_home and not mismatches(fingerprint, target.device)


def frames_in_flight(fingerprint: Fingerprint, package: Package) -> tuple[int, int]:
    """How many frames at once keep the device busy: a number to begin with, and a larger one."""
    # One frame a core keeps them busy; the second hides the work between two inferences. A GPU runs
    # one inference at a time, while the processors make the next frame ready.
    busy = 2 if package.gpu else min(fingerprint.cores, usable_processors())
    return busy, 2 * busy


def _elsewhere(target: TargetConfig, suiting: list[str]) -> str:
    runner = f" (GitLab runners have the tag {target.runner_tag})" if target.runner_tag else ""
    if suiting:
        here = f"take a target of this one: `--target {suiting[0]}`"
        more = f" (or {', '.join(suiting[1:])})" if suiting[1:] else ""
        return f"Run this on such a device{runner}, or {here}{more}."
    return (
        f"Run this on such a device{runner}, or add a target for this one with `pipeline "
        "add-target NAME --from TARGET` and set its `device:`. `pipeline doctor` says what this "
        "machine can do."
    )


def _matches(fingerprint: Fingerprint, key: str, value: str) -> bool:
    found = getattr(fingerprint, key, None)
    if isinstance(found, tuple):
        return set(value.split()) <= set(found)
    return str(found) == value


def _row(device: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in device.items())
