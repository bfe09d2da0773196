"""Corruption of a data set: assigned types, identity of the run, and sharing of the images between trials."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sparsweep.trainables import corruptions
from sparsweep.trainables.corruptions.weather import load_photographs
from sparsweep.trainables.data import datasets
from sparsweep.trainables.difficulties import PrerequisiteOutputs
from sparsweep.trainables.difficulties.corruption import CorruptionSpec, corrupt_dataset
from sparsweep.trainables.pipeline.device_data import to_device_data
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import image_file
from sparsweep.trainables.storage.image_file import dumps, open_mapped
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tensor_file import CorruptFileError
from support.tiny_trials import trial


def corrupted_trial(**fields: object) -> TrialSpec:
    return trial(difficulty={"name": "corruption", "types": "named3", **fields})


def run_of(spec: TrialSpec) -> CorruptionSpec:
    (run,) = spec.prerequisites()
    assert isinstance(run, CorruptionSpec)
    return run


@pytest.fixture(scope="module")
def frost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frost")
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "ice.png")
    return folder


def test_each_image_of_both_splits_gets_its_assigned_type() -> None:
    data, run = datasets.parse("digits").load(), run_of(corrupted_trial(severity=3))
    corrupted = corrupt_dataset(data, run)
    names = np.array(corruptions.TYPE_SETS["named3"])
    for split, images in (("train", data.train_images), ("test", data.test_images)):
        assert corrupted[split].shape == images.shape and corrupted[split].dtype == np.uint8
        kinds = corruptions.assign(len(images), None, names.tolist(), "uniform", 0.9, 0, split)
        assert set(kinds) == {0, 1, 2}
        for index in (0, 5, len(images) - 1):
            alone = corruptions.corrupt(images[[index]], names[kinds[index]], 3, 0, split, indices=[index])
            assert np.array_equal(corrupted[split][[index]], alone)


def test_trials_with_the_same_corruption_share_one_run() -> None:
    one = run_of(corrupted_trial(severity=3))
    assert one.id == run_of(corrupted_trial(severity=3).replace(seed=5, data_ratio=0.5)).id
    assert one.id == run_of(corrupted_trial(severity=3).replace(sparsifier="snip", sparsity=0.5)).id
    others = [{"severity": 4}, {"types": "h14"}, {"corruption_seed": 1}, {"assignment": "balanced"}]
    assert (
        len(
            {
                one.id,
                *(
                    run_of(
                        corrupted_trial(severity=3) if not fields else corrupted_trial(**{"severity": 3, **fields})
                    ).id
                    for fields in others
                ),
            }
        )
        == 5
    )


def test_the_glass_field_is_in_the_id_only_with_glass_blur() -> None:
    """Without glass blur the id does not include the field, so the ids of other corruptions stay valid."""
    by_default, swapped = (run_of(corrupted_trial(types="h14", **fields)) for fields in ({}, {"glass": "swap"}))
    assert by_default.id != swapped.id and by_default.corruption.glass == "copy"
    assert by_default.model_dump()["corruption"]["glass"] == "copy" and from_json(to_json(swapped)) == swapped
    assert "glass" not in run_of(corrupted_trial()).model_dump()["corruption"]
    data = by_default.dataset.load()
    alone = {"types": "glass_blur", "severity": 5}
    corrupted = [
        corrupt_dataset(data, run_of(corrupted_trial(**alone, glass=glass)))["test"] for glass in ("copy", "swap")
    ]
    assert not np.array_equal(*corrupted)


def test_a_run_stores_images_that_trials_map_into_memory(tmp_path: Path) -> None:
    store, spec = Store(str(tmp_path)), corrupted_trial(severity=3)
    data, run = spec.dataset.load(), run_of(spec)
    inputs = RunInputs(lambda: data, lambda trial: to_device_data(data, 1, 8, torch.device("cpu")))
    assert open_run(run, inputs, store, "test").run_for(1.0).is_finished
    images = store.read_corrupted(run.id)
    assert not images["train"].flags.writeable
    assert np.array_equal(images["test"], corrupt_dataset(data, run)["test"])

    def read(run: CorruptionSpec) -> dict[str, torch.Tensor]:
        return {split: torch.from_numpy(part.copy()) for split, part in store.read_corrupted(run.id).items()}

    altered = spec.difficulty.transform(
        spec, inputs.device_data(spec), PrerequisiteOutputs(lambda run, score: torch.empty(0), read)
    )
    assert torch.equal(altered.train_images, torch.from_numpy(images["train"].copy()))
    assert altered.corrupted_images is not None and altered.corrupted_images.shape == altered.test_images.shape


def test_validation_images_are_corrupted_like_test_images() -> None:
    spec = corrupted_trial(severity=3).replace(dataset={"name": "digits", "validation": 37})
    data = spec.dataset.load()
    corrupted = corrupt_dataset(data, run_of(spec))
    assert corrupted["validation"].shape == data.validation_images.shape == (37, 1, 8, 8)
    assert not np.array_equal(corrupted["validation"], data.validation_images)


def test_test_images_may_stay_clean() -> None:
    spec = corrupted_trial(test_severity=0)
    data = spec.dataset.load()
    assert spec.difficulty.eval_images == "clean"
    assert np.array_equal(corrupt_dataset(data, run_of(spec))["test"], data.test_images)


def test_a_damaged_image_file_is_deleted_and_reported(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_corrupted("abc", {"train": np.zeros((2, 1, 8, 8), np.uint8)})
    path = tmp_path / store.artifact_path("corrupted", "abc")
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-1] + b"\x01", b"", b"{}\n", b"not json\n" + content):
        path.write_bytes(damaged)
        with pytest.raises(FileNotFoundError, match=r"images of abc are (damaged|not)"):
            store.read_corrupted("abc")
        assert not path.exists()


def test_images_are_read_back_unchanged(tmp_path: Path) -> None:
    arrays = {"train": np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2), "test": np.zeros((0, 3, 2, 2), np.uint8)}
    (tmp_path / "a").write_bytes(dumps(arrays))
    found = open_mapped(tmp_path / "a")
    assert list(found) == list(arrays)
    assert all(np.array_equal(found[name], arrays[name]) and found[name].shape == arrays[name].shape for name in arrays)
    (tmp_path / "b").write_bytes(b"\x80\x04pickle\n")
    with pytest.raises(CorruptFileError):
        open_mapped(tmp_path / "b")


def test_the_id_of_frost_depends_on_the_photographs_not_on_their_folder(frost: Path, tmp_path: Path) -> None:
    one = corrupted_trial(types=["frost", "fog"], frost_folder=str(frost))
    (tmp_path / "ice.png").write_bytes((frost / "ice.png").read_bytes())
    assert corrupted_trial(types=["frost", "fog"], frost_folder=str(tmp_path)).id == one.id
    (tmp_path / "more.png").write_bytes((frost / "ice.png").read_bytes() + b" ")
    assert corrupted_trial(types=["frost", "fog"], frost_folder=str(tmp_path)).id != one.id


def test_other_files_in_the_frost_folder_are_skipped(
    frost: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "frost"
    shutil.copytree(frost, folder)
    before = corrupted_trial(types="frost", frost_folder=str(folder))
    for name in (".DS_Store", "._ice.png", "Thumbs.db", "LICENCE"):
        (folder / name).write_bytes(b"no photograph")
    assert corrupted_trial(types="frost", frost_folder=str(folder)).id == before.id
    assert f"{folder}: 2 skipped: LICENCE, Thumbs.db." in caplog.text
    assert len(load_photographs(folder, 0.2, 8, 8)) == 1
    (folder / "ice.png").unlink()
    with pytest.raises(ValidationError, match=r"frost_folder: no photograph in .*frost\. Supported formats: \.bmp"):
        corrupted_trial(types="frost", frost_folder=str(folder))
    (folder / "a.png").write_bytes(b"no photograph")
    with pytest.raises(ValueError, match=r"^[^\n]*a\.png cannot be decoded: [^\n]*$"):
        load_photographs(folder, 0.2, 8, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"types": "gaussian"}, "difficulty.types: unknown corruption 'gaussian'"),
        ({"types": []}, "types: must be a list of different types (got [])"),
        ({"types": ["fog", "fog"]}, "types: must be a list of different types (got ['fog', 'fog'])"),
        ({"types": "h15"}, "frost_folder: needed: the package has no frost photographs (got null)"),
        ({"types": "frost", "frost_folder": "/nowhere"}, "frost_folder: folder not found (got /nowhere)"),
        ({"glass": "swap"}, "difficulty.glass: glass_blur is not among the types (got 'swap'). Leave it out."),
        ({"severity": 7}, "difficulty.severity"),
        ({"severity": 0}, "difficulty.severity"),
        ({"skew": 2}, "difficulty.skew"),
    ],
)
def test_invalid_corruptions_give_a_one_line_error(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        corrupted_trial(**fields)
    assert message in format_error(caught.value) and "\n" not in format_error(caught.value)


def test_the_checksum_of_a_file_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "images"
    path.write_bytes(dumps({"test": np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)}))
    checks = []
    monkeypatch.setattr(image_file, "check_owner", lambda *arguments: checks.append(arguments))
    first, second = open_mapped(path), open_mapped(path)
    assert len(checks) == 1 and first["test"] is second["test"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match="checksum"):
        open_mapped(path)
