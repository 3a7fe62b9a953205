"""The picture of `release status` in README: what the command really prints, of two rings."""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.fleet_reports import deployment, write_report
from factories.gitops import GitOpsRepository, git
from factories.signed import Signer
from rich.console import Console
from rich.text import Text
from typer.testing import Result

from engines.config.workspace import Workspace
from release.packed import image_path
from release.records import (
    Candidate,
    Candidates,
    attestation_path,
    candidates_path,
    publication_path,
)
from release.rollout.release_yaml import dump, release_file, values_of
from tests.unit.release.moves.test_signed import statement
from tests.unit.release.publications import IMAGE, PUBLICATION, TARGET, another

PICTURE = Path(__file__).parents[4] / "docs" / "pictures" / "status.svg"
COLUMNS = 80
TITLE = "$ release status --report sites.json"
BAD = another("1.1", "b")
DIGEST = f"sha256:{'5f0d1c2b3a49' * 5}5f0d"
CRASHING = {"ready": False, "message": "deployment.apps inference/meter [progressing] 0 of 1"}


@pytest.fixture
def begun() -> str:
    """Before what the picture shows."""
    return "2026-01-01"


def drawn(text: str) -> str:
    """As a terminal of 80 columns shows it, which breaks longer lines wherever it must; without the
    fonts that rich would fetch from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    styles = (("ready with it", "green"), ("not ready", "red"), (r"\bmeter on .*", "bold"))
    shown = Text(text.rstrip("\n"))
    for words, style in styles:
        shown.highlight_regex(words, style)
    for one in shown.split("\n"):
        for part in one.divide(range(COLUMNS, len(one), COLUMNS)):
            console.print(part, soft_wrap=True)
    picture = console.export_svg(title=TITLE, unique_id="status")
    return re.sub(r"\s*@font-face \{[^}]*\}", "", picture)


def words_of(picture: str) -> list[str]:
    """The texts of an SVG, whichever version of rich drew it."""
    return [html.unescape(one) for one in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]


def sign_and_pack(workspace: Workspace) -> None:
    """The second release as the demo leaves it, and pushed."""
    signer = Signer("plant")
    workspace.trusted_keys.mkdir(parents=True)
    signer.record().write(workspace.trusted_keys / "plant.json")
    about = {"release": BAD.release, "engine_sha256": BAD.engine_sha256, "model_version": "1.1"}
    signed = statement(files=dict(BAD.judged), **about)
    attestation_path(workspace, BAD.release).write_bytes(signer.envelope(signed))
    pushed = {
        "release": BAD.release,
        "digest": DIGEST,
        "repositories": ("registry.example.com/jetrail/meter",),
    }
    IMAGE.model_copy(update=pushed).write(image_path(workspace, BAD.release))


def test_the_picture_is_true(
    repository: GitOpsRepository,
    run: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """JETRAIL_DRAW=1 draws it anew."""
    workspace = repository.workspace
    BAD.write(publication_path(workspace, BAD.release))
    chosen = Candidate(release=BAD.release, engine=BAD.engine, reason="fastest")
    Candidates(target=TARGET, policy="fastest", candidates={"meter": chosen}, skipped={}).write(
        candidates_path(workspace, TARGET)
    )
    sign_and_pack(workspace)
    repository.put(PUBLICATION, "pilot")
    repository.push("The first in pilot", at="2026-11-16T01:13:00Z")
    values = dump(values_of(BAD, DIGEST))
    release_file(workspace, "meter", TARGET, "canary").write_text(values)
    repository.push("The second in canary", name="Grace", at="2026-11-27T07:13:00Z")
    commit = git(repository.bare, "rev-parse", "main")
    folder = f"jetrail-release-fleet-meter-{TARGET}"
    rows = [
        deployment(f"{folder}-canary", "dock-1", commit, **CRASHING),
        deployment(f"{folder}-canary", "dock-2", commit),
        *(deployment(f"{folder}-pilot", f"gate-{number}", commit) for number in range(1, 6)),
    ]
    # The picture's clone has a store and MLflow's address, this one has not.
    monkeypatch.setattr("release.terminal.sqlite_file", lambda _: None)
    result = run("status", "--report", write_report(tmp_path / "sites.json", rows))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines(keepends=True)
    picture = drawn("".join(one for one in lines if "MLflow was not asked" not in one))
    if os.environ.get("JETRAIL_DRAW"):
        PICTURE.write_text(picture, encoding="utf-8")
    width = re.search(r'viewBox="0 0 (\d+)', PICTURE.read_text(encoding="utf-8"))
    assert width is not None
    assert int(width[1]) <= 1000, "a README shows no more without making it smaller"
    assert words_of(PICTURE.read_text(encoding="utf-8")) == words_of(picture)
