"""Tensor files: values are read back unchanged, altered files are detected, and no code in a file is executed."""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from sparsweep.trainables.storage.tensor_file import FORMER_MAGIC, TENSOR_MAGIC, CorruptFileError, dumps, loads
from support import former_files

VALUE = {
    "epoch": 3,
    "model": {"w": torch.tensor([[1.5, -0.0]]), "count": torch.tensor(7)},
    "masks": {"w": torch.tensor([[True, False]])},
    "history": [{"epoch": 1, "lr": 0.1, "test_accuracy": None}],
}


class Touch:
    """Object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def with_header(body: bytes, magic: bytes = TENSOR_MAGIC) -> bytes:
    """Return ``body`` with a valid header and checksum, as an attacker who knows the format writes it."""
    return b"%s %s\n%s" % (magic, hashlib.sha256(body).hexdigest().encode(), body)


def malicious(path: Path) -> dict[str, bytes]:
    zipped = io.BytesIO()
    torch.save({"model": Touch(path)}, zipped)
    plain = pickle.dumps({"model": Touch(path)})
    return {
        "pickle": plain,
        "pickle with a valid header": with_header(plain),
        "torch file with a valid header": with_header(zipped.getvalue()),
        "pickle in the former format": with_header(plain, FORMER_MAGIC),
        "torch file in the former format": with_header(zipped.getvalue(), FORMER_MAGIC),
    }


KINDS = [
    "pickle",
    "pickle with a valid header",
    "torch file with a valid header",
    "pickle in the former format",
    "torch file in the former format",
]


def test_values_are_read_back_unchanged() -> None:
    found = loads(dumps(VALUE))
    assert found.keys() == VALUE.keys()
    assert (found["epoch"], found["history"]) == (3, VALUE["history"])
    assert found["model"]["w"].numpy().tobytes() == VALUE["model"]["w"].numpy().tobytes()  # type: ignore[index]
    assert found["masks"]["w"].tolist() == [[True, False]] and found["masks"]["w"].dtype == torch.bool


STATE = {
    "state": {0: {"momentum": torch.arange(3, dtype=torch.bfloat16)}, 1: {}},
    "groups": [{"params": [0, 1], "betas": (0.9, 0.1), "name": "a\n\u00e9", "flag": True, "nothing": None}],
    "numbers": (float("inf"), -0.0, 0.1 + 0.2, 2**70, math.nan),
}


def test_keys_tuples_and_numbers_keep_their_types_and_bits() -> None:
    for found in (loads(dumps(STATE)), loads(former_files.dumps(STATE))):
        assert list(found["state"]) == [0, 1] and found["state"][0]["momentum"].dtype == torch.bfloat16
        assert found["groups"] == STATE["groups"] and type(found["groups"][0]["betas"]) is tuple
        assert repr(found["numbers"]) == repr(STATE["numbers"])


def test_views_and_tensors_that_share_memory_are_written_separately() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    found = loads(dumps({"a": weight, "tied": weight, "turned": weight.T, "row": weight[1]}))
    assert torch.equal(found["tied"], weight) and torch.equal(found["turned"], weight.T)
    assert torch.equal(found["row"], weight[1]) and found["a"].data_ptr() != found["tied"].data_ptr()


def test_values_of_other_types_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not Touch"):
        dumps({"model": Touch(tmp_path / "run")})


def test_an_invalid_structure_is_a_corrupt_file() -> None:
    from safetensors.torch import save

    for structure in ('{"tensor": "1"}', '{"set": []}', "{", '{"dict": [1]}', "[]" * 2):
        with pytest.raises(CorruptFileError):
            loads(with_header(save({"0": torch.zeros(1)}, metadata={"sparsweep": structure})))
    with pytest.raises(CorruptFileError):
        loads(with_header(save({"0": torch.zeros(1)})))


def test_truncation_at_any_position_is_detected() -> None:
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


def test_a_flipped_bit_at_any_position_is_detected() -> None:
    content = dumps(VALUE)
    for position in [*range(100), *range(100, len(content), 41)]:
        altered = bytearray(content)
        altered[position] ^= 1
        with pytest.raises(CorruptFileError):
            loads(bytes(altered))


def test_another_format_version_is_rejected() -> None:
    with pytest.raises(CorruptFileError, match="not a tensor file of this version"):
        loads(dumps(VALUE).replace(TENSOR_MAGIC, b"sparsweep-tensors-3", 1))


def test_the_malicious_pickles_execute_when_unpickled(tmp_path: Path) -> None:
    """Without this the tests below could not fail."""
    pickle.loads(pickle.dumps(Touch(tmp_path / "run")))
    assert (tmp_path / "run").exists()
    body = malicious(tmp_path / "again")["torch file with a valid header"].split(b"\n", 1)[1]
    torch.load(io.BytesIO(body), weights_only=False)
    assert (tmp_path / "again").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_malicious_file_executes_no_code(kind: str, tmp_path: Path) -> None:
    content = malicious(tmp_path / "run")[kind]
    with pytest.raises((CorruptFileError, pickle.UnpicklingError)):
        loads(content)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_malicious_file_is_a_corrupt_file(kind: str, tmp_path: Path) -> None:
    """All invalid content raises the same error, which callers handle."""
    with pytest.raises(CorruptFileError):
        loads(malicious(tmp_path / "run")[kind])


def test_bytes_that_are_no_tensor_file_are_a_corrupt_file() -> None:
    with pytest.raises(CorruptFileError):
        loads(with_header(b"nothing that torch wrote"))
