"""`pipeline predict`: what an engine finds, drawn on pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.detect.detections import Detections
from engines.detect.detector import Detector
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from pipeline.intake.pictures import READ, find_pictures, is_picture, read_picture
from pipeline.progress import note, track
from pipeline.report.drawn import write_drawn
from pipeline.report.older import older


def predict(
    workspace: Workspace, target_name: str, engine: str, source: Path, out: Path
) -> dict[Path, dict[str, int]]:
    """Draw the boxes that the engine finds in `source`, a picture or a folder, into `out`; gives
    each drawn picture with the number of objects by class. What was drawn into `out` before, where
    that lies in `source`, is left out.

    Raises InputError for an unknown engine, one that is not built, or no picture that can be read,
    and WrongEngine for one that may not run here.
    """
    load_target(workspace, target_name).engine(engine)
    found = _pictures(source, out)
    drawn: dict[Path, dict[str, int]] = {}
    with Detector.open(workspace.engine(target_name, engine).path, read_fingerprint()) as detector:
        classes = detector.manifest.classes
        for sentence in older(workspace, detector.manifest):
            note(sentence)
        for path in track(found, f"predict with {engine}", total=len(found)):
            try:
                pixels = read_picture(path)
            except (InputError, PermissionError) as error:
                if len(found) == 1:
                    raise
                note(f"left out: {error}")
                continue
            (boxes,) = detector.detect([pixels])
            _check_numbers(boxes, engine, path)
            name = path.relative_to(source) if source.is_dir() else Path(path.name)
            place = out / name.parent / f"{name.name}.png"
            write_drawn(place, pixels, boxes, classes)
            drawn[place] = _counts(boxes, classes)
    if not drawn:
        raise InputError(
            f"Expected a picture that can be read in {source}, got none among {len(found)}, for "
            "the reasons above. Nothing was drawn: name another folder."
        )
    return drawn


def _pictures(source: Path, out: Path) -> list[Path]:
    if source.is_file() and is_picture(source):
        return [source]
    if source.resolve() == out.resolve():
        raise InputError(
            f"Expected a folder of its own for the drawn pictures, got {out}, which has those that "
            "they are drawn on. Name another one with --out."
        )
    below = find_pictures(source) if source.is_dir() else []
    found = [one for one in below if out.resolve() not in one.resolve().parents]
    if not found:
        raise InputError(
            f"Expected a picture, or a folder with pictures, at {source}, got {_what(source)}. "
            "Name another."
        )
    return found


def _what(source: Path) -> str:
    if source.is_dir():
        return "a folder without any"
    kinds = ", ".join(one[1:] for one in sorted(READ))
    return f"another kind of file (pictures end in {kinds})" if source.exists() else "nothing"


def _check_numbers(found: Detections, engine: str, path: Path) -> None:
    if not np.isfinite(found.boxes).all():
        raise WrongEngine(
            f"Expected numbers for the boxes that {engine} finds in {path}, got NaN or infinity: "
            "its computation overflows. Take an engine in fp32; verify.json and quantize.json say "
            "under `notes` what comes near the largest float16."
        )


def _counts(boxes: Detections, classes: tuple[str, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for index in boxes.classes:
        counts[classes[index]] = counts.get(classes[index], 0) + 1
    return counts
