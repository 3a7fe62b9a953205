"""What all commands share: an app that starts fast, and exit codes."""

from __future__ import annotations

import atexit
import codecs
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer
from typer.core import TyperGroup

from engines import streams
from engines.errors import OTHERS_COMMAND, InputError, JetrailError
from engines.process.limited import give_back, run_in_a_fork, will_end_with
from engines.process.stage import end_with_dvc, same_code
from engines.surroundings import in_a_sentence

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_PANIC = "PanicException"
"""What libraries in Rust raise, which is no Exception (pyo3)."""

_LONG = re.compile(r"\S{1000,}")
"""Longer than any tag, digest or address; a path may be this long, and is known by its ends."""


def app(help_text: str) -> typer.Typer:
    """A Typer app without Rich help, whose import would double the time of `--help`.

    The process that makes it ends without a last search for garbage, which goes through all that
    was imported: as long as a quarter of the import of PyTorch.
    """
    atexit.register(gc.freeze)
    made = typer.Typer(
        cls=_Commands,
        help=help_text,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @made.callback(help=help_text)
    def options(
        version: bool = typer.Option(
            False,
            "--version",
            "-V",
            help="Say the version and end.",
            callback=_say_version,
            is_eager=True,
        ),
    ) -> None:
        """What stands before a command."""

    return made


class _Commands(TyperGroup):
    """Refuses empty words: an empty path would mean the current folder, and all that is in it. And
    says where help, or what is wrong with the words, cannot be written."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        streams.prepare()
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                _flush()
        except OSError as error:
            sentence = in_a_sentence(error, "")
            if sentence is None:
                raise
            sys.exit(_said(sentence, InputError.exit_code).exit_code)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if "" in args:
            # None of the words is shown: an address may hold a password.
            raise _said(
                "Expected words that say something, but word "
                f"{args.index('') + 1} of {len(args)} is empty. Set the shell's variable that it "
                "came from, or leave it out.",
                InputError.exit_code,
            )
        return super().parse_args(ctx, args)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"jetrail {version('jetrail')}")
        raise typer.Exit


def reports_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Turn a JetrailError into its sentence on stderr and its exit code, and SIGTERM into an end
    that cleans up; as a stage's command, end with DVC."""

    @wraps(command)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        _in_utf8()
        streams.prepare()
        came: list[int] = []
        try:
            if (status := run_in_a_fork()) is not None:
                raise typer.Exit(status)
            with _ended_by_sigterm(came), _noting_ctrl_c(came):
                end_with_dvc()
                with same_code():
                    result = command(*args, **kwargs)
                _flush()
                will_end_with(0)
                return result
        except (typer.Exit, typer.Abort) as end:
            will_end_with(end.exit_code if isinstance(end, typer.Exit) else 1)
            raise
        except JetrailError as error:
            raise _said(str(error), error.exit_code) from error
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
                raise
            if came:  # what a library made of a signal is no error of ours
                raise _end_of(came[0]) from error
            give_back()
            sentence = in_a_sentence(error, command.__module__.partition(".")[0])
            if sentence is None:
                will_end_with(1)
                raise
            raise _said(sentence, InputError.exit_code) from error

    return wrapper


def _flush() -> None:
    """Write what is left of the output here, where a full disk can still be said."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _in_utf8() -> None:
    """Start this process anew where Python takes names of files for something else than UTF-8: an
    old locale, or PYTHONUTF8=0. What people call things would be other bytes then, or an error.
    Once: `python -I` looks at no variable, and `-X utf8=0` at nothing else."""
    if codecs.lookup(sys.getfilesystemencoding()).name == "utf-8" or sys.flags.utf8_mode:
        return
    if os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _said(sentence: str, code: int) -> typer.Exit:
    """The end of a command whose error was told; a name of thousands of letters is told in part.
    What is wrong with an input is one line, whatever its file is called; what else is told may show
    the lines of another program."""
    with suppress(OSError):  # where errors go to a full disk, the exit code still says which it is
        whole = streams.one_line if code == InputError.exit_code else streams.escaped
        shown = _LONG.sub(_in_part, whole(sentence) + streams.escaped(_from_where(sentence)))
        print(f"error: {shown}", file=sys.stderr, flush=True)
    will_end_with(code)
    return typer.Exit(code)


def _from_where(sentence: str) -> str:
    # Looked at before anything is imported: where memory lacks, an import ends the process.
    if not OTHERS_COMMAND.search(sentence):
        return ""
    from engines.config.workspace import where_to_run

    where = where_to_run(sentence)
    return f"\n{where}" if where else ""


def _in_part(found: re.Match[str]) -> str:
    word = found[0]
    return f"{word[:100]}…{word[-60:]} ({len(word)} characters)"


@contextmanager
def _ended_by_sigterm(came: list[int]) -> Iterator[None]:
    """SIGTERM, which a cancelled GitLab job gets, and SIGHUP of a terminal that is closed end the
    block as Ctrl-C does, and are noted in `came`: what it started is ended and temporary files go.
    By default Python would just vanish. Where SIGHUP is ignored, as under nohup, it stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return
    hang_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
    before = {number: signal.signal(number, _noting(came)) for number in (signal.SIGTERM, *hang_up)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _noting_ctrl_c(came: list[int]) -> Iterator[None]:
    """Note in `came` that Ctrl-C ended the block: libraries in C and Rust make errors of their own
    of it. Where SIGINT is ignored, as under nohup, it stays so."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return

    signal.signal(signal.SIGINT, _noting(came))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _noting(came: list[int]) -> Callable[[int, object], None]:
    def end(number: int, _: object) -> None:
        came.append(number)
        if number == signal.SIGHUP:  # a closed terminal's shell sends it again, while we clean up
            signal.signal(number, signal.SIG_IGN)
        raise _end_of(number)

    return end


def _end_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
