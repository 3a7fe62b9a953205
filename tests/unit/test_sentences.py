"""What the sentences of this project name as commands: each is there, and works as it is copied."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

import pipeline.cli
import release.cli
import runtime.cli

ROOT = Path(__file__).parents[2]
PACKAGES = ("engines", "pipeline", "release", "runtime")
APPS = {
    "pipeline": pipeline.cli.commands,
    "release": release.cli.commands,
    "runtime": runtime.cli.commands,
}

OURS = re.compile(r"(\bRun |\brun |\bwith |\bby )?`((?:pipeline|release|runtime) [^`]+)`")
"""A command of ours, and the word that tells its reader to run it as it stands."""


def sentences() -> Iterator[tuple[str, str]]:
    """Every text of the code but docstrings, with its place; `X` stands for what is filled in."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in told:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text(node)


def text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text(value) for value in node.values)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "X"


def named() -> list[tuple[str, bool, str]]:
    """Place, whether it is to be run as it stands, and the command."""
    found = {
        (place, bool(ask), command)
        for place, sentence in sentences()
        for ask, command in OURS.findall(" ".join(sentence.split()))
        if command.rpartition("pipeline")[2][:2] != " X"  # `pipeline {step} …`
    }
    return sorted(found)


def problem(words: list[str], *, whole: bool) -> str | None:
    """What would be wrong with a command, were it run."""
    command: object = typer.main.get_command(APPS[words[0]])
    rest = words[1:]
    while hasattr(command, "commands") and rest:
        if rest[0] not in command.commands:
            return f"there is no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    assert isinstance(command, click.Command)
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given, arguments = {"--help"}, 0
    while rest:
        name, _, value = rest.pop(0).partition("=")
        if not name.startswith("-"):
            arguments += 1
        elif name not in options and name != "--help":
            return f"it has no option {name}"
        else:
            given.add(name)
            if name in options and not getattr(options[name], "is_flag", False) and not value:
                rest = rest[1:]
    if not whole:
        return None
    needed = [one for one in command.params if one.required]
    lacking = [one.opts[0] for one in needed if one.opts[0].startswith("-")]
    if lacking and len(words) == 2:
        return None  # a name: nobody but its reader knows what to give it
    if sum(not one.opts[0].startswith("-") for one in needed) > arguments:
        return "it lacks an argument"
    return next((f"it lacks {one}" for one in lacking if one not in given), None)


def test_there_are_commands_in_sentences() -> None:
    assert len(named()) > 100


@pytest.mark.parametrize(("place", "whole", "command"), named())
def test_a_command_in_a_sentence_is_one(place: str, whole: bool, command: str) -> None:
    """A name by itself, as in "`release lint` shows all", needs no arguments."""
    words = shlex.split(command.replace(" …", ""))
    found = problem(words, whole=whole or len(words) > 2)
    assert found is None, f"{place}: `{command}`: {found}"
