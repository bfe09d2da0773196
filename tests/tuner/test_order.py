"""In which order runs are released, and what that costs: operations are counted, not seconds."""

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
DEAR = BASE.replace("EPOCHS", "9") + "grids: [{sparsifier: dense, seed: [1, 2]}]"
CHEAP = BASE.replace("EPOCHS", "2") + "grids: [{sparsifier: dense, seed: [1, 2, 3]}]"
CHAINS = BASE.replace("EPOCHS", "2") + (
    "grids: [{sparsifier: dense, seed: {from: 1, to: SEEDS, step: 1}}, "
    "{sparsifier: [lth, omp], sparsity: .5, seed: {from: 1, to: SEEDS, step: 1}}]"
)


def chains(seeds: int) -> Sweep:
    """``seeds`` dense trials, for each of which two others wait."""
    return parse_sweep(CHAINS.replace("SEEDS", str(seeds)), "chains")


def released(sweep: Sweep) -> list[str]:
    """All runs in the order of their release, each finished at once."""
    graph = build_graph(sweep.trials)
    todo = frozenset(graph.runs)
    release = RunQueue(graph, todo, scheduling_key(sweep, graph, todo))
    order = []
    while (run := release.next()) is not None:
        order.append(run)
        release.finish(run)
    assert release.exhausted
    return order


@pytest.fixture
def several(tmp_path: Path) -> str:
    """A sweep that includes a dear and a cheap one, and has a point of its own."""
    for name, text in {"dear": DEAR, "cheap": CHEAP}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    own = BASE.replace("EPOCHS", "30") + "grids: [{sparsifier: dense}]\n"
    return f"{own}include: [{tmp_path}/dear.yaml, {tmp_path}/cheap.yaml]\n"


def epochs(sweep: Sweep) -> list[int]:
    return [sweep.trials[run].recipe.epochs for run in released(sweep)]


def test_the_cheapest_figure_comes_first(several: str) -> None:
    sweep = parse_sweep(several, "several")
    assert sweep.figures == {"dear": 1, "cheap": 1}
    assert [len(part) for part in sweep.trials_by_figure] == [2, 3, 1]
    assert epochs(sweep) == [2, 2, 2, 9, 9, 30]


def test_another_order_can_be_asked_for(several: str) -> None:
    assert epochs(parse_sweep(several, "several", ["order=longest"])) == [30, 9, 9, 2, 2, 2]
    assert epochs(parse_sweep(several, "several", ["order=file"])) == [9, 9, 2, 2, 2, 30]
    with pytest.raises(SweepError, match=r"order: .*'figures', 'longest' or 'file'"):
        parse_sweep(several, "several", ["order=cheapest"])


def test_figures_and_order_are_kept_with_the_sweep(several: str) -> None:
    sweep = parse_sweep(several, "several", ["order=file"])
    again = parse_sweep(sweep.dump(), "several")
    assert again == sweep and again.trials_by_figure == sweep.trials_by_figure


def test_a_figure_costs_what_of_it_is_still_to_do(several: str) -> None:
    """The dear figure's two trials of 9 epochs cost more than one of 15; one of them alone does not."""
    sweep = parse_sweep(several.replace("epochs: 30", "epochs: 15"), "several")
    assert epochs(sweep) == [2, 2, 2, 15, 9, 9]
    graph = build_graph(sweep.trials)
    todo = [run for run in graph.runs if run != sweep.trials_by_figure[0][0]]
    order = sorted(todo, key=scheduling_key(sweep, graph, todo))
    assert [sweep.trials[run].recipe.epochs for run in order] == [2, 2, 2, 9, 15]


def test_what_several_figures_share_belongs_to_the_first(tmp_path: Path) -> None:
    """The dense parent of the cheap figure's ticket is a point of the dear one."""
    (tmp_path / "dear.yaml").write_text(DEAR)
    ticket = BASE.replace("EPOCHS", "9") + "grids: [{sparsifier: lth, sparsity: .5, seed: 1}]\n"
    sweep = parse_sweep(f"{ticket}include: [{tmp_path}/dear.yaml]\n", "tickets", ["recipe.lr=.05"])
    order = [sweep.trials[run] for run in released(sweep)]
    assert [(trial.sparsifier.name, trial.seed) for trial in order] == [("dense", 1), ("dense", 2), ("lth", 1)]


def test_equal_shapes_follow_each_other_the_longest_first() -> None:
    text = BASE.replace("EPOCHS", "[1, 5, 3]") + (
        "grids: [{sparsifier: dense, model: [{name: resnet8, width: 0.5}, {name: resnet8, width: 1.0}]}]"
    )
    sweep = parse_sweep(text, "shapes")
    found = [(sweep.trials[run].model.width, sweep.trials[run].recipe.epochs) for run in released(sweep)]
    assert found == [(1.0, 5), (1.0, 3), (1.0, 1), (0.5, 5), (0.5, 3), (0.5, 1)]


