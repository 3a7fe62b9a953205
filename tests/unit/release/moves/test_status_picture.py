"""The picture of `release status` in README: what the command really prints, of two rings."""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

from factories.fleet_reports import deployment, write_report
from factories.gitops import GitOpsRepository, git
from rich.console import Console
from rich.text import Text
from typer.testing import Result

from release.records import Candidate, Candidates, candidates_path, publication_path
from tests.unit.release.publications import PUBLICATION, TARGET, another

PICTURE = Path(__file__).parents[4] / "docs" / "pictures" / "status.svg"
TITLE = "$ release status --report sites.json"
BAD = another("1.1", "b")
CRASHING = {"ready": False, "message": "deployment.apps inference/meter [progressing] 0 of 1"}


def drawn(text: str) -> str:
    """As a terminal shows it; without the fonts that rich would fetch from elsewhere."""
    console = Console(record=True, width=84, file=io.StringIO(), force_terminal=True)
    styles = (("ready with it", "green"), ("not ready", "red"), (r"\bmeter on .*", "bold"))
    shown = Text(text.rstrip("\n"))
    for words, style in styles:
        shown.highlight_regex(words, style)
    console.print(shown, soft_wrap=True)
    picture = console.export_svg(title=TITLE, unique_id="status")
    return re.sub(r"\s*@font-face \{[^}]*\}", "", picture)


def words_of(picture: str) -> list[str]:
    """The texts of an SVG, whichever version of rich drew it."""
    return [html.unescape(one) for one in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]


def test_the_picture_is_true(
    repository: GitOpsRepository, run: Callable[..., Result], tmp_path: Path
) -> None:
    """JETRAIL_DRAW=1 draws it anew."""
    workspace = repository.workspace
    BAD.write(publication_path(workspace, BAD.release))
    chosen = Candidate(release=BAD.release, engine=BAD.engine, reason="fastest")
    Candidates(target=TARGET, policy="fastest", candidates={"meter": chosen}, skipped={}).write(
        candidates_path(workspace, TARGET)
    )
    repository.put(PUBLICATION, "pilot")
    repository.push("The first in pilot", at="2026-11-16T01:13:00Z")
    repository.put(BAD, "canary")
    repository.push("The second in canary", name="Grace", at="2026-11-27T07:13:00Z")
    commit = git(repository.bare, "rev-parse", "main")
    folder = f"jetrail-release-fleet-meter-{TARGET}"
    rows = [
        deployment(f"{folder}-canary", "dock-1", commit, **CRASHING),
        deployment(f"{folder}-canary", "dock-2", commit),
        *(deployment(f"{folder}-pilot", f"gate-{number}", commit) for number in range(1, 6)),
    ]
    result = run("status", "--report", write_report(tmp_path / "sites.json", rows))
    assert result.exit_code == 0, result.output
    picture = drawn(result.stdout)
    if os.environ.get("JETRAIL_DRAW"):
        PICTURE.write_text(picture, encoding="utf-8")
    assert words_of(PICTURE.read_text(encoding="utf-8")) == words_of(picture)
