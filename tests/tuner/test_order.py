"""Release order of runs, and its cost in operations instead of seconds."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep, SweepError, parse_sweep
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.search import GraphSearch
from sparsweep.tuner.execution.tune_adapter import RunTrial
from sparsweep.tuner.planning.estimate import training_flops
from sparsweep.tuner.planning.graph import build_graph, compute_state
from sparsweep.tuner.planning.schedule import longest_first, scheduling_key

BASE = "base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: EPOCHS}}\n"
EXPENSIVE = BASE.replace("EPOCHS", "9") + "grids: [{sparsifier: dense, seed: [1, 2]}]"
CHEAP = BASE.replace("EPOCHS", "2") + "grids: [{sparsifier: dense, seed: [1, 2, 3]}]"
CHAINS = BASE.replace("EPOCHS", "2") + (
    "grids: [{sparsifier: dense, seed: {from: 1, to: SEEDS, step: 1}}, "
    "{sparsifier: [lth, omp], sparsity: .5, seed: {from: 1, to: SEEDS, step: 1}}]"
)


def chains(seeds: int) -> Sweep:
    """Return a sweep of ``seeds`` dense trials with two dependents each."""
    return parse_sweep(CHAINS.replace("SEEDS", str(seeds)), "chains")


def release_order(sweep: Sweep) -> list[str]:
    """Return all runs in order of release. Each run finishes immediately."""
    graph = build_graph(sweep.trials)
    todo = frozenset(graph.runs)
    queue = RunQueue(graph, todo, scheduling_key(sweep, graph, todo))
    order = []
    while (run := queue.next()) is not None:
        order.append(run)
        queue.finish(run)
    assert queue.exhausted
    return order


@pytest.fixture
def sweep_text(tmp_path: Path) -> str:
    """Sweep file that includes an expensive and a cheap sweep and has one additional trial."""
    for name, text in {"expensive": EXPENSIVE, "cheap": CHEAP}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    own_grid = BASE.replace("EPOCHS", "30") + "grids: [{sparsifier: dense}]\n"
    return f"{own_grid}include: [{tmp_path}/expensive.yaml, {tmp_path}/cheap.yaml]\n"


def epochs(sweep: Sweep) -> list[int]:
    return [sweep.trials[run].recipe.epochs for run in release_order(sweep)]


def test_cheapest_figure_is_first(sweep_text: str) -> None:
    sweep = parse_sweep(sweep_text, "several")
    assert sweep.figures == {"expensive": 1, "cheap": 1}
    assert [len(part) for part in sweep.trials_by_figure] == [2, 3, 1]
    assert epochs(sweep) == [2, 2, 2, 9, 9, 30]


def test_other_orders_can_be_selected(sweep_text: str) -> None:
    assert epochs(parse_sweep(sweep_text, "several", ["order=longest"])) == [30, 9, 9, 2, 2, 2]
    assert epochs(parse_sweep(sweep_text, "several", ["order=file"])) == [9, 9, 2, 2, 2, 30]
    with pytest.raises(SweepError, match=r"order: .*'figures', 'longest' or 'file'"):
        parse_sweep(sweep_text, "several", ["order=cheapest"])


def test_dumped_sweep_keeps_figures_and_order(sweep_text: str) -> None:
    sweep = parse_sweep(sweep_text, "several", ["order=file"])
    reparsed = parse_sweep(sweep.dump(), "several")
    assert reparsed == sweep and reparsed.trials_by_figure == sweep.trials_by_figure


def test_cost_of_a_figure_is_its_unfinished_trials(sweep_text: str) -> None:
    """The two trials of the expensive figure (9 epochs each) cost more than one of 15 epochs. One of them does not."""
    sweep = parse_sweep(sweep_text.replace("epochs: 30", "epochs: 15"), "several")
    assert epochs(sweep) == [2, 2, 2, 15, 9, 9]
    graph = build_graph(sweep.trials)
    todo = [run for run in graph.runs if run != sweep.trials_by_figure[0][0]]
    order = sorted(todo, key=scheduling_key(sweep, graph, todo))
    assert [sweep.trials[run].recipe.epochs for run in order] == [2, 2, 2, 9, 15]


def test_shared_runs_belong_to_the_first_figure(tmp_path: Path) -> None:
    """The dense prerequisite of the LTH trial is also a trial of the expensive figure."""
    (tmp_path / "expensive.yaml").write_text(EXPENSIVE)
    ticket = BASE.replace("EPOCHS", "9") + "grids: [{sparsifier: lth, sparsity: .5, seed: 1}]\n"
    sweep = parse_sweep(f"{ticket}include: [{tmp_path}/expensive.yaml]\n", "tickets", ["recipe.lr=.05"])
    order = [sweep.trials[run] for run in release_order(sweep)]
    assert [(trial.sparsifier.name, trial.seed) for trial in order] == [("dense", 1), ("dense", 2), ("lth", 1)]


def test_equal_shapes_are_consecutive_with_the_longest_first() -> None:
    text = BASE.replace("EPOCHS", "[1, 5, 3]") + (
        "grids: [{sparsifier: dense, model: [{name: resnet8, width: 0.5}, {name: resnet8, width: 1.0}]}]"
    )
    sweep = parse_sweep(text, "shapes")
    order = [(sweep.trials[run].model.width, sweep.trials[run].recipe.epochs) for run in release_order(sweep)]
    assert order == [(1.0, 5), (1.0, 3), (1.0, 1), (0.5, 5), (0.5, 3), (0.5, 1)]


def test_runs_with_many_dependents_come_before_long_runs() -> None:
    text = BASE.replace("EPOCHS", "2") + (
        "grids: [{sparsifier: dense, seed: [1, 2]}, {sparsifier: omp, sparsity: [.5, .8], seed: 2},"
        " {sparsifier: random, sparsity: .5, recipe: {epochs: 50}}]"
    )
    sweep = parse_sweep(text, "waiting")
    first, *later = [sweep.trials[run] for run in release_order(sweep)]
    assert (first.sparsifier.name, first.seed) == ("dense", 2)
    assert later[0].recipe.epochs == 50
    assert training_flops(later[0]) == max(training_flops(trial) for trial in later)


# Number of operations -------------------------------------------------------------------------------------------------


class CountingDependents(defaultdict[str, list[str]]):
    """Dependents of runs, with a count of the look-ups."""

    lookups = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.lookups += 1
        return super().get(key, default)


@pytest.mark.parametrize("seeds", [10, 50])
def test_operations_per_run_do_not_depend_on_the_sweep_size(seeds: int) -> None:
    """One key per run, and two look-ups of its dependents: at release and at the end."""
    graph, keys = build_graph(chains(seeds).trials), Counter[str]()
    graph.dependents = CountingDependents(list, graph.dependents)
    order = longest_first(graph)

    def counting_key(run: str) -> Any:
        keys[run] += 1
        return order(run)

    queue = RunQueue(graph, frozenset(graph.runs), counting_key)
    while (run := queue.next()) is not None:
        queue.finish(run)
    assert set(keys.values()) == {1} and len(keys) == 3 * seeds
    assert graph.dependents.lookups == 2 * 3 * seeds


@pytest.mark.parametrize("seeds", [10, 50])
def test_cost_of_a_failure_is_the_number_of_blocked_runs(seeds: int) -> None:
    sweep = chains(seeds)
    graph = build_graph(sweep.trials)
    queue = RunQueue(graph, frozenset(graph.runs))
    first = queue.next()
    assert first is not None
    graph.dependents = CountingDependents(list, graph.dependents)
    assert {sweep.trials[run].sparsifier.name for run in queue.fail(first)} == {"lth", "omp"}
    assert graph.dependents.lookups == 3  # the failed run and its two dependents
    assert len(queue.unmet) == 2 * (seeds - 1)


def test_failure_blocks_transitive_dependents() -> None:
    text = BASE.replace("EPOCHS", "2") + "grids: [{sparsifier: {name: lth, rounds: 3}, sparsity: .8}]"
    graph = build_graph(parse_sweep(text, "rounds").trials)
    queue = RunQueue(graph, frozenset(graph.runs))
    dense = queue.next()
    assert dense is not None and len(queue.fail(dense)) == 3
    assert queue.exhausted and not queue.pending


@pytest.mark.parametrize("seeds", [2, 20])
def test_number_of_listings_does_not_depend_on_the_number_of_trials(
    seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[str] = []
    names = Store.list_ids
    monkeypatch.setattr(Store, "list_ids", lambda store, folder: folders.append(folder) or names(store, folder))
    compute_state(build_graph(chains(seeds).trials), Store(str(tmp_path)))
    assert max(Counter(folders).values()) <= 2 and len(folders) <= 8


class SearchOfIds(GraphSearch):
    """Search that returns run ids as trials."""

    def trial(self, run: str, **config: Any) -> Any:
        self.in_flight.add(run)
        return run


def test_tune_gets_no_more_trials_than_the_limit() -> None:
    graph = build_graph(chains(5).trials)
    search = SearchOfIds(RunQueue(graph, frozenset(graph.runs)), limit=2)
    first, second = search.next_trial(), search.next_trial()
    assert first and second and search.next_trial() is None
    search.on_trial_complete(str(first), {"done": True})
    assert search.next_trial() is not None and search.next_trial() is None
    search.draining = True
    search.on_trial_complete(str(second), {"done": True})
    assert search.next_trial() is None and search.is_finished()


def test_autoscaling_cluster_gets_all_ready_trials() -> None:
    graph = build_graph(chains(5).trials)
    search = SearchOfIds(RunQueue(graph, frozenset(graph.runs)))
    assert sum(search.next_trial() is not None for _ in range(20)) == 5


def test_tune_keeps_only_the_newest_result_of_a_trial() -> None:
    trial = RunTrial("none", trial_id="abc", config={"run": "abc"}, stub=True)
    for epoch in range(50):
        trial.update_last_result({"epoch": epoch, "training_iteration": epoch})
    assert trial.last_result == {"epoch": 49, "training_iteration": 49, "trial_id": "abc"}
    assert trial.metric_analysis == {}
    assert trial.get_json_state() == ("{}", "{}")
