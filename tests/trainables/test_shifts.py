"""Shifted test images: one training, all types and severities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.data import DataError, ImageData
from sparsweep.trainables.difficulties.shifts import CorruptedTestSpec, NewTestSpec, ReadShiftSpec, Shifts
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import is_finished, open_run
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.specs.run import RunSpec, from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from support.tiny_trials import trial

TYPES = ["gaussian_noise", "fog", "glass_blur"]
SHIFTS = {"types": TYPES, "severities": [1, 4]}
LONGER = {"data_ratio": 0.5, "recipe": {"preset": "digits", "epochs": 4}}


@pytest.fixture
def inputs(digits: DeviceData, raw_digits: ImageData) -> RunInputs:
    return RunInputs(lambda: raw_digits, lambda spec: digits)


def complete(spec: RunSpec, inputs: RunInputs, store: Store) -> list[RunSpec]:
    """Run the missing prerequisites of ``spec``, then ``spec``. Return the runs that ran."""
    ran = [
        run
        for parent in spec.prerequisites()
        if not is_finished(parent, store)
        for run in complete(parent, inputs, store)
    ]
    run = open_run(spec, inputs, store, "test")
    while not run.progress.is_finished:
        run.run_for(1e9)
    return [*ran, spec]


def shifts(store: Store, spec: TrialSpec) -> pd.DataFrame:
    return tables.read_table(store.storage, "shifts", [spec.id])[0].to_pandas()


def row(store: Store, spec: TrialSpec) -> dict[str, Any]:
    return dict(tables.read_table(store.storage, "trials", [spec.id])[0].to_pylist()[0])


def test_accuracies_equal_those_of_single_trials(inputs: RunInputs, store: Store) -> None:
    """A trial that trains on clean images and is tested on one type and severity, for each row."""
    spec = trial(**LONGER, evaluation={"corruptions": SHIFTS})
    complete(spec, inputs, store)
    found = shifts(store, spec)
    assert len(found) == len(TYPES) * 2 and found["accuracy"].nunique() > 1
    for line in found.to_dict("records"):
        difficulty = {"name": "corruption", "types": line["type"], "severity": line["severity"], "train_severity": 0}
        single = trial(**LONGER, difficulty=difficulty)
        complete(single, inputs, store)
        other = row(store, single)
        assert line["accuracy"] == other["test_accuracy"] == other["corrupted_accuracy"]
        assert line["loss"] == other["nll"]
    assert row(store, spec)["mean_corruption_accuracy"] == pytest.approx(found["accuracy"].mean())
    assert row(store, single)["mean_corruption_accuracy"] is None


def test_images_are_made_once_for_all_trials(inputs: RunInputs, store: Store) -> None:
    first, second = (trial(seed=seed, evaluation={"corruptions": SHIFTS}) for seed in (0, 1))
    wider = trial(evaluation={"corruptions": {"types": [*TYPES, "contrast"], "severities": [4]}}, seed=2)
    assert len(complete(first, inputs, store)) == 6 + 1
    assert [type(run) for run in complete(second, inputs, store)] == [TrialSpec]
    assert [str(run) for run in complete(wider, inputs, store)][:-1] == [
        "test images of digits under contrast at severity 4"
    ]


def test_shifts_are_not_part_of_the_id_and_are_added_from_the_weights(inputs: RunInputs, store: Store) -> None:
    plain, shifted = trial(), trial(evaluation={"corruptions": SHIFTS})
    assert plain.id == shifted.id and from_json(to_json(shifted)) == shifted
    assert plain.merge(shifted).evaluation == shifted.evaluation
    complete(shifted, inputs, store)
    before = shifts(store, shifted)
    (file,) = Path(store.root, "results/shifts").iterdir()
    content = file.read_bytes()
    file.unlink()
    evaluation = EvaluationSpec(trial=shifted)
    assert not is_finished(evaluation, store) and is_finished(EvaluationSpec(trial=plain), store)
    assert complete(evaluation, inputs, store) == [evaluation]
    assert file.read_bytes() == content and is_finished(evaluation, store)
    more = trial(evaluation={"corruptions": {"types": "fog"}})
    complete(EvaluationSpec(trial=more), inputs, store)
    assert len(shifts(store, shifted)) == len(before) + 5


@pytest.mark.parametrize(
    ("train", "test", "changed"), [(0, 3, {"test"}), (3, 0, {"train"}), (None, None, {"train", "test"})]
)
def test_training_and_test_images_have_their_own_severity(
    inputs: RunInputs, raw_digits: ImageData, store: Store, train: int | None, test: int | None, changed: set[str]
) -> None:
    fields = {"name": "corruption", "types": "contrast", "severity": 3, "train_severity": train, "test_severity": test}
    (run,) = trial(difficulty=fields).prerequisites()
    complete(run, inputs, store)
    images = store.read_corrupted(run.id)
    original = {"train": raw_digits.train_images, "test": raw_digits.test_images}
    assert {split for split in images if not np.array_equal(images[split], original[split])} == changed


def test_a_train_severity_that_is_not_set_is_not_part_of_the_id() -> None:
    fields = {"name": "corruption", "types": "contrast", "severity": 3}
    ids = [trial(difficulty={**fields, "train_severity": severity}).id for severity in (None, 0, 3)]
    assert ids[0] == trial(difficulty=fields).id and len(set(ids)) == 3
    assert "train_severity" not in trial(difficulty=fields).difficulty.model_dump()


def test_fields_that_a_type_does_not_use_do_not_change_its_images() -> None:
    copy, swap = (Shifts(types=("glass_blur", "fog"), severities=(1,), glass=glass) for glass in ("copy", "swap"))
    ids = [[run.id for run in settings.runs(trial())] for settings in (copy, swap)]
    assert ids[0][0] != ids[1][0] and ids[0][1] == ids[1][1]


@pytest.fixture
def benchmark(tmp_path: Path) -> tuple[Path, ImageData]:
    """A folder as that of CIFAR-10-C with one type, and its data set: 12 images of 8 by 8 pixels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 12)
    images = random.integers(0, 256, (5 * 12, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "fog.npy", images)
    np.save(tmp_path / "labels.npy", np.tile(labels, 5))
    clean = np.zeros((12, 3, 8, 8), np.uint8)
    return tmp_path, ImageData(clean, labels, clean, labels, 10)


def test_images_of_the_benchmark_are_read(benchmark: tuple[Path, ImageData]) -> None:
    folder, data = benchmark
    settings = Shifts(types=("fog",), severities=(2, 5), folder=str(folder))
    runs = settings.runs(trial(dataset="cifar10", model="resnet18", recipe={"epochs": 1}, data_ratio=0.1))
    assert [type(run) for run in runs] == [ReadShiftSpec] * 2 and [run.condition for run in runs] == [
        ("fog", 2),
        ("fog", 5),
    ]
    stored = np.load(folder / "fog.npy")
    for run, start in zip(runs, (12, 48), strict=True):
        assert np.array_equal(run.images(data), stored[start : start + 12].transpose(0, 3, 1, 2))
        assert from_json(to_json(run)) == run
    copied = folder / "copy"
    copied.mkdir()
    for name in ("fog.npy", "labels.npy"):
        (copied / name).write_bytes((folder / name).read_bytes())
    fields = {"dataset": "cifar10", "type_name": "fog", "severity": 2}
    assert ReadShiftSpec(**fields, folder=str(copied)).id == runs[0].id, "the id has the files, not their path"


def test_files_of_another_data_set_are_refused(benchmark: tuple[Path, ImageData]) -> None:
    folder, data = benchmark
    run = ReadShiftSpec(dataset="cifar10", type_name="fog", severity=1, folder=str(folder))
    np.save(folder / "labels.npy", np.zeros(60, int))
    with pytest.raises(DataError, match="labels are not those of the test images"):
        run.images(data)
    np.save(folder / "fog.npy", np.zeros((60, 9, 8, 3), np.uint8))
    with pytest.raises(DataError, match="must be uint8"):
        run.images(data)
    (folder / "fog.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot read fog"):
        run.images(data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"types": "nope"}, "evaluation.corruptions.types: unknown corruption 'nope'; choose from h14, "),
        ({"types": ["fog", "fog"]}, "evaluation.corruptions.types: must be a list of different types"),
        ({"severities": [7]}, "evaluation.corruptions.severities: must be among 1, 2, 3, 4, 5, 6 (got [7])."),
        ({"severities": []}, "evaluation.corruptions.severities: "),
        ({"folder": "/nowhere"}, "evaluation.corruptions.folder: file not found (got /nowhere/gaussian_noise.npy)."),
        ({"typs": "h14"}, "evaluation.corruptions: unknown field 'typs' (did you mean types?)"),
        ({"types": "h15"}, "evaluation.corruptions.frost_folder: needed"),
        ({"types": "fog", "glass": "swap"}, "evaluation.corruptions.glass: glass_blur is not among the types"),
        ("h14", "evaluation.corruptions: "),
    ],
)
def test_bad_fields_are_refused_in_one_line(fields: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        trial(evaluation={"corruptions": fields})
    (line,) = format_error(caught.value).splitlines()
    assert line.startswith(message)


def test_severity_six_is_not_in_the_files(benchmark: tuple[Path, ImageData]) -> None:
    with pytest.raises(ValidationError, match="has severities 1 to 5"):
        Shifts(types=("fog",), severities=(6,), folder=str(benchmark[0]))


def test_the_random_numbers_are_those_of_the_corruption(raw_digits: ImageData) -> None:
    spec = trial(evaluation={"corruptions": {"types": "gaussian_noise", "severities": [3], "corruption_seed": 5}})
    (run,) = spec.prerequisites()
    assert isinstance(run, CorruptedTestSpec) and run.corruption.corruption_seed == 5
    images = run.images(raw_digits)
    assert images.shape == raw_digits.test_images.shape and images.dtype == np.uint8
    assert torch.equal(torch.tensor(images), torch.tensor(run.images(raw_digits)))


# Newly collected images ----------------------------------------------------------------------------------------------


@pytest.fixture
def new_test(tmp_path: Path) -> Path:
    """A folder as that of CIFAR-10.1, with six images."""
    folder = tmp_path / "cifar-10.1"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "cifar10.1_v6_data.npy", images)
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(6, dtype=np.int32))
    return folder


