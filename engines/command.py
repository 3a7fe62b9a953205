"""What the commands `pipeline` and `release` share: an app that starts fast, and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

from engines.errors import InputError, JetrailError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def app(help_text: str) -> typer.Typer:
    """A Typer app without Rich help, whose import would double the time of `--help`."""
    return typer.Typer(
        help=help_text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )


def reports_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Turn a JetrailError into its sentence on stderr and its exit code."""

    @wraps(command)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except JetrailError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
            print(
                f"error: Expected to be able to use {error.filename}, but the system says: "
                f"{error.strerror}. Mend its kind, owner or permissions and run again.",
                file=sys.stderr,
            )
            raise typer.Exit(InputError.exit_code) from error

    return wrapper
