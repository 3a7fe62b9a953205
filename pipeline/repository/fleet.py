"""The folders of release/fleet that a new model or target needs, laid out once from templates.

`release` reads and writes in them; the two packages meet through these files only. The templates
are people's, in release/templates: whoever puts their own registry there has it in each new folder.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

from engines.config.rings import load_rings
from engines.config.target import TargetConfig
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml, parse_yaml
from engines.errors import InputError
from engines.files import atomic_folder, listed

FILES = ("fleet.yaml", "release.yaml")

LONGEST_RELEASE_NAME = 53
"""Of Helm (https://helm.sh/docs/chart_template_guide/getting_started, releases)."""

_DIGITS = 6

GPU_LIMITS = "{memory: 4Gi, nvidia.com/gpu: 1}  # lint: allow surge-without-gpu"
"""The comment is for `release lint`: two pods share the GPU by time slicing."""


@contextmanager
def fleet_folders(
    workspace: Workspace, models: Iterable[str], targets: Iterable[TargetConfig]
) -> Iterator[None]:
    """Lay out the folders of each of `models` on each of `targets` for each ring, and take them
    away again when the block fails.

    A folder that is there stays as it is: its fleet.yaml is people's. Raises InputError where
    rings.yaml or a template is missing, or a template does not become YAML with keys.
    """
    templates = {file: _template(workspace, file) for file in FILES}
    places = list(product(models, targets, load_rings(workspace).names))
    for model, target, ring in places[:1]:
        for file, text in templates.items():
            _check_filled(workspace, file, _filled(text, _words(model, target, ring)))
    made: list[Path] = []
    try:
        for model, target, ring in places:
            folder = workspace.ring(model, target.target, ring)
            if not folder.exists():
                _lay_out(folder, templates, _words(model, target, ring))
                made.append(folder)
        yield
    except BaseException:
        for folder in made:
            _take_away(folder)
        raise


def released_in(workspace: Workspace, model: str) -> list[str]:
    """The rings that run the model, as `<target>/<ring>`: those whose release.yaml has a tag.

    Raises InputError where such a file is not YAML.
    """
    return [
        "/".join(path.parts[-3:-1])
        for path in listed(workspace.fleet / model, "*/*/release.yaml")
        if _tag(load_yaml(path))
    ]


def _tag(values: Any) -> Any:
    image = values.get("image") if isinstance(values, dict) else None
    return image.get("tag") if isinstance(image, dict) else None


def release_name(model: str, target: str) -> str:
    """The name of the Helm release: legal, at most 53 characters, and of no other model and target.

    The hash is always there, since `a-b` on `c` and `a` on `b-c` would be the same without it.
    """
    digest = hashlib.sha256(f"{model}/{target}".encode()).hexdigest()[:_DIGITS]
    words = f"{model}-{target}"[: LONGEST_RELEASE_NAME - _DIGITS - 1].rstrip("-")
    return f"{words}-{digest}"


def _words(model: str, target: TargetConfig, ring: str) -> dict[str, str]:
    """What takes the place of each <word> of a template."""
    gpu = target.backend == "tensorrt"
    return {
        "model": model,
        "target": target.target,
        "label": target.fleet_label,
        "ring": ring,
        "releaseName": release_name(model, target.target),
        "runtimeClass": "nvidia" if gpu else '""',
        "limits": GPU_LIMITS if gpu else "{memory: 4Gi}",
    }


def _template(workspace: Workspace, file: str) -> str:
    path = workspace.root / "release" / "templates" / file
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"Expected {path}, which each new folder of release/fleet begins as, but it is not "
            f"there. Bring it back with `git checkout -- {workspace.relative(path)}`."
        ) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"Expected {path} as text in UTF-8, but line {line} holds other bytes. Save it as "
            "UTF-8, and run the same command again."
        ) from error


def _lay_out(folder: Path, templates: dict[str, str], words: dict[str, str]) -> None:
    with atomic_folder(folder) as new:
        for file, text in templates.items():
            (new / file).write_text(_filled(text, words), encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"<{word}>", value)
    return text


def _check_filled(workspace: Workspace, file: str, text: str) -> None:
    path = workspace.root / "release" / "templates" / file
    if not isinstance(parse_yaml(text.encode(), str(path)), dict):
        raise InputError(
            f"Expected {path} as YAML with keys, which each new folder of release/fleet begins as, "
            f"got something else. Bring it back with `git checkout -- {workspace.relative(path)}`."
        )


def _take_away(folder: Path) -> None:
    """Remove what was laid out, and the folders above it that are empty then, up to fleet/."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        for parent in list(folder.parents)[:3]:
            parent.rmdir()