CIFAR = {"dataset": "cifar10", "model": "resnet8_rgb", "recipe": {"epochs": 2}}


def test_new_images_have_labels_of_their_own(new_test: Path) -> None:
    spec = trial(
        **CIFAR, evaluation={"corruptions": {"types": ["fog"], "severities": [1], "new_test_folder": str(new_test)}}
    )
    new, fog = spec.evaluation.shift_runs(spec)
    assert isinstance(new, NewTestSpec) and new.condition == ("cifar10.1", 0) and fog.condition == ("fog", 1)
    assert new.version == "v6" and str(new_test) not in str(new.hashed_fields())
    data = ImageData(*[np.zeros(0)] * 4, classes=10)
    stored = np.load(new_test / "cifar10.1_v6_data.npy")
    assert np.array_equal(new.images(data), stored.transpose(0, 3, 1, 2))
    assert np.array_equal(new.labels(np.zeros(3)), np.arange(6)) and np.array_equal(fog.labels(np.ones(3)), np.ones(3))
    assert from_json(to_json(new)) == new


def test_version_four_is_read_without_version_six(new_test: Path) -> None:
    for part in ("data", "labels"):
        (new_test / f"cifar10.1_v6_{part}.npy").rename(new_test / f"cifar10.1_v4_{part}.npy")
    assert NewTestSpec(dataset="cifar10", folder=str(new_test)).version == "v4"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"data": np.zeros((6, 8, 8, 3), np.uint8)}, r"must be uint8 \(6, 32, 32, 3\) \(got uint8 \(6, 8, 8, 3\)\)"),
        ({"labels": np.full(6, 10)}, r"labels.npy: must be labels from 0 to 9 \(got int64 \(6,\)\)"),
        ({"labels": np.zeros(6)}, r"must be labels from 0 to 9 \(got float64 \(6,\)\)"),
    ],
)
def test_damaged_new_images_are_one_line(new_test: Path, content: dict[str, np.ndarray], reason: str) -> None:
    for part, values in content.items():
        np.save(new_test / f"cifar10.1_v6_{part}.npy", values)
    with pytest.raises(ValidationError, match=reason):
        Shifts(new_test_folder=str(new_test))


