"""What a person reads of a release in MLflow's pages, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from engines.config.names import Name
from engines.records.verdict import Check
from engines.verdict.judged import JudgedEngine

_SPECIAL = str.maketrans({one: f"\\{one}" for one in "\\`*_{}[]<>()#+-!|"} | {"\n": " ", "\r": " "})
"""What Markdown or HTML would read as its own; a class may be called anything."""
_LINEAGE = "| where it comes from |  |"
"""What follows the verdict in the description of a run."""


def plain(text: str) -> str:
    """`text` as Markdown that shows just that, in one line."""
    return text.translate(_SPECIAL)


def of_experiment(model: Name) -> str:
    """Of the experiment of a model: one run an engine."""
    return (
        f"Engines of the model `{model}` that kept every budget of their target, one run each, "
        "named by the image tag that they are rolled out under. `release publish` writes here."
    )


def of_model(model: Name, target: Name) -> str:
    """Of the registered model that holds the engines of `model` for `target`."""
    return (
        f"Engines of the model `{model}` for devices of the kind `{target}`, one version each. The "
        "alias `candidate` is the one that `release write` rolls out; an alias of a ring's name is "
        "what its clusters run. They load on such a device only."
    )


def heading(release: str) -> str:
    """The first line of a version's description, by which ours is told from people's."""
    return f"### `{release}`"


def of_version(
    judged: JudgedEngine, release: str, registered_model: str, version: str, run: str | None = None
) -> str:
    """Of one version: verdict, device, where it comes from, and how to load it. The verdict is that
    in the description of its `run`, where that is of an earlier measurement."""
    manifest = judged.manifest
    return f"""{run.partition(_LINEAGE)[0].rstrip() if run else _verdict(judged, release)}

**Where it comes from**: model `{manifest.model}` version {manifest.model_version}, commit \
`{manifest.source.git_commit or "none"}`, weights `{manifest.source.weights_sha256[:12]}`, \
{manifest.source.onnx_file.rpartition("/")[2]} `{manifest.source.onnx_sha256[:12]}`. The data sets \
are the run's inputs.

**Image**: tag `{release}`; its digest is in `release/records/{release}/image.json` of the \
repository once it is packed. It holds `/models/{judged.engine_file.name}`.

**Load** (on such a device):

```python
import mlflow
model = mlflow.pyfunc.load_model("models:/{registered_model}/{version}")
boxes = model.predict("picture.jpg")
boxes = model.predict(picture)   # uint8 BGR, shape (height, width, 3)
boxes = model.predict(pictures)  # a list of those, or a batch (n, height, width, 3)
```

`models:/{registered_model}@candidate` is the version that the first ring gets, whichever that is;
the name of a ring in the place of `candidate` gives what that one runs.
"""


def of_run(judged: JudgedEngine, release: str, lineage: Mapping[str, str]) -> str:
    """Of one run: its verdict, and every hash by which git and DVC find what it is of."""
    rows = "\n".join(f"| {name} | `{value}` |" for name, value in lineage.items())
    return f"""{_verdict(judged, release)}

{_LINEAGE}
|---|---|
{rows}
"""


def _verdict(judged: JudgedEngine, release: str) -> str:
    manifest = judged.manifest
    device = judged.benchmark.device or manifest.device
    rows = "\n".join(_row(check) for check in judged.verdict.checks)
    notes = "".join(f"\n- {plain(note)}" for note in judged.verdict.notes)
    return f"""{heading(release)}

**{judged.verdict.verdict}** on {plain(device.module or device.gpu or device.name)}\
{f" ({device.compute_capability})" if device.compute_capability else ""}, \
{manifest.precision} ({manifest.executed_precision} executed), \
{manifest.backend_package} {manifest.backend_version}, {len(manifest.classes)} class(es), \
{manifest.imgsz[0]} x {manifest.imgsz[1]} pixels.

| budget | measured | limit |  |
|---|---|---|---|
{rows}
{notes}""".rstrip()


def _row(check: Check) -> str:
    # As Markdown spells them: a database of MySQL or MariaDB may know Latin letters only.
    sign = "&le;" if check.rule == "at most" else "&ge;"
    unit = f" {check.unit}".rstrip()
    return (
        f"| {check.name} | {check.measured:.4g}{unit} | {sign} {check.limit:g}{unit} "
        f"| {check.verdict} |"
    )
