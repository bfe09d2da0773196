"""Conversion of errors into one line (problem, value, fix) and an exit code.

Usage errors are raised as :class:`~sparsweep.tuner.errors.UsageError`, whose text is already this line. This module
also formats all other errors: of libraries, of plug-ins and of sparsweep itself. ``--debug`` prints the traceback too.
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
    errno.ENOSPC: "Free disk space.",
    errno.EDQUOT: "Free disk quota.",
    errno.EROFS: "Choose a writable folder.",
    errno.EACCES: "Check its permissions.",
    errno.EPERM: "Check its permissions.",
    errno.EMFILE: "Increase the limit of open files (ulimit -n).",
}
REPORT = "See the traceback with --debug."


def exit_code_and_line(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error and the line to print. The line is empty if no message is needed."""
    if isinstance(error, (typer.Abort, KeyboardInterrupt)):  # before the start of a sweep
        return 130, ""
    if isinstance(error, UsageError):
        return 2, str(error)
    if isinstance(error, TyperException):  # empty text after printed help
        return 2, error.format_message().replace("Value error, ", "")
    if isinstance(error, SystemExit) and _raised_in(error) in {"typer", "rich"}:  # shell completion; closed pipe
        return (error.code if isinstance(error.code, int) else 0), ""
    if isinstance(error, SystemExit):  # commands raise typer.Exit, never SystemExit
        return 2, f"unexpected sys.exit({error.code!r}){_where(error)} before the end of the command"
    if isinstance(error, OSError):
        return 2, f"cannot read or write: {error}. {REMEDIES.get(error.errno or 0, '')}".removesuffix(". ")
    if isinstance(error, MemoryError):
        return 2, f"out of memory{_where(error)}. Free memory, or use a node with more memory."
    if type(error).__module__.startswith("ray."):
        return 2, f"Ray failed: {_format(error)}. Finished runs are kept. Continue: sparsweep resume. {REPORT}"
    return 2, format_table_version_error(error) or f"unexpected {_format(error)}{_where(error)}. {REPORT}"


def _format(error: BaseException) -> str:
    return f"{type(error).__name__}: {short_message(error)}".rstrip(": ")


def _raised_in(error: BaseException) -> str:
    """Return the top-level module that raised ``error``, or an empty string if it was never raised."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return modules[-1].partition(".")[0] if modules else ""


def _where(error: BaseException) -> str:
    """Return the file and line that raised ``error``."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


class OneLineFormatter(logging.Formatter):
    """Formatter for the terminal: the message, plus class and text of an error instead of its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        parts = [record.getMessage(), *([_format(error)] if error else [])]
        return shortened(" ".join(": ".join(parts).split()))


def print_errors_as_lines() -> None:
    """Suppress tracebacks of log records, of other threads and of finalizers."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(handlers=[handler])

    def thread_ended(ended: Any) -> None:
        if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
            print_message(f"sparsweep: {exit_code_and_line(ended.exc_value)[1]}")

    threading.excepthook = thread_ended
    sys.unraisablehook = lambda ended: None
