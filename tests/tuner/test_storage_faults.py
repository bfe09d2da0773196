"""Full, read-only or invalid storages: every command prints one line and exits with code 1 or 2."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sparsweep.trainables.storage import addresses, files
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.config.sweep import parse_sweep
from support.fake_results import write_results

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
grids: [{sparsifier: dense, seed: [0, 1]}, {sparsifier: snip, sparsity: 0.5, seed: [0, 1]}]
"""
WRITING_COMMANDS = [
    "run mine.yaml",
    "resume mine",
    "calibrate mine.yaml",
    "figures mine",
    "report mine",
    "gc --yes",
    "compact",
]
READING_COMMANDS = [
    "status",
    "status mine",
    "plan mine.yaml",
    "claims mine",
    "gc",
    "study mine",
    "show {trial}",
    "logs {trial}",
    "export {trial}",
]

Call = Callable[[str], str]


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    store = Store(str(tmp_path / "runs"))
    sweep = parse_sweep(SWEEP, "mine")
    write_results(store, sweep)
    store.write(f"checkpoints/{'0' * 16}.pt", b"garbage")
    return tmp_path / "runs"


@pytest.fixture
def error_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run a command that fails. Return its single line of standard error."""
    (tmp_path / "mine.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)

    def call(command: str) -> str:
        monkeypatch.setattr(sys, "argv", ["sparsweep", *command.split()])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        lines = capfd.readouterr().err.splitlines()
        assert exit_info.value.code in (1, 2) and len(lines) == 1, lines
        return lines[0]

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("command", WRITING_COMMANDS)
def test_storage_that_cannot_be_written_prints_the_reason(
    storage: Path, error_line: Call, monkeypatch: pytest.MonkeyPatch, command: str, number: int
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(files, "atomic_write", refuse)
    monkeypatch.setattr(Store, "delete", refuse)
    monkeypatch.setattr(pq, "write_table", refuse)
    assert os.strerror(number) in error_line(command)


ADDRESSES = {
    "s3:/bucket/runs": "a slash is missing after s3:/ (got 's3:/bucket/runs'). Addresses start with s3:// or gs://.",
    "abfs://c@a/x": "unknown scheme abfs:// (got 'abfs://c@a/x'). Give a folder, or an s3:// or gs:// address.",
    "http://host/x": "unknown scheme http:// (got 'http://host/x'). Give a folder, or an s3:// or gs:// address.",
    "~nobodyhere/runs": "the home folder is unknown (got '~nobodyhere/runs'). Write the full path.",
}


@pytest.mark.parametrize("command", ["run mine.yaml", "status", "plan mine.yaml", "figures mine", "gc", "export 0"])
@pytest.mark.parametrize(("address", "reason"), ADDRESSES.items())
def test_invalid_storage_address_prints_the_reason(error_line: Call, command: str, address: str, reason: str) -> None:
    assert error_line(f"{command} --storage {address}") == f"sparsweep: --storage {shlex.quote(address)}: {reason}"


@pytest.mark.parametrize("command", ["status mine", "gc", "compact", "show 0"])
def test_unreachable_bucket_is_given_up_after_one_request(
    error_line: Call, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Only one request is sent. Google's library retries it for seconds instead of a quarter of an hour."""
    requests = []

    class UnreachableFilesystem:
        def get_file_info(self, path: str) -> None:
            requests.append(path)
            raise OSError("google::cloud::Status(UNAVAILABLE: no token " + 100 * "and no reason " + ")")

    opened = []
    monkeypatch.setattr(
        addresses, "resolve_storage", lambda storage: (opened.append(storage), (UnreachableFilesystem(), "b/runs"))[1]
    )
    line = error_line(f"{command} --storage gs://b/runs")
    assert line.startswith("sparsweep: --storage gs://b/runs: unreachable: google::cloud::Status(UNAVAILABLE")
    assert line.endswith(" .... Check the address, the network and the credentials.") and len(line) < 500
    assert requests == ["b/runs"] and opened[-1] == "gs://b/runs?retry_limit_seconds=5"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("gs://b/x?scheme=http", "gs://b/x?scheme=http&retry_limit_seconds=5"),
        ("gs://b/x?retry_limit_seconds=60", "gs://b/x?retry_limit_seconds=60"),
        ("s3://b/x", "s3://b/x"),
        ("folder", "folder"),
    ],
)
def test_retry_limit_is_added_only_to_google_addresses(address: str, expected: str) -> None:
    assert addresses.with_short_retries(address) == expected


@pytest.mark.parametrize("command", [*WRITING_COMMANDS, *READING_COMMANDS])
def test_storage_that_is_a_file_prints_one_line(error_line: Call, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").touch()
    line = error_line(f"{command.format(trial='0' * 16)} --storage file")
    assert line == "sparsweep: --storage file: not a folder. Give a folder, or an s3:// or gs:// address."
