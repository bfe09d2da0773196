"""Masks from a file: both formats, identity by content, and everything that can be wrong with a file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_trials import begin, trial

from trainables.data import DeviceData
from trainables.sparsifiers import Masks
from trainables.sparsifiers.static import load
from trainables.spec import TrialSpec, dump
from trainables.spec import load as load_spec
from trainables.values import explain


@pytest.fixture
def masks(digits: DeviceData) -> Masks:
    return begin(trial(sparsifier="random", sparsity=0.75, seed=7), digits).masks


def static(file: Path, sparsity: float = 0.75, **fields: Any) -> TrialSpec:
    return trial(sparsifier={"name": "static", "file": str(file), **fields}, sparsity=sparsity)


def error(file: Path, sparsity: float = 0.75, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        static(file, sparsity, **fields)
    return explain(caught.value).removeprefix("sparsifier.")


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
    text = dump(static(file))
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
        f"file: {tmp_path}/two.pt holds no masks (.pt or .npz are read): the mask of {first} is not made of 0 and 1"
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
        f"sparsity: {tmp_path}/masks.pt keeps {kept} of {masks.size} weights, which is 0.750000, got 0.5"
    )
    assert "digest: String should match pattern" in error(tmp_path / "masks.pt", digest="abc")


@pytest.mark.parametrize("name", ["masks.pt", "masks.npz", "masks.csv"])
def test_a_file_of_another_kind_is_said_to_hold_no_masks(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    for content in (b"", b"layer,mask\n", b"PK\x03\x04 torn"):
        file.write_bytes(content)
        said = error(file)
        assert said.startswith(f"file: {file} holds no masks (.pt or .npz are read)") and "\n" not in said


class Hostile:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Hostile()}, tmp_path / "hostile.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile(), protocol=2))
    np.savez(tmp_path / "hostile.npz", a=np.array([Hostile()], dtype=object))
    for name in ("hostile.pt", "plain.pt", "hostile.npz"):
        assert "holds no masks" in error(tmp_path / name)
    assert not (tmp_path / "ran").exists()
