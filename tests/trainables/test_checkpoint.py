"""Tensors in storage: what goes in comes out, what was altered is found, nothing is run."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from sparsweep.trainables.storage.tensor_file import TENSOR_MAGIC, CorruptFileError, dumps, loads

VALUE = {
    "epoch": 3,
    "model": {"w": torch.tensor([[1.5, -0.0]]), "count": torch.tensor(7)},
    "masks": {"w": torch.tensor([[True, False]])},
    "history": [{"epoch": 1, "lr": 0.1, "test_accuracy": None}],
}


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def sealed(body: bytes) -> bytes:
    """``body`` with the heading and the right checksum, as somebody who knows the format would write it."""
    return b"%s %s\n%s" % (TENSOR_MAGIC, hashlib.sha256(body).hexdigest().encode(), body)


def hostile(path: Path) -> dict[str, bytes]:
    zipped = io.BytesIO()
    torch.save({"model": Touch(path)}, zipped)
    plain = pickle.dumps({"model": Touch(path)})
    return {"pickle": plain, "sealed pickle": sealed(plain), "sealed file of torch": sealed(zipped.getvalue())}


KINDS = ["pickle", "sealed pickle", "sealed file of torch"]


def test_what_goes_in_comes_out() -> None:
    found = loads(dumps(VALUE))
    assert found.keys() == VALUE.keys()
    assert (found["epoch"], found["history"]) == (3, VALUE["history"])
    assert found["model"]["w"].numpy().tobytes() == VALUE["model"]["w"].numpy().tobytes()  # type: ignore[index]
    assert found["masks"]["w"].tolist() == [[True, False]] and found["masks"]["w"].dtype == torch.bool


def test_a_cut_anywhere_is_found() -> None:
    content = dumps(VALUE)
    for length in [
        0,
        1,
        len(TENSOR_MAGIC),
        len(TENSOR_MAGIC) + 65,
        len(TENSOR_MAGIC) + 66,
        *range(100, len(content), 97),
        len(content) - 1,
    ]:
        with pytest.raises(CorruptFileError):
            loads(content[:length])


def test_a_flipped_bit_anywhere_is_found() -> None:
    content = dumps(VALUE)
    for place in [*range(100), *range(100, len(content), 41)]:
        altered = bytearray(content)
        altered[place] ^= 1
        with pytest.raises(CorruptFileError):
            loads(bytes(altered))


def test_another_format_is_found() -> None:
    with pytest.raises(CorruptFileError, match="not a tensor file of this version"):
        loads(dumps(VALUE).replace(TENSOR_MAGIC, b"sparsweep-tensors-3", 1))


def test_the_planted_pickles_would_run(tmp_path: Path) -> None:
    """So that the tests below can fail."""
    pickle.loads(pickle.dumps(Touch(tmp_path / "run")))
    assert (tmp_path / "run").exists()
    body = hostile(tmp_path / "again")["sealed file of torch"].split(b"\n", 1)[1]
    torch.load(io.BytesIO(body), weights_only=False)
    assert (tmp_path / "again").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_runs_nothing(kind: str, tmp_path: Path) -> None:
    content = hostile(tmp_path / "run")[kind]
    with pytest.raises((CorruptFileError, pickle.UnpicklingError)):
        loads(content)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_a_damaged_file(kind: str, tmp_path: Path) -> None:
    """One clear error, whatever is wrong with the bytes: who calls this knows what to do with a damaged file."""
    with pytest.raises(CorruptFileError):
        loads(hostile(tmp_path / "run")[kind])


def test_bytes_that_are_no_file_of_torch_are_a_damaged_file() -> None:
    with pytest.raises(CorruptFileError):
        loads(sealed(b"nothing that torch wrote"))
