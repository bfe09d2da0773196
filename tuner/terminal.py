"""Output of the command: results on standard output, messages on standard error, nothing that steers the terminal."""

from __future__ import annotations

import sys
import unicodedata


def say(text: str) -> None:
    """Print lines of a result to standard output."""
    print(printable(text), flush=True)


def tell(text: str) -> None:
    """Print a progress message or an error to standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return ``text`` without control characters, except line ends and tabs.

    Errors, logs and names of files come from whoever can write to a storage. An escape sequence among them could
    rewrite the screen, the title or the clipboard; a character that turns the direction of writing hides text.
    """
    return "".join(sign for sign in text if sign in "\n\t" or not unicodedata.category(sign).startswith("C"))
