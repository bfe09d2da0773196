"""Runs from the first epoch to the result rows: stored output, and resuming."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from sparsweep.trainables.difficulties.scores.el2n import el2n
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.runs.scoring import ScoringRun
from sparsweep.trainables.runs.trial import TrialRun
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.run import RunSpec, from_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import provenance
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.trainer import DivergedError
from support.tiny_trials import TIMES, inputs, trial


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set fixed package versions. In a checkout the package has no version."""
    monkeypatch.setattr(provenance, "version", lambda name: "1.2.3" if name == "sparsweep" else "4.5.6")
    for cached in (provenance.versions, provenance.loaded_code):
        cached.cache_clear()
    yield
    for cached in (provenance.versions, provenance.loaded_code):
        cached.cache_clear()


def complete(spec: RunSpec, data: DeviceData, store: Store, at_once: float = math.inf) -> int:
    """Run ``spec`` and its prerequisites to the end. Return the number of calls of ``run_for``."""
    for parent in spec.prerequisites():
        complete(parent, data, store)
    calls = 0
    run = open_run(spec, inputs(data), store, "test")
    while not run.progress.is_finished:
        run.run_for(at_once)
        calls += 1
    return calls


def table(store: Store, name: str) -> pd.DataFrame:
    return pd.read_parquet(Path(store.root, "results", name))


def test_rows_of_a_trial_are_consistent(digits: DeviceData, store: Store) -> None:
    spec = trial(sparsifier={"name": "set", "update_every": 0.5}, sparsity=0.9, seed=3, evaluation={"every": 2})
    complete(spec, digits, store)
    assert store.finished() == {spec.id} and store.checkpoints() == set()
    (row,) = table(store, "trials").to_dict("records")
    epochs, layers = table(store, "epochs"), table(store, "layers")
    assert {*epochs["trial"], *layers["trial"], row["trial"]} == {spec.id}
    assert (row["sweep"], row["dataset"], row["model"], row["sparsifier"]) == ("test", "digits", "resnet8", "set")
    assert (row["sparsity"], row["data_ratio"], row["seed"], row["epochs"]) == (0.9, 0.1, 3, 2)
    assert (row["difficulty"], row["profile"], row["samples"]) == ("none", "clean", 144)
    # The result is that of the last epoch.
    assert epochs["epoch"].tolist() == [1, 2]
    assert epochs["test_accuracy"].isna().tolist() == [True, False]
    last = epochs.iloc[-1]
    assert row["test_accuracy"] == row["clean_accuracy"] == last["test_accuracy"]
    assert (row["train_accuracy"], row["train_loss"]) == (last["train_accuracy"], last["train_loss"])
    assert row["density"] == last["density"]
    assert pd.isna(row["corrupted_accuracy"]) and pd.isna(row["robust_accuracy"])
    # The sums over the layers are those of the network.
    weights, nonzero = int(layers["weights"].sum()), int(layers["nonzero"].sum())
    assert nonzero == round(0.1 * weights) and row["density"] == nonzero / weights
    assert row["nonzero_parameters"] == row["parameters"] - weights + nonzero
    assert (layers["density"] == layers["nonzero"] / layers["weights"]).all()
    assert layers["flops"].sum() == pytest.approx(row["inference_flops"], rel=1e-12)
    assert row["train_flops"] == pytest.approx(3 * row["inference_flops"] * 144 * 2, rel=0.2)
    assert layers["position"].tolist() == list(range(len(layers)))
    assert layers["layer"].iloc[0] == "conv1.weight"
    assert layers["kind"].tolist() == ["conv"] * (len(layers) - 1) + ["linear"]
    # The row contains the complete specification.
    loaded = from_json(row["spec"])
    assert loaded == spec and loaded.id == spec.id
    assert json.loads(row["sparsifier_parameters"]) == spec.sparsifier.model_dump(exclude={"name"})
    assert json.loads(row["milestones"]) == [0.5, 0.75]
    assert (row["batch_size"], row["lr"], row["flip"], row["precision"]) == (32, 0.02, False, "fp32")
    assert row["evaluation_every"] == 2
    assert json.loads(row["versions"]).keys() == {"python", "sparsweep", "torch", "numpy"}
    assert row["started_at"] <= row["finished_at"]
    assert row["seconds"] > 0 and row["images_per_second"] > 0


