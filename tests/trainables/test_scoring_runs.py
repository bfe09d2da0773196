"""Scoring runs: all scores of one network in one run, the same whether it was interrupted or not, and never twice."""

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
from support.tiny_trials import inputs, part, trial, view_of

EPOCHS = 3
ALL = tuple(sorted(SCORES))
RANKED = [name for name in difficulties.names() if issubclass(difficulties[name], ScoreSelection)]


def scoring_spec(*scores: str, epochs: int = EPOCHS) -> ScoringSpec:
    recipe = {"epochs": 4, "batch_size": 20, "crop_padding": 1, "lr": 0.05}
    return ScoringSpec(trial=trial(recipe=recipe, data_ratio=1.0), epochs=epochs, scores=scores)


def open_here(spec: ScoringSpec, data: DeviceData, store: Store) -> ScoringRun:
    run = open_run(spec, inputs(data), store, "test")
    assert isinstance(run, ScoringRun)
    return run


def left(spec: ScoringSpec, store: Store) -> dict[str, list[float]]:
    return {score: store.read_scores(spec.id, score).tolist() for score in spec.scores}


@pytest.fixture(scope="module")
def data(digits: DeviceData) -> DeviceData:
    return part(digits, 120)


@pytest.fixture(scope="module")
def whole(data: DeviceData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """All scores of a run that was never interrupted."""
    store, spec = Store(str(tmp_path_factory.mktemp("whole"))), scoring_spec(*ALL)
    assert open_here(spec, data, store).run_for(float("inf")).is_finished
    return left(spec, store)


def test_every_ranked_difficulty_has_its_score() -> None:
    assert {difficulties.parse(name).score for name in RANKED} <= set(SCORES)  # type: ignore[attr-defined]
    assert set(RANKED) == set(difficulties.names()) & set(SCORES)


@pytest.mark.parametrize("score", ALL)
def test_a_score_tells_samples_apart_and_is_a_number(score: str, whole: dict[str, list[float]]) -> None:
    values = torch.tensor(whole[score])
    assert len(values) == 120 and values.isfinite().all() and len(values.unique()) > 1


def test_a_run_in_pieces_leaves_the_same_bits(whole: dict[str, list[float]], data: DeviceData, store: Store) -> None:
    """Closed after every epoch and opened again from its checkpoint, with all scores at once."""
    spec = scoring_spec(*ALL)
    for epoch in range(1, EPOCHS + 1):
        run = open_here(spec, data, store)
        assert run.progress.epoch == epoch - 1
        assert run.run_for(0).is_finished == (epoch == EPOCHS)
    assert left(spec, store) == whole
    assert store.checkpoints() == set()


@pytest.mark.parametrize("score", ALL)
def test_a_score_does_not_depend_on_what_else_is_asked(
    score: str, whole: dict[str, list[float]], data: DeviceData, store: Store
) -> None:
    """To look at a network, in whatever mode, does not change how it trains."""
    spec = scoring_spec(score)
    open_here(spec, data, store).run_for(float("inf"))
    assert left(spec, store) == {score: whole[score]}


def test_a_run_begun_without_a_score_starts_again_for_it(
    whole: dict[str, list[float]], data: DeviceData, store: Store
) -> None:
    open_here(scoring_spec("el2n"), data, store).run_for(0)
    spec = scoring_spec("aum", "el2n")
    run = open_here(spec, data, store)
    assert run.progress.epoch == 0
    run.run_for(float("inf"))
    assert left(spec, store) == {score: whole[score] for score in spec.scores}


def test_a_run_begun_for_more_goes_on_for_less(whole: dict[str, list[float]], data: DeviceData, store: Store) -> None:
    open_here(scoring_spec("aum", "el2n", "vog"), data, store).run_for(0)
    spec = scoring_spec("aum")
    run = open_here(spec, data, store)
    assert run.progress.epoch == 1
    run.run_for(float("inf"))
    assert left(spec, store) == {"aum": whole["aum"]}


def test_scores_that_are_there_are_not_made_again(data: DeviceData, store: Store) -> None:
    """Trials may have chosen their samples by them; on a GPU a second making could differ in the last bits."""
    open_here(scoring_spec("el2n"), data, store).run_for(float("inf"))
    path = Path(store.root, store.scores_path(scoring_spec("el2n").id, "el2n"))
    before = path.stat().st_mtime_ns
    both = scoring_spec("aum", "el2n")
    assert not is_finished(both, store)
    open_here(both, data, store).run_for(float("inf"))
    assert is_finished(both, store) and path.stat().st_mtime_ns == before


def test_a_run_that_died_while_it_wrote_goes_on_at_its_last_epoch(
    whole: dict[str, list[float]], data: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scoring_spec("aum", "el2n", "forgetting")
    for _ in range(EPOCHS - 1):
        open_here(spec, data, store).run_for(0)
    write = Store.write_scores

    def dying(store: Store, run: str, score: str, *values: object) -> None:
        if score == "forgetting":
            raise OSError("the power went")
        write(store, run, score, *values)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(OSError, match="the power went"):
        patch.setattr(Store, "write_scores", dying)
        open_here(spec, data, store).run_for(0)
    run = open_here(spec, data, store)
    assert run.progress.epoch == EPOCHS - 1 and set(run.scores) == {"forgetting"}
    assert run.run_for(0).is_finished
    assert left(spec, store) == {score: whole[score] for score in spec.scores}


def test_scores_that_are_no_numbers_are_not_left(
    data: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN has no place in a ranking: sorting would put it somewhere without a word."""
    monkeypatch.setitem(SCORES, "broken", lambda data: scores.FinalScore(lambda view: view.labels / 0.0 * 0.0, data))
    with pytest.raises(DivergedError, match="broken: unusable scores: 120 of 120 scores are not finite"):
        open_here(scoring_spec("broken"), data, store).run_for(float("inf"))
    assert store.artifacts("scores") == set()


def test_two_scores_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="score 'aum' is already registered"):
        scores.register_score("aum", SCORES["el2n"])


def test_parts_are_the_training_set_in_order(data: DeviceData, store: Store) -> None:
    view = view_of(open_here(scoring_spec("el2n"), data, store).training)
    for size, start, stop in ((7, 0, None), (120, 0, None), (5, 3, 17)):
        images, labels = zip(*view.batches(size, start, stop), strict=True)
        assert max(len(part) for part in labels) <= size
        assert torch.equal(torch.cat(labels), data.train_labels[start:stop])
        assert torch.equal(torch.cat(images), data.train_images[start:stop] / 255)
