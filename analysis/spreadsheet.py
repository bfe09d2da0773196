"""CSV in which a spreadsheet evaluates nothing."""

from __future__ import annotations

import re

import pandas as pd

FORMULA = re.compile(r"[=+\-@\t\r\n]")
"""First characters of a text that a spreadsheet evaluates. Names of methods, sweeps and files come from others."""


def to_csv(table: pd.DataFrame) -> bytes:
    """Return ``table`` as CSV in UTF-8, without its index.

    A text that a spreadsheet would evaluate gets an apostrophe in front. Numbers are not changed, not even as text.
    """
    texts = table.select_dtypes(exclude="number")
    return table.assign(**texts.map(_inert)).to_csv(index=False, lineterminator="\n").encode()


def _inert(cell: object) -> object:
    if not isinstance(cell, str) or _is_number(cell):
        return cell
    apostrophe = "'" if FORMULA.match(cell) else ""
    return apostrophe + cell.replace("\r", "\n")  # a bare one would stand unquoted, and begin a row


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