def test_what_many_wait_for_comes_before_what_takes_long() -> None:
    text = BASE.replace("EPOCHS", "2") + (
        "grids: [{sparsifier: dense, seed: [1, 2]}, {sparsifier: omp, sparsity: [.5, .8], seed: 2},"
        " {sparsifier: random, sparsity: .5, recipe: {epochs: 50}}]"
    )
    sweep = parse_sweep(text, "waiting")
    first, *rest = [sweep.trials[run] for run in released(sweep)]
    assert (first.sparsifier.name, first.seed) == ("dense", 2)
    assert rest[0].recipe.epochs == 50
    assert training_flops(rest[0]) == max(training_flops(trial) for trial in rest)


# What it costs --------------------------------------------------------------------------------------------------------


class Counted(defaultdict[str, list[str]]):
    """Who waits for a run, and how often that was asked for."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


@pytest.mark.parametrize("seeds", [10, 50])
def test_a_run_costs_the_same_in_a_small_and_a_large_sweep(seeds: int) -> None:
    """A key for each run, and one look at who waits for it when it is released and when it ends."""
    graph, keys = build_graph(chains(seeds).trials), Counter[str]()
    graph.dependents = Counted(list, graph.dependents)
    order = longest_first(graph)

    def counted(run: str) -> Any:
        keys[run] += 1
        return order(run)

    release = RunQueue(graph, frozenset(graph.runs), counted)
    while (run := release.next()) is not None:
        release.finish(run)
    assert set(keys.values()) == {1} and len(keys) == 3 * seeds
    assert graph.dependents.asked == 2 * 3 * seeds


@pytest.mark.parametrize("seeds", [10, 50])
def test_a_failure_costs_what_it_blocks(seeds: int) -> None:
    sweep = chains(seeds)
    graph = build_graph(sweep.trials)
    release = RunQueue(graph, frozenset(graph.runs))
    first = release.next()
    assert first is not None
    graph.dependents = Counted(list, graph.dependents)
    assert {sweep.trials[run].sparsifier.name for run in release.fail(first)} == {"lth", "omp"}
    assert graph.dependents.asked == 3  # the one that failed, and the two that waited for it
    assert len(release.unmet) == 2 * (seeds - 1)


def test_a_failure_blocks_at_any_distance() -> None:
    text = BASE.replace("EPOCHS", "2") + "grids: [{sparsifier: {name: lth, rounds: 3}, sparsity: .8}]"
    graph = build_graph(parse_sweep(text, "rounds").trials)
    release = RunQueue(graph, frozenset(graph.runs))
    dense = release.next()
    assert dense is not None and len(release.fail(dense)) == 3
    assert release.exhausted and not release.pending


@pytest.mark.parametrize("seeds", [2, 20])
def test_the_store_is_listed_once_whatever_the_number_of_trials(
    seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    names = Store.list_ids
    monkeypatch.setattr(Store, "list_ids", lambda store, folder: listed.append(folder) or names(store, folder))
    compute_state(build_graph(chains(seeds).trials), Store(str(tmp_path)))
    assert max(Counter(listed).values()) <= 2 and len(listed) <= 8


class Told(GraphSearch):
    """A search whose trials are their ids."""

    def trial(self, run: str, **config: Any) -> Any:
        self.in_flight.add(run)
        return run


def test_tune_holds_no_more_trials_than_can_run() -> None:
    graph = build_graph(chains(5).trials)
    search = Told(RunQueue(graph, frozenset(graph.runs)), limit=2)
    first, second = search.next_trial(), search.next_trial()
    assert first and second and search.next_trial() is None
    search.on_trial_complete(str(first), {"done": True})
    assert search.next_trial() is not None and search.next_trial() is None
    search.draining = True
    search.on_trial_complete(str(second), {"done": True})
    assert search.next_trial() is None and search.is_finished()


def test_a_cluster_that_may_grow_is_told_of_all_that_could_run() -> None:
    graph = build_graph(chains(5).trials)
    search = Told(RunQueue(graph, frozenset(graph.runs)))
    assert sum(search.next_trial() is not None for _ in range(20)) == 5


def test_tune_keeps_nothing_of_a_trial_but_its_newest_result() -> None:
    trial = RunTrial("none", trial_id="abc", config={"run": "abc"}, stub=True)
    for epoch in range(50):
        trial.update_last_result({"epoch": epoch, "training_iteration": epoch})
    assert trial.last_result == {"epoch": 49, "training_iteration": 49, "trial_id": "abc"}
    assert trial.metric_analysis == {}
    assert trial.get_json_state() == ("{}", "{}")