def test_new_images_need_their_folder_and_data_set(new_test: Path) -> None:
    with pytest.raises(ValidationError, match=r"file not found \(got /nowhere/cifar10.1_v6_data.npy\). Download"):
        Shifts(new_test_folder="/nowhere")
    with pytest.raises(ValidationError) as error:
        trial(evaluation={"corruptions": {"new_test_folder": str(new_test)}})
    assert format_error(error.value).startswith(
        "evaluation.corruptions.new_test_folder: needs dataset cifar10 (got digits)"
    )


def test_new_images_are_evaluated_with_their_labels(
    new_test: Path, inputs: RunInputs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digits stand in for CIFAR-10: of five test digits that are all collected again, the accuracy is that of these."""
    data = inputs.load_images()
    monkeypatch.setattr(Shifts, "check", lambda self, spec: None)
    monkeypatch.setattr(NewTestSpec, "images", lambda self, data: data.test_images[:6])
    monkeypatch.setattr(NewTestSpec, "labels", lambda self, of_test: data.test_labels[:6])
    evaluation = {"corruptions": {"types": ["fog"], "severities": [1], "new_test_folder": str(new_test)}}
    spec = trial(**LONGER, evaluation=evaluation)
    complete(spec, inputs, store)
    rows = shifts(store, spec).set_index("type")
    outcomes = pd.read_parquet(Path(store.root, store.outcomes_path(spec.id, "test")))
    assert rows.loc["cifar10.1", "severity"] == 0
    assert rows.loc["cifar10.1", "accuracy"] == outcomes.sort_values("sample")["correct"].head(6).mean()
    assert row(store, spec)["mean_corruption_accuracy"] == rows.loc["fog", "accuracy"]
