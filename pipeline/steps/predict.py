"""`pipeline predict`: what an engine finds, drawn on pictures."""

from __future__ import annotations

from pathlib import Path

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.detect.detections import Detections
from engines.detect.detector import Detector
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint
from pipeline.intake.pictures import find_pictures, is_picture, read_picture
from pipeline.progress import note, track
from pipeline.report.drawn import write_drawn


def predict(
    workspace: Workspace, target_name: str, engine: str, source: Path, out: Path
) -> dict[Path, dict[str, int]]:
    """Draw the boxes that the engine finds in `source`, a picture or a folder, into `out`; gives
    each drawn picture with the number of objects by class.

    Raises InputError for an unknown engine, one that is not built, or no picture, and WrongEngine
    for one that may not run here.
    """
    load_target(workspace, target_name).engine(engine)
    found = _pictures(source)
    drawn: dict[Path, dict[str, int]] = {}
    with Detector.open(workspace.engine(target_name, engine).path, read_fingerprint()) as detector:
        classes = detector.manifest.classes
        for path in track(found, f"predict with {engine}", total=len(found)):
            try:
                pixels = read_picture(path)
            except InputError as error:
                if len(found) == 1:
                    raise
                note(f"left out: {error}")
                continue
            (boxes,) = detector.detect([pixels])
            name = path.relative_to(source) if source.is_dir() else Path(path.name)
            place = out / name.parent / f"{name.name}.png"
            write_drawn(place, pixels, boxes, classes)
            drawn[place] = _counts(boxes, classes)
    return drawn


def _pictures(source: Path) -> list[Path]:
    if source.is_file() and is_picture(source):
        return [source]
    found = find_pictures(source) if source.is_dir() else []
    if not found:
        raise InputError(
            f"Expected a picture, or a folder with pictures, at {source}, got "
            f"{'a folder without any' if source.is_dir() else 'none'}. Name another."
        )
    return found


def _counts(boxes: Detections, classes: tuple[str, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for index in boxes.classes:
        counts[classes[index]] = counts.get(classes[index], 0) + 1
    return counts
