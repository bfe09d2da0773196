"""The command that runs a sweep, as a child process of the calling program.

Ray and its workers belong to the child. A notebook therefore keeps no Ray state, and the loss of Ray cannot end it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from tqdm import tqdm

from sparsweep.tuner.errors import UsageError

COMMAND = (sys.executable, "-m", "sparsweep.tuner.cli.app")
SECONDS = 2.0
"""Minimum interval between two updates of the progress bar, in seconds."""
SHARE = 10
"""An update that takes long is repeated after at least this multiple of its duration."""
Report = Callable[[], dict[str, Any]]
"""Function that returns the status of the sweep."""


def run_command(arguments: Sequence[str], name: str, report: Report | None) -> int:
    """Run the command in a child process and wait for its end.

    Args:
        arguments: Arguments of the command.
        name: Name of the sweep, for the progress bar.
        report: Returns the status of the sweep for the progress bar. None: no bar.

    Returns:
        Exit code of the command: 0, or 1 if trials are missing.

    Raises:
        UsageError: The command ended with an error. The message is its line.
        KeyboardInterrupt: The user interrupted the call. The command has then stopped in order.
    """
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C in a terminal would reach the child twice
    )
    lines: list[str] = []
    reader = threading.Thread(target=_print_lines, args=(process.stdout, lines), daemon=True)
    reader.start()
    with _stopped_with_caller(process):
        if report is None:
            process.wait()
        else:
            _show_progress(process, name, report)
    reader.join()
    if process.returncode not in (0, 1):
        raise UsageError(_error_in(lines) or f"sparsweep ended with exit code {process.returncode}")
    return process.returncode


def _print_lines(stream: IO[str], lines: list[str]) -> None:
    """Print the lines of ``stream`` and append them to ``lines``."""
    for line in stream:
        lines.append(line.rstrip("\n"))
        if not line.startswith("sparsweep: "):  # the error, which the caller gets as an exception
            tqdm.write(lines[-1])


def _error_in(lines: Sequence[str]) -> str:
    """Return the last error line of the command without its prefix."""
    errors = [line.removeprefix("sparsweep: ") for line in lines if line.startswith("sparsweep: ")]
    return errors[-1] if errors else (lines[-1] if lines else "")


@contextlib.contextmanager
def _stopped_with_caller(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop ``process`` in order if the enclosed code is interrupted or fails. A second interrupt stops it at once."""
    try:
        yield
    except BaseException:
        for signum in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
            process.send_signal(signum)
            try:
                process.wait()
                break
            except KeyboardInterrupt:
                continue
        raise


def _show_progress(process: subprocess.Popen[str], name: str, report: Report) -> None:
    """Update a progress bar until ``process`` ends."""
    with tqdm(desc=name, unit="trial") as bar:
        ended = False
        while not ended:
            interval = _update(bar, report)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(interval)
                ended = True
        _update(bar, report)


def _update(bar: Any, report: Report) -> float:
    """Show the current status. Return the seconds until the next update."""
    start = time.monotonic()
    with contextlib.suppress(OSError):  # a storage that cannot be reached for a moment; the command itself reports it
        facts = report()
        bar.total, bar.n = facts["trials"], facts["done"]
        others = {key: facts[key] for key in ("running", "failed", "blocked") if facts[key]}
        bar.set_postfix(others, refresh=True)
    return max(SECONDS, SHARE * (time.monotonic() - start))
