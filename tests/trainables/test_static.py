"""Masks from a file: both formats, identity by content, and everything that can be wrong with a file."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.static import load
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.run import from_json as load_spec
from sparsweep.trainables.specs.run import to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import user_files
from support.tiny_trials import begin, trial


@pytest.fixture
def masks(digits: DeviceData) -> Masks:
    return begin(trial(sparsifier="random", sparsity=0.75, seed=7), digits).masks


def static(file: Path, sparsity: float = 0.75, **fields: Any) -> TrialSpec:
    return trial(sparsifier={"name": "static", "file": str(file), **fields}, sparsity=sparsity)


def error(file: Path, sparsity: float = 0.75, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        static(file, sparsity, **fields)
    return format_error(caught.value).removeprefix("sparsifier.")


def written(folder: Path, content: Any, name: str = "masks.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


@pytest.mark.parametrize("kind", ["bool", "numbers", "export", "npz"])
def test_masks_come_back_as_they_were_written(kind: str, masks: Masks, tmp_path: Path, digits: DeviceData) -> None:
    backwards = dict(reversed(list(masks.items())))
    if kind == "npz":
        file = tmp_path / "masks.npz"
        np.savez(file, **{name: mask.numpy() for name, mask in backwards.items()})
    else:
        numbers = {name: mask.float() for name, mask in backwards.items()}
        content = {"bool": backwards, "numbers": numbers, "export": {"state_dict": {}, "masks": backwards}}[kind]
        file = written(tmp_path, content)
    run = begin(static(file), digits)
    assert run.masks.equal(masks)
    run.train_epoch()
    assert run.masks.equal(masks)


def test_a_trial_is_known_by_the_content_and_not_by_the_place(masks: Masks, tmp_path: Path) -> None:
    file = written(tmp_path, dict(masks))
    spec = static(file)
    moved = file.rename(tmp_path / "elsewhere.pt")
    assert static(moved).id == spec.id
    other = Masks({name: mask.flip(0) for name, mask in masks.items()})
    assert static(written(tmp_path, dict(other), "other.pt")).id != spec.id


def test_a_local_path_is_made_absolute(masks: Masks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's working folder is not the driver's."""
    written(tmp_path, dict(masks))
    monkeypatch.chdir(tmp_path)
    assert static(Path("masks.pt")).sparsifier.file == str(tmp_path / "masks.pt")


def test_what_was_run_can_be_read_without_the_file(masks: Masks, tmp_path: Path, digits: DeviceData) -> None:
    file = written(tmp_path, dict(masks))
    text = to_json(static(file))
    file.unlink()
    load.cache_clear()
    spec = load_spec(text)
    with pytest.raises(FileNotFoundError):
        begin(spec, digits)


def test_a_changed_file_is_refused(masks: Masks, tmp_path: Path) -> None:
    file = written(tmp_path, dict(masks))
    digest = static(file).sparsifier.digest
    written(tmp_path, {name: mask.flip(0) for name, mask in masks.items()})
    load.cache_clear()
    assert error(file, digest=digest).startswith(f"file: {file} has changed: its SHA-256 is ")


def test_what_is_wrong_with_a_file_is_said_in_one_line(masks: Masks, tmp_path: Path) -> None:
    first, *_ = masks
    assert error(tmp_path / "none.pt").startswith(f"file: {tmp_path}/none.pt: ")
    assert error(written(tmp_path, {**masks, first: masks[first] * 2.0}, "two.pt")) == (
        f"file: {tmp_path}/two.pt has no masks in .pt or .npz format: the mask of {first} has values other than 0 and 1"
    )
    short = {name: mask for name, mask in masks.items() if name != first}
    assert error(written(tmp_path, short, "short.pt")) == (
        f"file: {first} is missing in {tmp_path}/short.pt, (4, 1, 3, 3) in the network"
    )
    extra = {**masks, "fc.weight": torch.ones(2, 2)}
    assert error(written(tmp_path, extra, "extra.pt")) == (
        f"file: fc.weight is (2, 2) in {tmp_path}/extra.pt, missing in the network"
    )
    kept = sum(masks.counts().values())
    assert error(written(tmp_path, dict(masks)), sparsity=0.5) == (
        f"sparsity: {tmp_path}/masks.pt keeps {kept} of {masks.size} weights (got 0.5). Set sparsity to 0.750000."
    )
    assert "digest: String should match pattern" in error(tmp_path / "masks.pt", digest="abc")


