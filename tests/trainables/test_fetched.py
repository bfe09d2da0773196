"""Images of a bucket that were fetched before: used only if they are those that the bucket has now."""

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
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine's copy lies."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / f"temporary/sparsweep-{os.getuid()}/images/{NAME}"


class Bucket:
    """A folder that stands for a bucket and counts whole reads."""

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

            def seek(self, place: int) -> None:
                opened.seek(place)

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


def test_a_copy_is_used_while_the_bucket_has_the_same(bucket: Bucket) -> None:
    bucket.put(1)
    assert (value(bucket), value(bucket), len(bucket.reads)) == (1, 1, 1)
    bucket.put(2)
    assert (value(bucket), value(bucket), len(bucket.reads)) == (2, 2, 2)


@pytest.mark.parametrize("planted", [image_file.dumps({"train": np.full((2, 3), 9)}), b"", b"nonsense", None])
def test_what_lies_here_is_not_believed(bucket: Bucket, copy: Path, planted: bytes | None) -> None:
    bucket.put(1)
    assert value(bucket) == 1
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1] + b"\x07" if planted is None else planted)  # the head as it was, a pixel changed
    assert value(bucket) == 1 and bucket.file.exists() and copy.read_bytes() == whole


def test_what_the_bucket_has_no_more_is_gone_here_too(bucket: Bucket) -> None:
    bucket.put(1)
    assert value(bucket) == 1
    bucket.file.unlink()
    with pytest.raises(FileNotFoundError):
        value(bucket)


def test_what_is_damaged_in_the_bucket_is_not_kept(bucket: Bucket, copy: Path) -> None:
    bucket.put(1)
    bucket.file.write_bytes(bucket.file.read_bytes()[:-1])
    with pytest.raises(CorruptFileError):
        value(bucket)
    assert not copy.exists()
