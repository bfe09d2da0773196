"""Graph of trials and prerequisites: each run occurs once, in order. The store determines the runs left to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.execution import ExecutionConfig
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.planning.estimate import (
    estimate,
    estimate_hours,
    format_estimate,
    load_throughput_model,
    node_cost,
    num_images,
    training_flops,
)
from sparsweep.tuner.planning.graph import build_graph, compute_artifact_state, compute_state
from sparsweep.tuner.state import calibration

Runner = Callable[..., list[str]]


def test_prerequisites_are_in_the_graph_once_and_before_dependents(small: Sweep) -> None:
    graph = build_graph(small.trials)
    assert set(graph.trials) == set(small.trials)
    # Both data ratios and all methods share two scoring runs. The dense prerequisites are trials of the sweep.
    assert [type(graph.runs[run]) for run in graph.prerequisite_runs] == [ScoringSpec, ScoringSpec]
    order = {run: position for position, run in enumerate(graph.runs)}
    assert all(order[need] < order[run] for run, needs in graph.prerequisites.items() for need in needs)
    lth = next(trial for trial in small.trials.values() if trial.sparsifier.name == "lth")
    dense = lth.replace(sparsifier="dense", sparsity=0.0)
    assert dense.id in small.trials
    assert set(graph.prerequisites[lth.id]) == {dense.id, *graph.prerequisite_runs}


def test_each_run_is_trained_exactly_once(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    trained = run_here(small)
    # 2 data ratios x (dense, 3 methods x 2 sparsities, snip) and 2 scoring runs, each exactly once.
    assert len(trained) == len(set(trained)) == 2 * (1 + 3 * 2 + 1) + 2
    store = Store(str(tmp_path))
    dense = [trial.id for trial in small.trials.values() if trial.sparsifier.name == "dense"]
    assert len([run for run in trained if run in dense]) == 2
    assert store.finished() == set(small.trials)
    assert run_here(small) == []


def test_only_new_trials_are_trained(small: Sweep, run_here: Runner) -> None:
    run_here(small)
    larger = parse_sweep(small.dump().replace("0.8", "0.9"), "wider")
    new = set(larger.trials) - set(small.trials)
    assert len(new) == 3 * 2
    assert set(run_here(larger)) == new


def test_lost_artifact_is_recreated_only_if_needed(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    lth = next(t for t in small.trials.values() if t.sparsifier.name == "lth" and t.data_ratio == 0.1)
    dense = lth.replace(sparsifier="dense", sparsity=0.0)
    store.delete(store.artifact_path("weights", dense.id))
    assert run_here(small) == []  # all dependents are finished
    store.delete(f"results/trials/{lth.id}.parquet")
    assert run_here(small) == [dense.id, lth.id]


def test_only_requested_artifacts_are_recreated(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store, graph = Store(str(tmp_path)), build_graph(small.trials)
    lth = next(t for t in small.trials.values() if t.sparsifier.name == "lth" and t.data_ratio == 0.1)
    dense = lth.replace(sparsifier="dense", sparsity=0.0)
    assert compute_artifact_state(graph, [lth.id], store).todo == set()
    store.delete(store.artifact_path("weights", dense.id))
    # The artifact of lth exists, so its prerequisite is not needed.
    assert compute_artifact_state(graph, [lth.id], store).todo == set()
    for path in store.artifact_paths():
        store.delete(path)
    assert compute_state(graph, store).todo == set()
    assert compute_artifact_state(graph, [lth.id], store).todo == {lth.id, dense.id, *graph.prerequisites[dense.id]}
    assert compute_artifact_state(graph, graph.prerequisite_runs, store).todo == set(graph.prerequisite_runs)


def test_failed_run_blocks_only_its_dependents(small: Sweep, tmp_path: Path) -> None:
    store, graph = Store(str(tmp_path)), build_graph(small.trials)
    dense = next(t for t in small.trials.values() if t.sparsifier.name == "dense" and t.data_ratio == 0.1)
    store.write_failure(dense.id, "small", RuntimeError("no luck"))
    state = compute_state(graph, store)
    dependents = {run for run, needs in graph.prerequisites.items() if dense.id in needs}
    assert state.failed == {dense.id}
    assert state.blocked == dict.fromkeys(dependents, dense.id)
    assert state.ready == state.todo - dependents - {dense.id}
    assert state.retried().ready == state.todo


def test_failed_scoring_run_blocks_all_transitive_dependents(small: Sweep, tmp_path: Path) -> None:
    store, graph = Store(str(tmp_path)), build_graph(small.trials)
    score = graph.prerequisite_runs[0]
    store.write_failure(score, "small", RuntimeError("no luck"))
    state = compute_state(graph, store)
    assert set(state.blocked) == set(small.trials)
    assert set(state.blocked.values()) == {score}


def test_queue_releases_no_run_before_its_prerequisites(small: Sweep) -> None:
    graph = build_graph(small.trials)
    queue = RunQueue(graph, frozenset(graph.runs))
    first = [queue.next(), queue.next()]
    assert set(first) == set(graph.prerequisite_runs)
    assert queue.next() is None  # all others have unfinished prerequisites
    assert not queue.exhausted
    queue.finish(first[0])
    assert queue.next() is None
    queue.finish(first[1])
    dense = {queue.next(), queue.next()}  # runs with many dependents come before snip
    assert {graph.runs[run].sparsifier.name for run in dense} == {"dense"}
    released = set()
    for parent in sorted(dense):
        queue.finish(parent)
    while (run := queue.next()) is not None:
        released.add(run)
    assert released == set(graph.trials) - dense
    assert queue.exhausted


def test_queue_drops_dependents_of_a_failed_run(small: Sweep) -> None:
    graph = build_graph(small.trials)
    queue = RunQueue(graph, frozenset(graph.runs))
    first, second = queue.next(), queue.next()
    assert set(queue.fail(first)) == set(graph.trials)
    assert queue.next() is None
    assert queue.exhausted
    queue.finish(second)
    assert queue.exhausted


def test_training_flops_match_worked_example() -> None:
    spec = TrialSpec.model_validate(
        {"dataset": "digits", "model": "resnet18", "sparsifier": "dense", "data_ratio": 0.3, "recipe": {"epochs": 2}}
    )
    assert num_images(spec) == 2 * round(0.3 * 1437)
    # ResNet18, 32 pixels, 10 classes: 555,422,720 multiply-adds per image, 2 operations each, 3 passes.
    assert training_flops(spec) == 3 * 2 * 555_422_720 * num_images(spec)
    assert training_flops(ScoringSpec.of(spec, 1000, 1, "el2n")) == 3 * 2 * 555_422_720 * 1437


def test_hours_are_estimated_from_finished_trials(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    store, specs = Store(str(tmp_path)), list(build_graph(small.trials).runs.values())
    assert estimate_hours(specs, load_throughput_model(store, ExecutionConfig())) == (None, [])
    run_here(parse_sweep(small.dump(), "small", ["sparsity=.5", "data_ratio=.1"]))
    rates = load_throughput_model(store, ExecutionConfig())
    hours, sources = estimate_hours(specs, rates)
    assert hours is not None and hours > 0
    assert sources == ["from 5 finished trials"]
    assert estimate_hours([*specs, *specs], rates) == (pytest.approx(2 * hours), sources)
    finished = estimate(parse_sweep(small.dump(), "small", ["sparsity=.5", "data_ratio=.1"]), store)
    assert format_estimate(finished)[-1].endswith("none: no training left")
    other = [TrialSpec.model_validate({"dataset": "digits", "model": "resnet18", "sparsifier": "dense"})]
    assert estimate_hours(other, rates) == (None, [])


def test_hours_are_estimated_from_a_calibration_without_finished_trials(small: Sweep, tmp_path: Path) -> None:
    store, graph = Store(str(tmp_path)), build_graph(small.trials)
    trial = next(iter(small.trials.values()))
    kind = calibration.step_kind(trial, ExecutionConfig())
    for rate, card in ((50.0, "an old card"), (100.0, "NVIDIA H200"), (None, "a small card")):
        calibration.save_measurement({"what": "rate", "kind": kind, "card": card, "images_per_second": rate}, store)
    facts = estimate(small, store)
    assert facts["hours"] == pytest.approx(sum(num_images(spec) for spec in graph.runs.values()) / 100 / 3600)
    assert facts["hours_rest_on"] == ["calibrated on NVIDIA H200"]
    assert format_estimate(facts)[-1].endswith(" s sequentially, calibrated on NVIDIA H200")
    for change in ("recipe.batch_size=64", "resources.execution.compile=true"):
        other = estimate(parse_sweep(small.dump(), "small", [change]), store)
        assert other["hours"] is None and format_estimate(other)[-1].endswith(
            "unknown. Measure the speed: sparsweep calibrate"
        )


SEVERAL_SCORES = """
base:
  dataset: digits
  model: resnet8
  recipe: {preset: digits, epochs: 4}
  data_ratio: [0.1, 0.2]
