"""Masks from a file: both formats, trial ids that depend on the content, and errors for invalid files."""

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
from support.tiny_trials import create_trainer, trial


@pytest.fixture
def masks(digits: DeviceData) -> Masks:
    return create_trainer(trial(sparsifier="random", sparsity=0.75, seed=7), digits).masks


def static(file: Path, sparsity: float = 0.75, **fields: Any) -> TrialSpec:
    return trial(sparsifier={"name": "static", "file": str(file), **fields}, sparsity=sparsity)


def validation_error(file: Path, sparsity: float = 0.75, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        static(file, sparsity, **fields)
    return format_error(caught.value).removeprefix("sparsifier.")


def save_masks(folder: Path, content: Any, name: str = "masks.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


@pytest.mark.parametrize("kind", ["bool", "numbers", "export", "npz"])
def test_trial_uses_the_masks_of_the_file(kind: str, masks: Masks, tmp_path: Path, digits: DeviceData) -> None:
    backwards = dict(reversed(list(masks.items())))
    if kind == "npz":
        file = tmp_path / "masks.npz"
        np.savez(file, **{name: mask.numpy() for name, mask in backwards.items()})
    else:
        numbers = {name: mask.float() for name, mask in backwards.items()}
        content = {"bool": backwards, "numbers": numbers, "export": {"state_dict": {}, "masks": backwards}}[kind]
        file = save_masks(tmp_path, content)
    run = create_trainer(static(file), digits)
    assert run.masks.equal(masks)
    run.train_epoch()
    assert run.masks.equal(masks)


def test_id_depends_on_the_content_and_not_on_the_path(masks: Masks, tmp_path: Path) -> None:
    file = save_masks(tmp_path, dict(masks))
    spec = static(file)
    moved = file.rename(tmp_path / "elsewhere.pt")
    assert static(moved).id == spec.id
    other = Masks({name: mask.flip(0) for name, mask in masks.items()})
    assert static(save_masks(tmp_path, dict(other), "other.pt")).id != spec.id


def test_local_path_is_made_absolute(masks: Masks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder of a worker differs from that of the driver."""
    save_masks(tmp_path, dict(masks))
    monkeypatch.chdir(tmp_path)
    assert static(Path("masks.pt")).sparsifier.file == str(tmp_path / "masks.pt")


def test_stored_spec_can_be_loaded_without_the_file(masks: Masks, tmp_path: Path, digits: DeviceData) -> None:
    file = save_masks(tmp_path, dict(masks))
    text = to_json(static(file))
    file.unlink()
    load.cache_clear()
    spec = load_spec(text)
    with pytest.raises(FileNotFoundError):
        create_trainer(spec, digits)


def test_changed_file_is_an_error(masks: Masks, tmp_path: Path) -> None:
    file = save_masks(tmp_path, dict(masks))
    digest = static(file).sparsifier.digest
    save_masks(tmp_path, {name: mask.flip(0) for name, mask in masks.items()})
    load.cache_clear()
    assert validation_error(file, digest=digest).startswith(f"file: {file} has changed: its SHA-256 is ")


def test_invalid_file_is_a_one_line_error(masks: Masks, tmp_path: Path) -> None:
    first, *_ = masks
    assert validation_error(tmp_path / "none.pt").startswith(f"file: {tmp_path}/none.pt: ")
    assert validation_error(save_masks(tmp_path, {**masks, first: masks[first] * 2.0}, "two.pt")) == (
        f"file: {tmp_path}/two.pt has no masks in .pt or .npz format: the mask of {first} has values other than 0 and 1"
    )
    short = {name: mask for name, mask in masks.items() if name != first}
    assert validation_error(save_masks(tmp_path, short, "short.pt")) == (
        f"file: {first} is missing in {tmp_path}/short.pt, (4, 1, 3, 3) in the network"
    )
    extra = {**masks, "fc.weight": torch.ones(2, 2)}
    assert validation_error(save_masks(tmp_path, extra, "extra.pt")) == (
        f"file: fc.weight is (2, 2) in {tmp_path}/extra.pt, missing in the network"
    )
    kept = sum(masks.counts().values())
    assert validation_error(save_masks(tmp_path, dict(masks)), sparsity=0.5) == (
        f"sparsity: {tmp_path}/masks.pt keeps {kept} of {masks.size} weights (got 0.5). Set sparsity to 0.750000."
    )
    assert "digest: String should match pattern" in validation_error(tmp_path / "masks.pt", digest="abc")


@pytest.mark.parametrize("name", ["masks.pt", "masks.npz", "masks.csv"])
def test_file_of_another_format_is_an_error(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    for content in (b"", b"layer,mask\n", b"PK\x03\x04 torn"):
        file.write_bytes(content)
        message = validation_error(file)
        assert message.startswith(f"file: {file} has no masks in .pt or .npz format") and "\n" not in message


class Malicious:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malicious()}, tmp_path / "hostile.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Malicious(), protocol=2))
    np.savez(tmp_path / "hostile.npz", a=np.array([Malicious()], dtype=object))
    for name in ("hostile.pt", "plain.pt", "hostile.npz"):
        assert "has no masks" in validation_error(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def invalid_masks(mask: torch.Tensor) -> dict[str, Any]:
    """Return values that torch.save can write and that are not a mask of the shape of ``mask``."""
    return {
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "sparse": mask.float().to_sparse(),
        "no data": mask.to("meta"),
        "quantized": torch.quantize_per_tensor(mask.float(), 1.0, 0, torch.quint8),
        "complex": torch.complex(mask.float(), mask.float()),
        "expanded": torch.ones(1, dtype=torch.bool).expand(10**9, 10**6),
        "empty": torch.ones(0),
        "a list": mask.tolist(),
        "a number": 1,
        "none": None,
        "NaN": mask / torch.zeros_like(mask).float(),
    }


@pytest.mark.parametrize("kind", invalid_masks(torch.ones(1)))
def test_tensor_that_is_no_mask_is_a_one_line_error(masks: Masks, tmp_path: Path, kind: str) -> None:
    first, *_ = masks
    message = validation_error(save_masks(tmp_path, {**masks, first: invalid_masks(masks[first])[kind]}))
    assert message.startswith(f"file: {tmp_path}/masks.pt has no masks") or message.startswith(f"file: {first} is ")
    assert (first in message) == (kind != "nested"), "PyTorch cannot load a file with nested tensors"
    assert "\n" not in message and len(message) < 500


@pytest.mark.parametrize(
    "content", [None, [], "masks", {}, {"masks": None}, {"masks": []}, {1: torch.ones(2)}, {"": {}}]
)
def test_content_that_is_no_mapping_of_masks_is_a_one_line_error(tmp_path: Path, content: Any) -> None:
    message = validation_error(save_masks(tmp_path, content))
    assert message.startswith("file: ") and "\n" not in message and len(message) < 500


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
def test_array_that_is_no_mask_is_a_one_line_error(masks: Masks, tmp_path: Path, array: np.ndarray) -> None:
    first, *_ = masks
    np.savez(tmp_path / "masks.npz", **{**{name: mask.numpy() for name, mask in masks.items()}, first: array})
    message = validation_error(tmp_path / "masks.npz")
    assert message.startswith("file: ") and "\n" not in message and len(message) < 500


@pytest.mark.parametrize("name", ["masks.npz", "masks.pt"])
def test_archive_larger_than_the_masks_is_not_unpacked(tmp_path: Path, name: str) -> None:
    """The archive has 64 MiB of zeros in 64 KiB."""
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv1.weight.npy", bytes(2**26))
    assert (tmp_path / name).stat().st_size < 100_000
    message = validation_error(tmp_path / name)
    assert "it unpacks to 67,108,864 bytes; masks of 4,964 weights need at most 1,207,424" in message


def test_archive_with_a_wrong_size_in_its_header_is_an_error(masks: Masks, tmp_path: Path) -> None:
    file = tmp_path / "masks.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv1.weight.npy", bytes(2**26))
    content = file.read_bytes()
    file.write_bytes(content.replace((2**26).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert validation_error(file).startswith(f"file: {file} has no masks")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to itself"])
def test_path_that_is_no_regular_file_is_an_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "masks.pt"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "link to itself":
        file.symlink_to(file)
    else:
        file.symlink_to("/dev/zero")
    message = validation_error(file)
    assert message.startswith("file: ") and "\n" not in message


def test_file_above_the_size_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(OSError, match="larger than the limit of 10 bytes"):
        user_files.read_user_file(str(tmp_path / "large"), 10)
    assert user_files.read_user_file(str(tmp_path / "large"), 11) == bytes(11)
