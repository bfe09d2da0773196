"""Detection of images of another data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.data import ImageData, datasets
from sparsweep.trainables.data.base import Dataset
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import is_finished, open_run
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.specs.ood import OodImagesSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.calibration import auroc
from support.tiny_trials import trial

LONGER = {"data_ratio": 1.0, "recipe": {"preset": "digits", "epochs": 4}}


class Noise(Dataset):
    """50 test images of noise with the shape of the digits."""

    name: Literal["noise"] = "noise"

    @property
    def available(self) -> int:
        return 10

    @property
    def classes(self) -> int:
        return 2

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 1, 8, 8


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    datasets.register(Noise)
    yield
    del datasets._classes["noise"]


@pytest.fixture
def inputs(digits: DeviceData, raw_digits: ImageData) -> RunInputs:
    noise = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8), dtype=np.uint8)
    return RunInputs(lambda: replace(raw_digits, test_images=noise), lambda spec: digits)


def complete(spec: RunSpec, inputs: RunInputs, store: Store) -> None:
    for parent in spec.prerequisites():
        if not is_finished(parent, store):
            complete(parent, inputs, store)
    run = open_run(spec, inputs, store, "test")
    while not run.progress.is_finished:
        run.run_for(1e9)


def test_scores_separate_the_test_images_from_noise(inputs: RunInputs, digits: DeviceData, store: Store) -> None:
    spec = trial(**LONGER, evaluation={"ood": "noise"})
    complete(spec, inputs, store)
    (found,) = tables.read_table(store.storage, "ood")[0].to_pylist()
    (row,) = tables.read_table(store.storage, "trials")[0].to_pylist()
    (run,) = spec.prerequisites()
    assert (found["trial"], found["dataset"], found["images"]) == (spec.id, "noise", run.id)
    assert row["ood_auroc_confidence"] == found["auroc_confidence"]
    assert row["ood_auroc_energy"] == found["auroc_energy"]
    network = open_run(EvaluationSpec(trial=spec), inputs, store, "test").evaluator().network  # type: ignore[attr-defined]
    images = torch.tensor(store.read_corrupted(run.id)["test"])
    inside, outside = (network.logits(part).double() for part in (digits.test_images, images))
    confidences = (part.softmax(1).amax(1).numpy() for part in (inside, outside))
    assert found["auroc_confidence"] == pytest.approx(auroc(*confidences))
    assert found["auroc_energy"] == pytest.approx(auroc(*(part.logsumexp(1).numpy() for part in (inside, outside))))


def test_they_are_evaluated_later_from_the_weights(inputs: RunInputs, store: Store) -> None:
    plain, spec = trial(), trial(evaluation={"ood": "noise"})
    assert plain.id == spec.id and plain.merge(spec).evaluation == spec.evaluation
    complete(plain, inputs, store)
    (row,) = tables.read_table(store.storage, "trials")[0].to_pylist()
    assert row["ood_auroc_confidence"] is None and row["ood_auroc_energy"] is None
    evaluation = EvaluationSpec(trial=spec)
    assert not is_finished(evaluation, store)
    complete(evaluation, inputs, store)
    (file,) = Path(store.root, "results/ood").iterdir()
    content = file.read_bytes()
    file.unlink()
    complete(evaluation, inputs, store)
    assert is_finished(evaluation, store) and file.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar10", "evaluation.ood: images must have shape (1, 8, 8) as digits (got (3, 32, 32))."),
        ("digits", "evaluation.ood: must be another data set than digits (got 'digits')."),
        ("nothing", "evaluation.ood: unknown dataset 'nothing'; choose from "),
    ],
)
def test_unfit_data_sets_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        trial(evaluation={"ood": name})
    (line,) = format_error(caught.value).splitlines()
    assert line.startswith(message)


def test_images_are_shared_by_all_trials() -> None:
    fields: dict[str, Any] = {"evaluation": {"ood": "noise"}}
    first, second = (trial(seed=seed, **fields).prerequisites() for seed in (0, 1))
    assert first == second and isinstance(first[0], OodImagesSpec) and str(first[0]) == "test images of noise"
