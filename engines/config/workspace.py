"""Where things are in a Jetrail repository: the one place that knows its folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engines.errors import OTHERS_COMMAND, InputError
from engines.process.stage import DVC_STAGE
from engines.records.fingerprint import Fingerprint
from engines.records.folder import EngineFolder
from engines.records.record import Precision


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A Jetrail repository; `root` is the folder that holds the top `dvc.yaml`."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def targets(self) -> Path:
        return self.root / "engines" / "targets"

    @property
    def fleet(self) -> Path:
        """`release/fleet`, what Rancher Fleet reads."""
        return self.root / "release" / "fleet"

    @property
    def rings_file(self) -> Path:
        return self.root / "release" / "rings.yaml"

    @property
    def records(self) -> Path:
        return self.root / "release" / "records"

    @property
    def trust(self) -> Path:
        """`release/trust`, the keys that may sign releases."""
        return self.root / "release" / "trust"

    @property
    def trusted_keys(self) -> Path:
        """`release/trust/keys`, the public ones, which people keep in git."""
        return self.trust / "keys"

    @property
    def images(self) -> Path:
        """`release/images`, the OCI layout of all images that were packed here."""
        return self.root / "release" / "images"

    @property
    def bases_file(self) -> Path:
        return self.root / "release" / "bases.yaml"

    def model(self, name: str) -> Path:
        """`models/<name>`, where people keep model.yaml, weights and data sets."""
        return self.models / name

    def model_out(self, name: str) -> Path:
        """`models/<name>/out`, what export, verify and quantize write."""
        return self.model(name) / "out"

    def onnx(self, model: str, precision: Precision) -> Path:
        """`models/<model>/out/model.<precision>.onnx`, what an engine is built from."""
        return self.model_out(model) / f"model.{precision}.onnx"

    def reference(self, model: str) -> Path:
        """`models/<model>/out/reference.npz`, what the FP32 checkpoint finds."""
        return self.model_out(model) / "reference.npz"

    def checkpoint_outputs(self, model: str) -> Path:
        """`models/<model>/out/checkpoint.npz`, the checkpoint's own output on a few pictures."""
        return self.model_out(model) / "checkpoint.npz"

    def golden(self, model: str) -> Path:
        """`models/<model>/out/golden.npz`, frames and each ONNX file's own output on them."""
        return self.model_out(model) / "golden.npz"

    def target(self, name: str) -> Path:
        """`engines/targets/<name>`, the target's row (params.yaml) and its pipeline."""
        return self.targets / name

    def engine(self, target: str, engine: str) -> EngineFolder:
        """`engines/targets/<target>/out/<engine>`, all files of one engine."""
        return EngineFolder(self.target(target) / "out" / engine)

    def device_file(self, target: str) -> Path:
        """`engines/targets/<target>/out/device.json`, what probe found."""
        return self.target(target) / "out" / Fingerprint.file

    def ring(self, model: str, target: str, ring: str) -> Path:
        """`release/fleet/<model>/<target>/<ring>`, a Fleet bundle: fleet.yaml and release.yaml."""
        return self.fleet / model / target / ring

    def relative(self, path: Path) -> str:
        """`path` as a user would type it from the root."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def root_if_elsewhere() -> str:
    """` in <root>` where the current folder is another one of the repository, and else nothing:
    what to put into a sentence with a command of DVC or git, which read paths from where they are.
    In a command that DVC runs it is nothing too: nobody typed where that one is."""
    try:
        here, root = Path.cwd().resolve(), find_workspace().root
    except (InputError, OSError):
        return ""
    return "" if here == root or DVC_STAGE in os.environ else f" in {root}"


def where_to_run(sentence: str) -> str:
    """A sentence that says where the commands of another are to be run; nothing where they are
    ours, or where that is the current folder."""
    where = root_if_elsewhere() if OTHERS_COMMAND.search(sentence) else ""
    return f"The commands are to be run{where}." if where else ""


def find_workspace(start: Path | None = None) -> Workspace:
    """The repository that `start` (default: the current folder) lies in.

    The root is the nearest folder upward that has a `dvc.yaml` and a folder `models` or
    `engines/targets` (a clone without a model has no `models`): a target's folder has a `dvc.yaml`
    too and must not be taken for it.
    Raises InputError when there is none.
    """
    try:
        here = (start or Path.cwd()).resolve()
    except FileNotFoundError as error:
        raise InputError(
            "Expected to be in a folder, but the one that this shell is in was removed or moved. "
            "Change into your clone and run the command again."
        ) from error
    for folder in (here, *here.parents):
        workspace = Workspace(root=folder)
        if (folder / "dvc.yaml").is_file() and (
            workspace.models.is_dir() or workspace.targets.is_dir()
        ):
            return workspace
    raise InputError(
        f"Expected to be inside a Jetrail repository (a folder with dvc.yaml and models/), "
        f"but found none from {here} upward. Change into your clone and run the command again."
    )
