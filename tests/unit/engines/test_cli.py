"""What a command says when it ends with an error."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from engines.cli import app, reports_errors
from engines.errors import GateInvalid, InputError, JetrailError


def said(
    capsys: pytest.CaptureFixture[str], sentence: str, kind: type[JetrailError] = InputError
) -> str:
    @reports_errors
    def command() -> None:
        raise kind(sentence)

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == kind.exit_code
    return capsys.readouterr().err


@pytest.mark.usefixtures("hang_up_counts")
@pytest.mark.parametrize(
    ("number", "ends"),
    [
        (signal.SIGINT, KeyboardInterrupt),
        (signal.SIGTERM, SystemExit),
        (signal.SIGHUP, SystemExit),
    ],
)
def test_what_a_library_makes_of_a_signal_is_no_error(
    number: signal.Signals, ends: type[BaseException]
) -> None:
    """As OpenVINO does, when it comes while the module is imported."""

    @reports_errors
    def command() -> None:
        try:
            signal.raise_signal(number)
        except BaseException as error:
            raise ImportError("initialization failed") from error

    with pytest.raises(ends) as ended:
        command()
    assert ends is KeyboardInterrupt or ended.value.args == (128 + number,)


@pytest.mark.usefixtures("hang_up_counts")
def test_a_closed_terminal_disturbs_no_cleaning_up() -> None:
    """The kernel sends SIGHUP, and the shell that gets it too sends it once more."""
    done = []

    @reports_errors
    def command() -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)
            done.append("cleaned up")

    with pytest.raises(SystemExit):
        command()
    assert done == ["cleaned up"]


@pytest.mark.parametrize("words", [["draw", ""], ["draw", "here", "--out", ""], [""]])
def test_an_empty_word_is_refused(words: list[str]) -> None:
    """`draw "$PICTURES"` with the variable not set would draw what is below the current folder."""
    commands = app("Draws.")

    @commands.command()
    def draw(source: Path, out: Path = Path("out")) -> None:
        raise AssertionError(f"{source} was drawn into {out}")

    done = CliRunner().invoke(commands, words)
    assert done.exit_code == 2
    assert f"word {len(words)} of {len(words)} is empty" in done.stderr


def test_a_name_of_thousands_of_letters_is_told_in_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "a" * 4000 + "z" * 1000
    assert said(capsys, f"Expected a ring, got {name!r}. Name another.") == (
        f"error: Expected a ring, got '{'a' * 99}…{'z' * 58}'. (5003 characters) Name another.\n"
    )


def test_a_long_tag_path_or_sentence_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    words = f"Expected /{'deep/' * 90}v1.0-x86@sha256:{'0' * 64}. " + "Many words. " * 500
    assert said(capsys, words) == f"error: {words}\n"


def test_a_command_ends_without_a_last_search_for_garbage() -> None:
    """Which would go through all that was imported."""
    code = """
import gc
from engines.cli import app
class Noted:
    def __del__(self):
        print("searched")
gc.disable()
app("Draws.")
one = Noted()
one.itself = one
del one
print("through")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "through\n"


def test_what_would_move_the_cursor_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J\x07é\u202egpj.\x9b1m"
    assert said(capsys, f"Expected a ring, got {name}.\n  git add\tit", GateInvalid) == (
        "error: Expected a ring, got \\x1b[2J\\x07é\\u202egpj.\\x9b1m.\n  git add\tit\n"
    )


def test_a_line_end_in_a_name_ends_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Else what follows it, in a name that somebody else gave, reads as if we had said it."""
    told = said(capsys, "Expected a picture at a\nerror: b.jpg, got nothing.")
    assert told == "error: Expected a picture at a\\nerror: b.jpg, got nothing.\n"


def test_a_panic_of_a_library_in_rust_is_an_error_like_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    panic = type("PanicException", (BaseException,), {})

    @reports_errors
    def command() -> None:
        raise panic("failed to spawn thread: Resource temporarily unavailable")

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 2
    assert "`ulimit -u`" in capsys.readouterr().err


BACK = "Expected params.yaml. Bring it back with `git checkout -- params.yaml`."


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "models" / "meter").mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    return tmp_path


@pytest.mark.parametrize(
    "sentence",
    [
        BACK,
        "Measure again:\n  rm benchmark.json\n  dvc repro",
        "Run `dvc add x`.",
        "Install it with `pip install --constraint constraints.txt --editable '.[device]'`.",
    ],
)
def test_commands_of_others_are_told_with_where_to_run_them(
    clone: Path, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """git and DVC read paths from where they are run."""
    monkeypatch.chdir(clone / "models" / "meter")
    there = f"The commands are to be run in {clone}."
    assert said(capsys, sentence, GateInvalid) == f"error: {sentence}\n{there}\n"
    monkeypatch.setattr("engines.cli.end_with_dvc", lambda: None)  # there is no DVC to end with
    monkeypatch.setenv("DVC_STAGE", "gate")  # where people are who run DVC, nobody knows
    assert said(capsys, sentence, GateInvalid) == f"error: {sentence}\n"


def test_where_to_run_commands_is_said_only_where_it_matters(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    assert said(capsys, BACK) == f"error: {BACK}\n"
    monkeypatch.chdir(clone / "models")
    ours = "Expected a release. Run `pipeline list`."
    assert said(capsys, ours) == f"error: {ours}\n"
    monkeypatch.chdir("/")
    assert said(capsys, BACK) == f"error: {BACK}\n"
