"""The store in a bucket, which behaves as in a folder."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsweep.trainables.storage import schemas, tables
from sparsweep.trainables.storage.store import Store
from support.s3_server import gs_bucket, s3_bucket, sign_in

RUN = "0123456789abcdef"


@pytest.fixture(params=[s3_bucket, gs_bucket], ids=["s3", "gs"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    sign_in(monkeypatch)
    with request.param() as address:
        yield pickle.loads(pickle.dumps(Store(address)))  # as Ray sends it to a worker


def row(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(schemas.SCHEMAS["trials"].names), "trial": RUN, **values}


def test_a_bucket_behaves_like_a_folder(bucket: Store) -> None:
    bucket.check_writable()
    assert bucket.read("a/b.bin") is None and not bucket.exists("a/b.bin") and bucket.list_ids("a") == set()
    bucket.write("a/b.bin", b"one")
    bucket.write("a/b.bin", b"three")
    assert bucket.read("a/b.bin") == b"three" and bucket.list_sizes("a") == {"a/b.bin": 5}
    bucket.write("sweeps/mine/log.txt", b"")
    assert bucket.list_subfolders("sweeps") == {"mine"}
    bucket.delete("a/b.bin")
    bucket.delete("a/b.bin")
    assert bucket.list_ids("a") == set()


def test_results_checkpoints_and_artifacts_are_read_back_from_a_bucket(bucket: Store) -> None:
    bucket.write_failure(RUN, "mine", OSError("full"))
    bucket.write_checkpoint(RUN, {"seconds": 1.5})
    assert bucket.failures()[RUN]["message"] == "full" and bucket.read_checkpoint(RUN) == {"seconds": 1.5}
    bucket.write_result(RUN, {"trials": [row(seed=3)]})
    bucket.delete_checkpoint(RUN)
    assert (bucket.finished(), bucket.failures(), bucket.checkpoints()) == ({RUN}, {}, set())
    rows, damaged = tables.read_table(bucket.storage, "trials", columns=["seed"])
    assert (rows.to_pylist(), damaged) == ([{"seed": 3}], [])
    bucket.write_scores(RUN, "el2n", np.array([0, 1]), np.array([0.5, 1.5]))
    assert bucket.read_scores(RUN, "el2n").tolist() == [0.5, 1.5]


def test_a_damaged_file_in_a_bucket_is_detected_and_deleted(bucket: Store) -> None:
    bucket.write_weights(RUN, {"model": {}})
    path = bucket.artifact_path("weights", RUN)
    bucket.write(path, (bucket.read(path) or b"")[:-5])
    with pytest.raises(FileNotFoundError, match="checksum does not match"):
        bucket.read_weights(RUN)
    assert not bucket.exists(path)


def test_images_are_those_currently_in_the_bucket(
    bucket: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for value in (1, 2):
        bucket.write_corrupted(RUN, {"train": np.full((2, 3), value, np.uint8)})
        assert bucket.read_corrupted(RUN)["train"].tolist() == [[value] * 3] * 2
        assert bucket.read_corrupted(RUN)["train"].tolist() == [[value] * 3] * 2
    path = bucket.artifact_path("corrupted", RUN)
    bucket.write(path, (bucket.read(path) or b"")[:-1])
    assert bucket.read_corrupted(RUN)["train"].tolist() == [[2] * 3] * 2  # the local copy matches its checksum
    bucket.delete(path)
    with pytest.raises(FileNotFoundError, match="are not in"):
        bucket.read_corrupted(RUN)
