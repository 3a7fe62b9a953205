"""A small GitOps repository: rings of models and targets, bare, and clones of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from engines.config.workspace import Workspace
from release.records import Publication, publication_path
from release.rollout.release_yaml import dump, release_file, values_of

BEGUN = datetime.now(timezone.utc) - timedelta(days=300)
"""So that it never lies a year back, when a branch without commits since refuses promotions."""
RINGS = ("canary", "pilot", "production")
RINGS_YAML = "schema: 1\nrings:\n" + "".join(f"  - name: {ring}\n" for ring in RINGS)


def day(number: int) -> str:
    """Of the life of a repository, as `2026-01-01`; it begins on day 0."""
    return f"{BEGUN + timedelta(days=number):%Y-%m-%d}"


def environment(name: str = "Ada", at: str | None = None) -> dict[str, str]:
    """git's, for somebody of that name, without this machine's configuration."""
    dates = {f"GIT_{who}_DATE": at for who in ("AUTHOR", "COMMITTER") if at}
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_NAME": name for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": f"{name.lower()}@example.com" for who in ("AUTHOR", "COMMITTER")},
        **dates,
    }


def git(folder: Path, *arguments: str, name: str = "Ada", at: str | None = None) -> str:
    """What git prints; it must succeed."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment(name, at),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True, kw_only=True)
class GitOpsRepository:
    """A bare repository, and the clone of whoever set it up."""

    bare: Path
    root: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(root=self.root)

    def clone(self, folder: Path, *options: str) -> Workspace:
        """Another clone."""
        address = self.bare.as_uri() if options else str(self.bare)
        git(folder.parent, "clone", "--quiet", *options, address, str(folder))
        return Workspace(root=folder)

    def at(self, path: str, branch: str = "main") -> str:
        """What a file holds on the branch."""
        return git(self.bare, "show", f"{branch}:{path}")

    def subjects(self, branch: str = "main") -> list[str]:
        """Of all commits, the latest first."""
        return git(self.bare, "log", "--format=%s", branch).splitlines()

    def push(self, message: str, *, name: str = "Ada", at: str | None = None) -> None:
        """Commit all that lies in the clone and push it."""
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", f"--message={message}", name=name, at=at)
        git(self.root, "push", "--quiet", "origin", "HEAD:main")

    def put(self, publication: Publication, ring: str) -> None:
        """Let a ring of the clone run a release; nothing is committed."""
        path = release_file(self.workspace, publication.model, publication.target, ring)
        path.write_text(dump(values_of(publication)))


def make_repository(
    folder: Path,
    publications: Iterable[Publication],
    *,
    rings: str = RINGS_YAML,
    begun: str | None = None,
) -> GitOpsRepository:
    """Rings for the model and target of each publication, with it in the canary."""
    bare, root = folder / "gitops.git", folder / "clone"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git(folder, "clone", "--quiet", str(bare), str(root))
    repository = GitOpsRepository(bare=bare, root=root)
    workspace = repository.workspace
    (root / "models").mkdir()
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".gitignore").write_text(".jetrail-*\n/mlflow.db\n/mlartifacts\n")
    (root / "models" / "README").write_text("Models.\n")
    (root / "release").mkdir()
    workspace.rings_file.write_text(rings)
    for one in publications:
        one.write(publication_path(workspace, one.release))
        for ring in RINGS:
            place = workspace.ring(one.model, one.target, ring)
            place.mkdir(parents=True, exist_ok=True)
            (place / "fleet.yaml").write_text("helm: {valuesFiles: [release.yaml]}  # ours\n")
        repository.put(one, "canary")
    repository.push("Start", at=f"{begun or day(0)}T10:00:00Z")
    return repository
