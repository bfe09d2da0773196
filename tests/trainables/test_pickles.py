"""Unpickler of byte arrays: files that it reads, and calls that it rejects without running them."""

from __future__ import annotations

import builtins
import codecs
import os
import pickle
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsweep.trainables.data import CorruptDataError
from sparsweep.trainables.data.safe_pickle import read_arrays
from support.tiny_datasets import python2_pickle

CONTENT = {"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [0, 1, 255], "name": "caf\xe9", "none": None}


def read(path: Path, content: bytes) -> Any:
    path.write_bytes(content)
    return read_arrays(path, "get another")


def test_python_2_pickles_are_read(tmp_path: Path) -> None:
    """Texts and keys stay bytes."""
    loaded = read(tmp_path / "file", python2_pickle(CONTENT))
    assert list(loaded) == [b"data", b"labels", b"name", b"none"]
    assert np.array_equal(loaded[b"data"], CONTENT["data"]) and loaded[b"data"].dtype == np.uint8
    assert (loaded[b"labels"], loaded[b"name"], loaded[b"none"]) == ([0, 1, 255], b"caf\xe9", None)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_python_3_pickles_are_read(protocol: int, tmp_path: Path) -> None:
    loaded = read(tmp_path / "file", pickle.dumps({b"data": CONTENT["data"], b"text": b"\x00\xff"}, protocol))
    assert np.array_equal(loaded[b"data"], CONTENT["data"]) and loaded[b"text"] == b"\x00\xff"


class Call:
    """Object whose pickle calls ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        Call(os.system, "touch done"),
        Call(subprocess.Popen, ["touch", "done"]),
        Call(builtins.eval, "open('done', 'w')"),
        Call(builtins.getattr, "text", "upper"),
        Call(builtins.open, "done", "w"),
        Call(np.save, "done", np.zeros(1)),
        Call(np.load, "done"),
        Call(pickle.loads, b"."),
        Call(codecs.decode, b"", "zlib"),
        Call(zlib.decompress, b""),
        Call(codecs.encode, "done", "rot13"),
    ],
    ids=lambda call: call.call[0].__name__,
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickled_calls_are_rejected_and_not_run(
    call: Call, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.listdir(tmp_path)
    content = pickle.dumps({"data": [call]}, protocol)
    with pytest.raises(
        CorruptDataError, match=r"^[^\n]*file is damaged: (it names \S+, which|bytes are)[^\n]*; get another$"
    ):
        read(tmp_path / "file", content)
    assert os.listdir(tmp_path) == [*before, "file"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"no pickle",
        python2_pickle(CONTENT)[:-30],
        pickle.dumps(CONTENT, 4)[:40],
        b"\x80\x02P1\n.",
        b"\x82\x01.",
    ],
    ids=["empty", "one byte", "text", "truncated", "truncated protocol 4", "persistent", "extension"],
)
def test_invalid_pickle_is_damaged(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match=r"file is damaged: [^\n]*; get another$"):
        read(tmp_path / "file", content)