grids:
  - sparsifier: dense
    difficulty: {name: [el2n, forgetting, aum, grand], runs: 1, epoch: 4}
  - sparsifier: dense
    difficulty: {name: prediction_depth, runs: 1}
"""


def test_several_scores_of_the_same_networks_share_one_run() -> None:
    """A score with ``epoch: 4`` and a score over all four epochs share the run."""
    graph = build_graph(parse_sweep(SEVERAL_SCORES, "several").trials)
    (run,) = (graph.runs[need] for need in graph.prerequisite_runs)
    assert isinstance(run, ScoringSpec)
    assert run.scores == ("aum", "el2n", "forgetting", "grand", "prediction_depth")
    assert len(graph.trials) == 5 * 2
    assert all(graph.prerequisites[point] == (run.id,) for point in graph.trials)


def test_scoring_run_is_todo_until_all_scores_exist(tmp_path: Path) -> None:
    graph, store = build_graph(parse_sweep(SEVERAL_SCORES, "several").trials), Store(str(tmp_path))
    (need,) = graph.prerequisite_runs
    labels, values = np.zeros(3, dtype=np.int64), np.zeros(3)
    run = graph.runs[need]
    assert isinstance(run, ScoringSpec)
    for score in run.scores:
        assert need in compute_state(graph, store).todo
        store.write_scores(need, score, labels, values)
    assert need not in compute_state(graph, store).todo


def test_node_cost_divides_the_hours_by_trials_per_node() -> None:
    # 12 hours sequentially, four trials at a time: three hours of one node.
    facts = {"hours": 12.0}
    assert node_cost(facts, node_hour=1.5, trials_per_node=4) == {"cost": 4.5, "node_hour": 1.5}
    assert node_cost({"hours": None}, node_hour=1.5, trials_per_node=4)["cost"] is None
