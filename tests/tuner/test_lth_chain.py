"""Iterative lottery tickets in a sweep file: a chain through the sparsities of the grid."""

from __future__ import annotations

from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.planning.graph import build_graph

GRID = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 2}}
grids:
  - sparsifier: dense
  - sparsifier: {name: lth, through: [0.2, 0.5, 0.8]}
    sparsity: [0.8, 0.2, 0.5]
"""


def test_every_round_is_a_trial_of_the_grid() -> None:
    graph = build_graph(parse_sweep(GRID, "chain").trials)
    by_sparsity = {graph.runs[point].sparsity: point for point in graph.trials}
    assert sorted(by_sparsity) == [0.0, 0.2, 0.5, 0.8] and not graph.prerequisite_runs
    for before, after in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8)):
        assert graph.prerequisites[by_sparsity[after]] == (by_sparsity[before],)


def test_rewinding_adds_one_snapshot_for_all_rounds() -> None:
    rewound = GRID.replace("0.8]}", "0.8], rewind_to: 1}")
    graph = build_graph(parse_sweep(rewound, "chain").trials)
    (snapshot,) = graph.prerequisite_runs
    assert len(graph.dependents[snapshot]) == 3


def test_list_of_lists_sweeps_over_chains() -> None:
    two_chains = GRID.replace("through: [0.2, 0.5, 0.8]", "through: [[0.2], [0.5]]")
    # At sparsity 0.2 both chains are one-shot and give the same trial.
    assert len(build_graph(parse_sweep(two_chains, "chain").trials).trials) == 1 + 1 + 2 + 2