def test_parameter_counts_are_those_of_the_network(digits: DeviceData, store: Store) -> None:
    """resnet8 at full width has 77,072 maskable weights and 2 x 336 parameters of batch norm."""
    complete(trial(model="resnet8", recipe={"preset": "digits", "epochs": 1}), digits, store)
    (row,) = table(store, "trials").to_dict("records")
    assert (row["parameters"], row["nonzero_parameters"], row["density"]) == (77_744, 77_744, 1.0)
    assert row["train_flops"] == pytest.approx(3 * row["inference_flops"] * 144)


METHODS = {name: 0.5 if name == "nm" else 0.8 for name in sparsifiers.names() if name not in {"dense", "static"}}


@pytest.mark.parametrize(("name", "sparsity"), METHODS.items())
def test_stored_weights_are_zero_where_masked(name: str, sparsity: float, digits: DeviceData, store: Store) -> None:
    spec = trial(sparsifier=name, sparsity=sparsity)
    complete(spec, digits, store)
    stored = store.read_weights(spec.id)
    layers = table(store, "layers").query("trial == @spec.id").set_index("layer")
    assert list(stored["masks"]) == list(layers.index)
    for layer, mask in stored["masks"].items():
        assert mask.dtype == torch.bool and mask.shape == stored["model"][layer].shape
        assert not stored["model"][layer][~mask].any()
        assert int(mask.sum()) == layers["nonzero"][layer]
        # Float32 weights are never exactly zero by chance. The stored masks therefore match the weights.
        assert torch.count_nonzero(stored["model"][layer]) >= 0.9 * mask.sum() - 1


def test_stored_weights_give_the_recorded_test_accuracy(digits: DeviceData, store: Store) -> None:
    spec = trial(sparsifier="snip", sparsity=0.5)
    complete(spec, digits, store)
    model = build_model(spec, digits)
    model.load_state_dict(store.read_weights(spec.id)["model"])
    with torch.no_grad():
        hits = model.eval()(digits.test_images.float() / 255).argmax(1) == digits.test_labels
    assert table(store, "trials")["test_accuracy"].item() == pytest.approx(int(hits.sum()) / 360, abs=1e-12)


def comparable(store: Store, name: str) -> pd.DataFrame:
    frame = table(store, name)
    return frame.drop(columns=[column for column in TIMES if column in frame])


@pytest.mark.parametrize("name", ["dense", "set", "gmp", "omp"])
def test_interrupted_run_equals_an_uninterrupted_run(name: str, digits: DeviceData, tmp_path: Path) -> None:
    """The run stops after every epoch and resumes from its checkpoint."""
    method = {"name": name, **({"update_every": 1} if name in {"set", "gmp"} else {})}
    recipe = {"preset": "digits", "epochs": 4}
    spec = trial(sparsifier=method, sparsity=0.0 if name == "dense" else 0.8, recipe=recipe)
    reference, pieces = Store(str(tmp_path / "reference")), Store(str(tmp_path / "pieces"))
    complete(spec, digits, reference)
    for parent in spec.prerequisites():
        complete(parent, digits, pieces)
    for epoch in range(1, 5):
        run = open_run(spec, inputs(digits), pieces, "test")
        assert run.progress.epoch == epoch - 1
        progress = run.run_for(0)
        assert (progress.epoch, progress.epochs, progress.is_finished) == (epoch, 4, epoch == 4)
        assert progress.last is not None and progress.last.epoch == epoch
        assert pieces.checkpoints() == ({spec.id} if epoch < 4 else set())
    for results in ("trials", "epochs", "layers"):
        pd.testing.assert_frame_equal(comparable(pieces, results), comparable(reference, results), check_exact=True)
    first, second = (store.read_weights(spec.id) for store in (reference, pieces))
    for part in ("model", "masks"):
        assert all(torch.equal(first[part][key], second[part][key]) for key in first[part])


def test_seconds_are_summed_over_all_attempts(digits: DeviceData, store: Store) -> None:
    spec = trial()
    open_run(spec, inputs(digits), store, "test").run_for(0)
    saved = store.read_checkpoint(spec.id)
    assert saved is not None
    store.write_checkpoint(spec.id, {**saved, "seconds": 1000.0})
    complete(spec, digits, store)
    assert 1000 < table(store, "trials")["seconds"].item() < 1100


