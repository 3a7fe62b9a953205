"""An engine's folder: the one type that knows its files by name, and whether they belong together.

engine.plan, engine.blob    the engine; which of the two the manifest says
manifest.json               Manifest
benchmark.json              Benchmark
pytest-benchmark.json       the raw times, as pytest-benchmark writes them
evaluation.json             Evaluation
golden.npz                  engines.detect.golden: frames, and what the engine finds in them
verdict.json                Verdict, and verdict.junit.xml for GitLab
../summary/<engine>.json    figures for DVC's metrics and plots, one folder for all engines of
../latency/<engine>.csv     a target
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engines.errors import InputError
from engines.files import sha256_file
from engines.records.manifest import Manifest
from engines.records.record import EngineRecord, Record

RAW_TIMES = "pytest-benchmark.json"
GOLDEN = "golden.npz"

AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True)
class EngineFolder:
    """The folder of one engine, `engines/targets/<target>/out/<engine>` or a pod's `/models`."""

    path: Path

    @property
    def raw_times(self) -> Path:
        return self.path / RAW_TIMES

    @property
    def golden(self) -> Path:
        return self.path / GOLDEN

    @property
    def junit(self) -> Path:
        return self.path / "verdict.junit.xml"

    @property
    def summary(self) -> Path:
        return self.path.parent / "summary" / f"{self.path.name}.json"

    @property
    def latency_table(self) -> Path:
        return self.path.parent / "latency" / f"{self.path.name}.csv"

    def file(self, kind: type[Record]) -> Path:
        """Where a record of this kind lies."""
        return self.path / kind.file

    def read(self, kind: type[AnyRecord]) -> AnyRecord:
        """Read the record of this kind. Raises InputError when it is missing or malformed."""
        return kind.read(self.file(kind))

    def write(self, record: Record) -> None:
        """Write the record under its own name, atomically."""
        record.write(self.file(type(record)))

    def engine_file(self, manifest: Manifest) -> Path:
        return self.path / manifest.engine_file

    def sha256(self, name: str) -> str | None:
        """SHA-256 of a file of the folder; None when it is not there."""
        path = self.path / name
        return sha256_file(path) if path.is_file() else None

    def altered(self, manifest: Manifest) -> str | None:
        """How the engine on the disk differs from what its manifest says, as `key: what is wrong`;
        None when it is that engine."""
        engine = self.engine_file(manifest)
        if engine.parent != self.path or not engine.is_file():
            return f"engine_file: {engine} is not there"
        size = engine.stat().st_size
        if size != manifest.engine_bytes:
            return f"engine_bytes: expected {manifest.engine_bytes}, {engine} has {size}"
        digest = sha256_file(engine)
        if digest != manifest.engine_sha256:
            return f"engine_sha256: expected {manifest.engine_sha256}, {engine} has {digest}"
        return None

    def check_measured(self, manifest: Manifest, *records: EngineRecord) -> None:
        """Raise InputError unless every record was measured on the engine that the manifest is of,
        under its name and on its target."""
        ours = (manifest.engine, manifest.target, manifest.engine_sha256)
        for record in records:
            if (record.engine, record.target, record.engine_sha256) != ours:
                raise InputError(
                    f"Expected {self.file(type(record))} to be of the engine "
                    f"{manifest.engine_sha256[:12]} ({manifest.engine} on {manifest.target}) that "
                    f"lies there, but it is of {record.engine_sha256[:12]} ({record.engine} on "
                    f"{record.target}). Run `{record.written_by} {manifest.engine} --target "
                    f"{manifest.target}`."
                )
