"""Scoring runs: all scores of a network in one run, equal after an interruption, and never computed twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.difficulties.scores import base as scores
from sparsweep.trainables.difficulties.scores.base import SCORES
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.kinds import is_finished, open_run
from sparsweep.trainables.runs.scoring import ScoringRun
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.trainer import DivergedError
from support.tiny_trials import inputs, part, scoring_context, trial

EPOCHS = 3
ALL = tuple(sorted(SCORES))
RANKED = [name for name in difficulties.names() if issubclass(difficulties[name], ScoreSelection)]


def scoring_spec(*scores: str, epochs: int = EPOCHS) -> ScoringSpec:
    recipe = {"epochs": 4, "batch_size": 20, "crop_padding": 1, "lr": 0.05}
    return ScoringSpec(trial=trial(recipe=recipe, data_ratio=1.0), epochs=epochs, scores=scores)


def open_scoring_run(spec: ScoringSpec, data: DeviceData, store: Store) -> ScoringRun:
    run = open_run(spec, inputs(data), store, "test")
    assert isinstance(run, ScoringRun)
    return run


def stored_scores(spec: ScoringSpec, store: Store) -> dict[str, list[float]]:
    return {score: store.read_scores(spec.id, score).tolist() for score in spec.scores}


@pytest.fixture(scope="module")
def data(digits: DeviceData) -> DeviceData:
    return part(digits, 120)


@pytest.fixture(scope="module")
def uninterrupted(data: DeviceData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """Return all scores of a run without interruption."""
    store, spec = Store(str(tmp_path_factory.mktemp("uninterrupted"))), scoring_spec(*ALL)
    assert open_scoring_run(spec, data, store).run_for(float("inf")).is_finished
    return stored_scores(spec, store)


def test_every_ranked_difficulty_has_its_score() -> None:
    assert {difficulties.parse(name).score for name in RANKED} <= set(SCORES)  # type: ignore[attr-defined]
    assert set(RANKED) == set(difficulties.names()) & set(SCORES)


@pytest.mark.parametrize("score", ALL)
def test_scores_are_finite_and_differ_between_samples(score: str, uninterrupted: dict[str, list[float]]) -> None:
    values = torch.tensor(uninterrupted[score])
    assert len(values) == 120 and values.isfinite().all() and len(values.unique()) > 1


def test_interrupted_run_stores_the_same_bits(
    uninterrupted: dict[str, list[float]], data: DeviceData, store: Store
) -> None:
    """The run stops after every epoch and resumes from its checkpoint. It computes all scores."""
    spec = scoring_spec(*ALL)
    for epoch in range(1, EPOCHS + 1):
        run = open_scoring_run(spec, data, store)
        assert run.progress.epoch == epoch - 1
        assert run.run_for(0).is_finished == (epoch == EPOCHS)
    assert stored_scores(spec, store) == uninterrupted
    assert store.checkpoints() == set()


@pytest.mark.parametrize("score", ALL)
def test_score_does_not_depend_on_the_other_scores_of_the_run(
    score: str, uninterrupted: dict[str, list[float]], data: DeviceData, store: Store
) -> None:
    """Computing scores, in training or evaluation mode, does not change the training."""
    spec = scoring_spec(score)
    open_scoring_run(spec, data, store).run_for(float("inf"))
    assert stored_scores(spec, store) == {score: uninterrupted[score]}


def test_run_restarts_if_its_checkpoint_lacks_a_score(
    uninterrupted: dict[str, list[float]], data: DeviceData, store: Store
) -> None:
    open_scoring_run(scoring_spec("el2n"), data, store).run_for(0)
    spec = scoring_spec("aum", "el2n")
    run = open_scoring_run(spec, data, store)
    assert run.progress.epoch == 0
    run.run_for(float("inf"))
    assert stored_scores(spec, store) == {score: uninterrupted[score] for score in spec.scores}


def test_run_resumes_with_fewer_scores_than_its_checkpoint(
    uninterrupted: dict[str, list[float]], data: DeviceData, store: Store
) -> None:
    open_scoring_run(scoring_spec("aum", "el2n", "vog"), data, store).run_for(0)
    spec = scoring_spec("aum")
    run = open_scoring_run(spec, data, store)
    assert run.progress.epoch == 1
    run.run_for(float("inf"))
    assert stored_scores(spec, store) == {"aum": uninterrupted["aum"]}


def test_stored_scores_are_not_computed_again(data: DeviceData, store: Store) -> None:
    """Trials may have selected their samples with them. On a GPU, new scores could differ in the last bits."""
    open_scoring_run(scoring_spec("el2n"), data, store).run_for(float("inf"))
    path = Path(store.root, store.scores_path(scoring_spec("el2n").id, "el2n"))
    before = path.stat().st_mtime_ns
    both = scoring_spec("aum", "el2n")
    assert not is_finished(both, store)
    open_scoring_run(both, data, store).run_for(float("inf"))
    assert is_finished(both, store) and path.stat().st_mtime_ns == before


def test_run_that_failed_while_writing_resumes_at_its_last_epoch(
    uninterrupted: dict[str, list[float]], data: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scoring_spec("aum", "el2n", "forgetting")
    for _ in range(EPOCHS - 1):
        open_scoring_run(spec, data, store).run_for(0)
    write = Store.write_scores

    def failing_write(store: Store, run: str, score: str, *values: object) -> None:
        if score == "forgetting":
            raise OSError("power failure")
        write(store, run, score, *values)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(OSError, match="power failure"):
        patch.setattr(Store, "write_scores", failing_write)
        open_scoring_run(spec, data, store).run_for(0)
    run = open_scoring_run(spec, data, store)
    assert run.progress.epoch == EPOCHS - 1 and set(run.scores) == {"forgetting"}
    assert run.run_for(0).is_finished
    assert stored_scores(spec, store) == {score: uninterrupted[score] for score in spec.scores}


def test_scores_that_are_not_finite_are_not_stored(
    data: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN cannot be ranked. Sorting would put NaN scores at some position without an error."""
    monkeypatch.setitem(SCORES, "broken", lambda data: scores.FinalScore(lambda view: view.labels / 0.0 * 0.0, data))
    with pytest.raises(DivergedError, match="broken: unusable scores: 120 of 120 scores are not finite"):
        open_scoring_run(scoring_spec("broken"), data, store).run_for(float("inf"))
    assert store.artifacts("scores") == set()


def test_second_score_of_the_same_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="score 'aum' is already registered"):
        scores.register_score("aum", SCORES["el2n"])


def test_batches_of_a_view_are_the_training_set_in_order(data: DeviceData, store: Store) -> None:
    view = scoring_context(open_scoring_run(scoring_spec("el2n"), data, store).training)
    for size, start, stop in ((7, 0, None), (120, 0, None), (5, 3, 17)):
        images, labels = zip(*view.batches(size, start, stop), strict=True)
        assert max(len(part) for part in labels) <= size
        assert torch.equal(torch.cat(labels), data.train_labels[start:stop])
        assert torch.equal(torch.cat(images), data.train_images[start:stop] / 255)
