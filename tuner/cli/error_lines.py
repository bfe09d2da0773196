"""What ends a command, in one line: what it was, on which value, what to do. The one place that makes it of errors.

Errors of the user are raised as :class:`tuner.errors.UsageError`, whose text is that line. All others end up here:
those of libraries, of plugins and of this package. ``--debug`` prints the traceback as well.
"""

from __future__ import annotations

import errno
import logging
import sys
import threading
import traceback
from typing import Any

import typer
from typer.exceptions import TyperException

from sparsweep.tuner.errors import UsageError, format_table_version_error, short_message
from sparsweep.tuner.terminal import print_message, shortened

REMEDIES = {
    errno.ENOSPC: "Free some space.",
    errno.EDQUOT: "Free some of your quota.",
    errno.EROFS: "It must be writable.",
    errno.EACCES: "Check its permissions.",
    errno.EPERM: "Check its permissions.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
}
REPORT = "--debug shows where it happened."


def exit_code_and_line(error: BaseException) -> tuple[int, str]:
    """Return the exit code for what ended a command, and the line to print, empty if there is nothing to say."""
    if isinstance(error, (typer.Abort, KeyboardInterrupt)):  # before a sweep began
        return 130, ""
    if isinstance(error, UsageError):
        return 2, str(error)
    if isinstance(error, TyperException):  # no text where the help was all there was to say
        return 2, error.format_message().replace("Value error, ", "")
    if isinstance(error, SystemExit) and _raised_in(error) in {"typer", "rich"}:  # completion; a reader that is gone
        return (error.code if isinstance(error.code, int) else 0), ""
    if isinstance(error, SystemExit):  # commands end by typer.Exit
        return 2, f"sys.exit({error.code!r}) was called{_where(error)}, before the command had ended"
    if isinstance(error, OSError):
        return 2, f"cannot read or write: {error}. {REMEDIES.get(error.errno or 0, '')}".removesuffix(". ")
    if isinstance(error, MemoryError):
        return 2, f"out of memory{_where(error)}. Free some, or take a machine with more."
    if type(error).__module__.startswith("ray."):
        return 2, f"Ray failed: {_in_words(error)}. What is finished is kept; sparsweep resume goes on. {REPORT}"
    return 2, format_table_version_error(error) or f"unexpected {_in_words(error)}{_where(error)}. {REPORT}"


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {short_message(error)}".rstrip(": ")


def _raised_in(error: BaseException) -> str:
    """Return the top-level module that raised ``error``, empty if it was not raised."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return modules[-1].partition(".")[0] if modules else ""


def _where(error: BaseException) -> str:
    """Return the file and line that raised ``error``."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


class OneLineFormatter(logging.Formatter):
    """Log records for a terminal: the message, and of an error its class and text instead of its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        words = [record.getMessage(), *([_in_words(error)] if error else [])]
        return shortened(" ".join(": ".join(words).split()))


def print_errors_as_lines() -> None:
    """Let no traceback be printed by what is logged, by what ends another thread, or by a finalizer."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(handlers=[handler])

    def thread_ended(ended: Any) -> None:
        if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
            print_message(f"sparsweep: {exit_code_and_line(ended.exc_value)[1]}")

    threading.excepthook = thread_ended
    sys.unraisablehook = lambda ended: None
