"""Local copies of images in a bucket: used only while they equal the file in the bucket."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from sparsweep.trainables.storage import image_file
from sparsweep.trainables.storage.fetched_images import open_through_cache
from sparsweep.trainables.storage.tensor_file import CorruptFileError

NAME = "0123456789abcdef.images"


@pytest.fixture(autouse=True)
def local_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the local copy."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / f"temporary/sparsweep-{os.getuid()}/images/{NAME}"


class Bucket:
    """Folder in place of a bucket, with the sizes of complete reads."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / NAME
        self.reads: list[int] = []

    def put(self, value: int) -> None:
        self.file.write_bytes(image_file.dumps({"train": np.full((2, 3), value)}))

    def open_input_file(self, path: str) -> fs.SubTreeFileSystem:
        assert path == f"b/{NAME}"
        opened, reads = self.file.open("rb"), self.reads

        class File:
            def __enter__(self):  # type: ignore[no-untyped-def]
                return self

            def __exit__(self, *error: object) -> None:
                opened.close()

            def seek(self, position: int) -> None:
                opened.seek(position)

            def read(self, size: int = -1) -> bytes:
                content = opened.read(size)
                if size < 0:
                    reads.append(len(content))
                return content

        return File()


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def value(bucket: Bucket) -> int:
    return int(open_through_cache(bucket, f"b/{NAME}")["train"][0, 0])  # type: ignore[arg-type]


def test_a_copy_is_used_until_the_bucket_changes(bucket: Bucket) -> None:
    bucket.put(1)
    assert (value(bucket), value(bucket), len(bucket.reads)) == (1, 1, 1)
    bucket.put(2)
    assert (value(bucket), value(bucket), len(bucket.reads)) == (2, 2, 2)


@pytest.mark.parametrize("invalid", [image_file.dumps({"train": np.full((2, 3), 9)}), b"", b"nonsense", None])
def test_an_invalid_copy_is_replaced(bucket: Bucket, local_copy: Path, invalid: bytes | None) -> None:
    bucket.put(1)
    assert value(bucket) == 1
    valid = local_copy.read_bytes()
    local_copy.write_bytes(valid[:-1] + b"\x07" if invalid is None else invalid)  # a changed pixel below a valid header
    assert value(bucket) == 1 and bucket.file.exists() and local_copy.read_bytes() == valid


def test_a_copy_is_not_used_after_the_bucket_deletes_the_file(bucket: Bucket) -> None:
    bucket.put(1)
    assert value(bucket) == 1
    bucket.file.unlink()
    with pytest.raises(FileNotFoundError):
        value(bucket)


def test_a_damaged_file_is_not_copied(bucket: Bucket, local_copy: Path) -> None:
    bucket.put(1)
    bucket.file.write_bytes(bucket.file.read_bytes()[:-1])
    with pytest.raises(CorruptFileError):
        value(bucket)
    assert not local_copy.exists()
