"""Folder and checksums of data set files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsweep.trainables.data import CorruptDataError, DataError, MissingDataError, data_root
from sparsweep.trainables.data.paths import check_md5


def test_an_argument_precedes_the_environment_variable_and_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SPARSWEEP_DATA", raising=False)
    assert data_root() == tmp_path / ".cache" / "sparsweep" / "data"
    monkeypatch.setenv("SPARSWEEP_DATA", "~/elsewhere")
    assert data_root() == tmp_path / "elsewhere"
    assert data_root("/given") == Path("/given") and data_root("~/given") == tmp_path / "given"


def test_checksums_by_hand(tmp_path: Path) -> None:
    """The MD5 of "abc" is in RFC 1321, A.5."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    check_md5(path, "900150983cd24fb0d6963f7d28e17f72", "get it")
    path.write_bytes(b"abd")
    with pytest.raises(CorruptDataError, match=r"file is damaged: its MD5 is \w{32}, not 9001.*; get it$"):
        check_md5(path, "900150983cd24fb0d6963f7d28e17f72", "get it")
    path.unlink()
    with pytest.raises(MissingDataError, match=r"file is missing; get it$"):
        check_md5(path, "900150983cd24fb0d6963f7d28e17f72", "get it")
    assert issubclass(CorruptDataError, DataError) and issubclass(MissingDataError, DataError | FileNotFoundError)
