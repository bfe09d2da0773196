"""Errors of users, and their text: one line that names the field, the value and the remedy."""

from __future__ import annotations

import shlex
import textwrap

DEFAULT_STORAGE = "./runs"


class UsageError(Exception):
    """The call cannot be carried out as given: one line that names the field, the value and the choices."""


def short_message(error: BaseException) -> str:
    """Return what an error says in one line of 300 characters at most."""
    return textwrap.shorten(str(error).rstrip(" .\n"), 300, placeholder=" ...")


def format_table_version_error(error: BaseException) -> str:
    """Return what an error says of tables of a later version, empty for any other error."""
    from sparsweep.trainables.storage.tables import TableVersionError

    return str(error) if isinstance(error, TableVersionError) else ""


def storage_option(storage: str) -> str:
    """Return the option that names ``storage`` in a command to copy, empty for the default."""
    return "" if storage == DEFAULT_STORAGE else f" --storage {shlex.quote(storage)}"