def test_damaged_checkpoint_restarts_the_run(
    digits: DeviceData, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    spec = trial()
    open_run(spec, inputs(digits), store, "test").run_for(0)
    path = Path(store.root, f"checkpoints/{spec.id}.pt")
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        run = open_run(spec, inputs(digits), store, "test")
    assert run.progress.epoch == 0 and "damaged" in caplog.text
    while not run.progress.is_finished:
        run.run_for(math.inf)
    assert store.finished() == {spec.id} and len(table(store, "epochs")) == 2


def test_run_for_trains_until_its_time_is_over(digits: DeviceData, store: Store) -> None:
    assert complete(trial(), digits, store, at_once=math.inf) == 1
    assert complete(trial(seed=1), digits, store, at_once=0) == 2


def test_diverged_training_stores_no_result(digits: DeviceData, store: Store) -> None:
    spec = trial(recipe={"preset": "digits", "epochs": 2, "lr": 1e30})
    with pytest.raises(DivergedError):
        complete(spec, digits, store)
    assert store.finished() == set() and store.artifacts("weights") == set()


def test_nonzero_masked_weight_is_never_stored(digits: DeviceData, store: Store) -> None:
    spec = trial(sparsifier="random", sparsity=0.5)
    run = open_run(spec, inputs(digits), store, "test")
    assert isinstance(run, TrialRun)
    run.run_for(0)
    name, mask = next((name, mask) for name, mask in run.training.masks.items() if not mask.all())
    with torch.no_grad():
        run.training.weights[name][~mask] = 1e-6
    with pytest.raises(AssertionError, match="a masked weight is not zero"):
        run.finish()
    assert store.finished() == set() and store.artifacts("weights") == set()


def test_missing_prerequisite_is_an_error_with_its_id(digits: DeviceData, store: Store) -> None:
    spec = trial(sparsifier="omp", sparsity=0.5)
    (parent,) = spec.prerequisites()
    with pytest.raises(FileNotFoundError, match=parent.id):
        open_run(spec, inputs(digits), store, "test")


def test_scoring_run_stores_the_scores_of_all_training_samples(digits: DeviceData, store: Store) -> None:
    spec = ScoringSpec.of(trial(), 1000, 1, "el2n")
    run = open_run(spec, inputs(digits), store, "test")
    assert run.progress.epochs == 1, "the epochs of the scoring run, not those of the trial"
    run.run_for(math.inf)
    assert (
        store.artifacts("scores") == {f"{spec.id}-el2n"} and store.finished() == set() and store.checkpoints() == set()
    )
    scores = store.read_scores(spec.id, "el2n")
    expected = el2n(run.training.network.logits(digits.train_images), digits.train_labels)
    assert len(scores) == 1437 and scores.tolist() == expected.tolist()
    stored = pd.read_parquet(Path(store.root, f"artifacts/scores/{spec.id}-el2n.parquet"))
    assert stored.columns.tolist() == ["sample", "label", "score"]
    assert stored["label"].tolist() == digits.train_labels.tolist()


def test_trial_trains_on_the_samples_that_the_scores_select(digits: DeviceData, store: Store) -> None:
    difficulty = {"name": "el2n", "runs": 2, "epoch": 1}
    recipe = {"preset": "digits", "epochs": 1}
    spec = trial(sparsifier="uniform", sparsity=0.5, difficulty=difficulty, data_ratio=0.1, recipe=recipe)
    scorings = spec.prerequisites()
    assert len(scorings) == 2
    complete(spec, digits, store)
    mean = sum(torch.tensor(store.read_scores(run.id, "el2n")) for run in scorings) / 2
    assert isinstance(mean, torch.Tensor)
    hardest = mean.argsort(descending=True, stable=True)[:144].sort().values
    run = open_run(spec, inputs(digits), store, "test")
    assert isinstance(run, TrialRun)
    assert torch.equal(run.training.batches.indices, hardest)
    assert table(store, "trials").query("trial == @spec.id")["samples"].item() == 144


def test_trained_trial_is_the_trial_itself_or_the_trial_of_the_scoring_run() -> None:
    spec = trial()
    assert spec.trained_trial is spec
    assert ScoringSpec(trial=spec, epochs=1, scores=("el2n",)).trained_trial == spec


def test_versions_state_the_packages_that_compute_the_result() -> None:
    versions: dict[str, Any] = json.loads(provenance.versions())
    assert (versions["sparsweep"], versions["torch"], versions["numpy"]) == ("1.2.3", "4.5.6", "4.5.6")


def test_kind_of_spec_determines_the_kind_of_run(digits: DeviceData, store: Store) -> None:
    spec: TrialSpec = trial()
    scoring = ScoringSpec(trial=spec, epochs=1, scores=("el2n",))
    assert type(open_run(spec, inputs(digits), store, "test")) is TrialRun
    assert type(open_run(scoring, inputs(digits), store, "test")) is ScoringRun
