"""Output of the command: results to stdout, messages to stderr, without terminal control characters.

If the reader is gone (closed terminal, broken pipe), further output is discarded and the command continues. A full
disk is an error, because the user wants the output in a file.
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
    """Print a result to stdout.

    Raises:
        OSError: Writing failed for another reason than a missing reader.
    """
    try:
        print(_encodable(printable(text), sys.stdout), flush=True)
    except OSError as error:
        _silence(sys.stdout)
        if error.errno not in READER_GONE:
            raise OSError(error.errno, error.strerror, "standard output") from None


def print_message(text: str) -> None:
    """Print a progress message or an error to stderr."""
    print(_encodable(printable(text), sys.stderr), file=sys.stderr, flush=True)


MAX_CHARACTERS = 1500
"""Maximum length of a message, because user input in it may have any length."""


def shortened(text: str) -> str:
    """Return ``text`` without its middle part if it is too long: messages start with the field and end with the fix."""
    half = MAX_CHARACTERS // 2
    return text if len(text) <= MAX_CHARACTERS else f"{text[:half]} ... {text[-half:]}"


def printable(text: str) -> str:
    """Return ``text`` without control characters, except newlines and tabs.

    Anyone with write access to a storage controls its errors, logs and file names. An escape sequence could change the
    screen, the title or the clipboard. A text direction character could hide text.
    """
    return "".join(char for char in text if char in "\n\t" or not unicodedata.category(char).startswith("C"))


def _encodable(text: str, stream: TextIO | None) -> str:
    """Return ``text`` with escapes for characters that the encoding of ``stream`` lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def lasting_messages() -> Iterator[None]:
    """Discard writes to stderr inside the context if its reader is gone, for all code in this process."""
    with contextlib.ExitStack() as stack:
        stream = sys.stderr or stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stderr(cast(TextIO, _Lasting(stream))))
        yield
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except OSError:  # already reported; Python would report it again at exit
                _silence(sys.stdout)


class _Lasting:
    """Text stream that discards all output after its first failed write."""

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
    """Redirect ``stream`` and its buffer to the null device, because Python would fail on the buffer at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    stream.flush()