@pytest.mark.parametrize("name", ["masks.pt", "masks.npz", "masks.csv"])
def test_a_file_of_another_kind_is_said_to_hold_no_masks(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    for content in (b"", b"layer,mask\n", b"PK\x03\x04 torn"):
        file.write_bytes(content)
        said = error(file)
        assert said.startswith(f"file: {file} has no masks in .pt or .npz format") and "\n" not in said


class Hostile:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Hostile()}, tmp_path / "hostile.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile(), protocol=2))
    np.savez(tmp_path / "hostile.npz", a=np.array([Hostile()], dtype=object))
    for name in ("hostile.pt", "plain.pt", "hostile.npz"):
        assert "has no masks" in error(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def odd_tensors(mask: torch.Tensor) -> dict[str, Any]:
    """Things that torch.save writes and that are no mask of the shape of ``mask``."""
    return {
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "sparse": mask.float().to_sparse(),
        "no data": mask.to("meta"),
        "quantized": torch.quantize_per_tensor(mask.float(), 1.0, 0, torch.quint8),
        "complex": torch.complex(mask.float(), mask.float()),
        "one number for many": torch.ones(1, dtype=torch.bool).expand(10**9, 10**6),
        "empty": torch.ones(0),
        "a list": mask.tolist(),
        "a number": 1,
        "nothing": None,
        "NaN": mask / torch.zeros_like(mask).float(),
    }


@pytest.mark.parametrize("kind", odd_tensors(torch.ones(1)))
def test_a_tensor_that_is_no_mask_is_refused_in_one_line(masks: Masks, tmp_path: Path, kind: str) -> None:
    first, *_ = masks
    said = error(written(tmp_path, {**masks, first: odd_tensors(masks[first])[kind]}))
    assert said.startswith(f"file: {tmp_path}/masks.pt has no masks") or said.startswith(f"file: {first} is ")
    assert (first in said) == (kind != "nested"), "PyTorch loads nothing of a file with nested tensors"
    assert "\n" not in said and len(said) < 500


@pytest.mark.parametrize(
    "content", [None, [], "masks", {}, {"masks": None}, {"masks": []}, {1: torch.ones(2)}, {"": {}}]
)
def test_a_value_that_is_no_mapping_of_masks_is_refused_in_one_line(tmp_path: Path, content: Any) -> None:
    said = error(written(tmp_path, content))
    assert said.startswith("file: ") and "\n" not in said and len(said) < 500


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, None], dtype=object),
        np.array(["a", "b"]),
        np.array([b"a"]),
        np.array(["2024-05-06"], dtype="datetime64[D]"),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.zeros(3, np.complex64),
        np.array(7),
    ],
    ids=str,
)
def test_an_array_that_is_no_mask_is_refused_in_one_line(masks: Masks, tmp_path: Path, array: np.ndarray) -> None:
    first, *_ = masks
    np.savez(tmp_path / "masks.npz", **{**{name: mask.numpy() for name, mask in masks.items()}, first: array})
    said = error(tmp_path / "masks.npz")
    assert said.startswith("file: ") and "\n" not in said and len(said) < 500


@pytest.mark.parametrize("name", ["masks.npz", "masks.pt"])
def test_what_unpacks_to_more_than_masks_is_not_unpacked(tmp_path: Path, name: str) -> None:
    """64 MiB of zeros in 64 KiB."""
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv1.weight.npy", bytes(2**26))
    assert (tmp_path / name).stat().st_size < 100_000
    said = error(tmp_path / name)
    assert "it unpacks to 67,108,864 bytes; masks of 4,964 weights need at most 1,207,424" in said


def test_an_archive_that_lies_about_its_size_is_refused(masks: Masks, tmp_path: Path) -> None:
    file = tmp_path / "masks.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv1.weight.npy", bytes(2**26))
    content = file.read_bytes()
    file.write_bytes(content.replace((2**26).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert error(file).startswith(f"file: {file} has no masks")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to itself"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "masks.pt"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "link to itself":
        file.symlink_to(file)
    else:
        file.symlink_to("/dev/zero")
    said = error(file)
    assert said.startswith("file: ") and "\n" not in said


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(OSError, match="larger than the limit of 10 bytes"):
        user_files.read_user_file(str(tmp_path / "large"), 10)
    assert user_files.read_user_file(str(tmp_path / "large"), 11) == bytes(11)
