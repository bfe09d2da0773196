"""Output of the command: results on standard output, messages on standard error, nothing that steers the terminal.

A reader that goes away (a terminal that is closed, a pipe to a program that has ended) ends no command: what nobody can
read is dropped. A full disk is an error: somebody wants what cannot be kept.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO, cast

READER_GONE = (errno.EPIPE, errno.EIO, errno.ENXIO)


def print_result(text: str) -> None:
    """Print lines of a result to standard output.

    Raises:
        OSError: They cannot be written, for another reason than a reader that has gone away.
    """
    try:
        print(_encodable(printable(text), sys.stdout), flush=True)
    except OSError as error:
        _silence(sys.stdout)
        if error.errno not in READER_GONE:
            raise OSError(error.errno, error.strerror, "standard output") from None


def print_message(text: str) -> None:
    """Print a progress message or an error to standard error."""
    print(_encodable(printable(text), sys.stderr), file=sys.stderr, flush=True)


MAX_CHARACTERS = 1500
"""Of a message: what is called by mistake may be of any length."""


def shortened(text: str) -> str:
    """Return ``text``, cut in its middle where it is long: it begins with the place and ends with the remedy."""
    half = MAX_CHARACTERS // 2
    return text if len(text) <= MAX_CHARACTERS else f"{text[:half]} ... {text[-half:]}"


def printable(text: str) -> str:
    """Return ``text`` without control characters, except line ends and tabs.

    Errors, logs and names of files come from whoever can write to a storage. An escape sequence among them could
    rewrite the screen, the title or the clipboard; a character that turns the direction of writing hides text.
    """
    return "".join(sign for sign in text if sign in "\n\t" or not unicodedata.category(sign).startswith("C"))


def _encodable(text: str, stream: TextIO | None) -> str:
    """Return ``text`` with escapes for the characters that the encoding of ``stream`` does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def lasting_messages() -> Iterator[None]:
    """Let standard error outlive its reader, for everything in this process that writes to it meanwhile."""
    with contextlib.ExitStack() as stack:
        stream = sys.stderr or stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stderr(cast(TextIO, _Lasting(stream))))
        yield
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except OSError:  # said before, and Python would say it again at its end
                _silence(sys.stdout)


class _Lasting:
    """A text stream that is silent from the first write on that fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            _silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            _silence(self._stream)


def _silence(stream: TextIO) -> None:
    """Lead what is written to ``stream`` nowhere, what it still holds too: Python would fail on it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    stream.flush()
