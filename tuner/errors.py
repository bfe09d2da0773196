"""Usage errors and their text: one line with the field, the value and the fix."""

from __future__ import annotations

import shlex
import textwrap

DEFAULT_STORAGE = "./runs"


class UsageError(Exception):
    """Error in a command's arguments. The message is one line with the field, the value and the choices."""


def short_message(error: BaseException) -> str:
    """Return the message of an error in one line of at most 300 characters."""
    return textwrap.shorten(str(error).rstrip(" .\n"), 300, placeholder=" ...")


def format_table_version_error(error: BaseException) -> str:
    """Return the message of a TableVersionError, or an empty string for any other error."""
    from sparsweep.trainables.storage.tables import TableVersionError

    return str(error) if isinstance(error, TableVersionError) else ""


def storage_option(storage: str) -> str:
    """Return the ``--storage`` option for a command line that users copy, or an empty string for the default."""
    return "" if storage == DEFAULT_STORAGE else f" --storage {shlex.quote(storage)}"
