"""Outcomes of every sample: what a trial writes, and what an evaluation of its weights writes again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.data import ImageData
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import is_finished, open_run
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.specs.run import RunSpec, from_json, to_json
from sparsweep.trainables.specs.trial import Evaluation, TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from support.tiny_trials import trial

ATTACK = {"name": "adversarial", "steps": 1, "test_steps": 2}
CORRUPTION = {"name": "corruption", "types": "gaussian_noise", "severity": 5}
CASES: dict[str, dict[str, Any]] = {
    "plain": {"evaluation": {"outcomes": ["test", "train", "clean"]}},
    "corrupted": {"difficulty": CORRUPTION, "evaluation": {"outcomes": ["test", "corrupted", "clean"]}},
    "clean tests": {
        "difficulty": {**CORRUPTION, "test_severity": 0},
        "evaluation": {"outcomes": ["test", "clean"]},
    },
    "attacked": {"difficulty": ATTACK, "evaluation": {"outcomes": ["test", "robust"]}},
    "held out": {
        "dataset": {"name": "digits", "validation": 100},
        "evaluation": {"outcomes": ["validation", "train"]},
    },
    "noisy": {"difficulty": {"name": "label_noise", "fraction": 0.4}, "evaluation": {"outcomes": ["train"]}},
}
COLUMNS = {"test": "test", "clean": "clean", "corrupted": "corrupted", "robust": "robust", "validation": "validation"}


@pytest.fixture
def inputs(digits: DeviceData, raw_digits: ImageData) -> RunInputs:
    held_out = trial(**CASES["held out"]).dataset.validation

    def device_data(spec: TrialSpec) -> DeviceData:
        if not spec.dataset.validation:
            return digits
        images, labels = digits.train_images, digits.train_labels
        kept = {"train_images": images[:-held_out], "train_labels": labels[:-held_out]}
        rest = {"validation_images": images[-held_out:], "validation_labels": labels[-held_out:]}
        return replace(digits, **kept, **rest)

    return RunInputs(lambda: raw_digits, device_data)


def complete(spec: RunSpec, inputs: RunInputs, store: Store) -> None:
    for parent in spec.prerequisites():
        complete(parent, inputs, store)
    run = open_run(spec, inputs, store, "test")
    while not run.progress.is_finished:
        run.run_for(1e9)


def rows(store: Store, spec: TrialSpec, split: str) -> pd.DataFrame:
    return pd.read_parquet(f"{store.root}/{store.outcomes_path(spec.id, split)}")


@pytest.mark.parametrize("case", CASES)
def test_mean_of_correct_is_the_accuracy_of_the_split(case: str, inputs: RunInputs, store: Store) -> None:
    spec = trial(**CASES[case])
    complete(spec, inputs, store)
    (row,) = tables.read_table(store.storage, "trials")[0].to_pylist()
    for split in spec.evaluation.outcomes:
        found = rows(store, spec, split)
        column = "fit_accuracy" if split == "train" else f"{COLUMNS[split]}_accuracy"
        assert found["correct"].mean() == row[column], split
        assert (found["correct"] == (found["prediction"] == found["label"])).all()
        assert set(found["split"]) == {split} and set(found["trial"]) == {spec.id}
        assert found["sample"].is_unique and found["sample"].is_monotonic_increasing
        assert np.allclose(-np.log(found["label_probability"].astype(float)), found["loss"], rtol=5e-3, atol=5e-3)
        assert (found["confidence"] >= found["label_probability"]).all()
    assert is_finished(spec, store)


def test_training_outcomes_are_those_of_the_samples_of_the_trial(
    inputs: RunInputs, digits: DeviceData, store: Store
) -> None:
    spec = trial(**CASES["plain"])
    complete(spec, inputs, store)
    chosen = spec.difficulty.select(spec, digits.train_labels, None)  # type: ignore[attr-defined]
    found = rows(store, spec, "train")
    assert found["sample"].tolist() == chosen.tolist() and len(found) == spec.num_samples
    assert found["label"].tolist() == digits.train_labels[chosen].tolist()


def test_labels_are_those_after_label_noise(inputs: RunInputs, digits: DeviceData, store: Store) -> None:
    spec = trial(**CASES["noisy"], data_ratio=1.0)
    complete(spec, inputs, store)
    found = rows(store, spec, "train")
    changed = (torch.tensor(found["label"].to_numpy().astype(int)) != digits.train_labels[found["sample"]]).double()
    assert changed.mean().item() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("case", CASES)
def test_evaluation_of_the_weights_writes_the_same_bytes(case: str, inputs: RunInputs, store: Store) -> None:
    spec = trial(**CASES[case])
    complete(spec, inputs, store)
    files = {split: Path(store.root, store.outcomes_path(spec.id, split)) for split in spec.evaluation.outcomes}
    before = {split: file.read_bytes() for split, file in files.items()}
    first, *others = files.values()
    first.unlink()
    times = [file.stat().st_mtime_ns for file in others]
    evaluation = EvaluationSpec(trial=spec)
    assert not is_finished(evaluation, store)
    complete(evaluation, inputs, store)
    assert is_finished(evaluation, store)
    assert {split: file.read_bytes() for split, file in files.items()} == before
    assert [file.stat().st_mtime_ns for file in others] == times, "existing outcomes are not written again"


def test_a_repeated_trial_keeps_its_outcomes(inputs: RunInputs, store: Store) -> None:
    spec = trial()
    complete(spec, inputs, store)
    file = Path(store.root, store.outcomes_path(spec.id, "test"))
    file.write_bytes(b"kept")
    store.delete(store.artifact_path("weights", spec.id))
    complete(spec, inputs, store)
    assert file.read_bytes() == b"kept" and store.exists(store.artifact_path("weights", spec.id))


def test_a_trial_that_runs_again_replaces_its_outcomes(inputs: RunInputs, store: Store) -> None:
    """Its result was removed, so older outcomes may be those of other code."""
    spec = trial()
    complete(spec, inputs, store)
    file = Path(store.root, store.outcomes_path(spec.id, "test"))
    before = file.read_bytes()
    file.write_bytes(b"of other code")
    store.delete(store.result_path("trials", spec.id))
    complete(spec, inputs, store)
    assert file.read_bytes() == before


def test_outcomes_are_part_of_a_spec_and_not_of_its_id() -> None:
    plain, more = trial(), trial(evaluation={"outcomes": ["train", "test", "train"]})
    assert plain.evaluation.outcomes == ("test",) and more.evaluation.outcomes == ("test", "train")
    assert plain.id == more.id and plain.comparison == more.comparison and plain != more
    assert from_json(to_json(more)) == more
    assert plain.merge(more) == more.merge(plain) == more and plain.merge(trial()) is plain
    evaluation = EvaluationSpec(trial=plain)
    assert evaluation.id == EvaluationSpec(trial=more).id != plain.id
    assert from_json(to_json(evaluation)) == evaluation
    assert trial(evaluation={"every": 2}).id != plain.id and Evaluation(outcomes=[]).outcomes == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outcomes": ["nope"]}, "evaluation.outcomes"),
        ({"outcomes": ["robust"]}, "evaluation.outcomes: robust needs a difficulty with an attack (got ['robust'])"),
        ({"outcomes": ["corrupted"]}, "evaluation.outcomes: corrupted needs a difficulty that corrupts test images"),
        ({"outcomes": ["validation"]}, "evaluation.outcomes: validation needs dataset.validation above 0"),
    ],
)
def test_unknown_splits_are_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        trial(evaluation=fields)
    (line,) = format_error(caught.value).splitlines()
    assert line.startswith(message)


def test_stored_types_are_small_and_readers_widen_them(inputs: RunInputs, store: Store) -> None:
    spec = trial()
    complete(spec, inputs, store)
    stored = pq.read_schema(f"{store.root}/{store.outcomes_path(spec.id, 'test')}")
    assert {str(stored.field(name).type) for name in ("confidence", "label_probability", "loss")} == {"halffloat"}
    assert {str(stored.field(name).type) for name in ("label", "prediction")} == {"uint16"}
    everything = rows(store, spec, "test")
    middle = float(everything["confidence"].astype(float).median())
    filters = [[("confidence", ">", middle), ("correct", "==", True)]]
    found, damaged = tables.read_table(store.storage, "outcomes", columns=["sample", "confidence"], filters=filters)
    assert not damaged and str(found.schema.field("confidence").type) == "float"
    chosen = everything[(everything["confidence"] > middle) & everything["correct"]]
    assert found["sample"].to_pylist() == chosen["sample"].tolist() and 0 < len(chosen) < len(everything)
