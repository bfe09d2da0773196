"""The points of a sweep whose seeds grow (see ``seeds``): a function of the sweep and of the results there are.

A point is an arm (everything but the seed) with so many seeds; each is paired with dense of the same seed, which is a
point too. Whether an arm gets another seed is decided on its first n pairs, for n from ``from`` on and in the order
of the seeds, so a resume comes to the same decisions, and trials that another sweep has finished change none.

Looking again after every seed makes chance findings likelier than ``level`` says of one look: of normal differences
around 0, 16.7 % have an interval of 95 % clear of 0 at some look from n = 3 to 10, and 4.3 % one of 99 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from sparsweep.trainables.sparsifiers.base import dense_counterpart
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.adaptive_seeds import AdaptiveSeeds
from sparsweep.tuner.config.sweep import Sweep

OUTCOME = "test_accuracy"


def is_undecided(differences: Sequence[float], seeds: AdaptiveSeeds) -> bool:
    """Whether Student's interval of the mean of ``differences`` [n >= 2] contains 0 and is wider than the margin."""
    if np.ptp(differences) == 0:
        return False  # an interval of no width
    low, high = stats.ttest_1samp(differences, 0.0).confidence_interval(seeds.level)
    return bool(low <= 0 <= high and high - low > seeds.margin)


class AdaptiveSeedPlan:
    """The trials that a sweep with ``seeds`` has by now: :meth:`finished` adds to them."""

    def __init__(self, sweep: Sweep) -> None:
        assert sweep.seeds is not None
        self.seeds = sweep.seeds
        self.trials: dict[str, TrialSpec] = {}
        self._accuracy: dict[str, float] = {}
        self._pairs: dict[str, list[tuple[str, str]]] = {}  # by the arm's trial of the first seed: arm and dense
        self._arms: defaultdict[str, list[TrialSpec]] = defaultdict(list)  # that are compared by a trial
        for arm in sweep.trials.values():
            if arm.seed == self.seeds.first:
                self._pairs[arm.id] = []
                self._add(arm, self.seeds.start)

    def add_results(self, accuracy: Mapping[str, float]) -> list[TrialSpec]:
        """Take in the accuracies of finished trials, by id; returns the trials that they add."""
        self._accuracy |= accuracy
        arms = {arm.id: arm for trial in accuracy for arm in self._arms[trial]}
        return [trial for arm in arms.values() if self._needs_more(arm) for trial in self._add(arm, 1)]

    def _needs_more(self, arm: TrialSpec) -> bool:
        pairs = self._pairs[arm.id]
        known = all(trial in self._accuracy for pair in pairs for trial in pair)
        if len(pairs) >= self.seeds.most or not known:
            return False
        return is_undecided([self._accuracy[sparse] - self._accuracy[dense] for sparse, dense in pairs], self.seeds)

    def _add(self, arm: TrialSpec, count: int) -> list[TrialSpec]:
        """``count`` more seeds for ``arm``; returns the trials that are new to the sweep."""
        pairs, new = self._pairs[arm.id], []
        for seed in self.seeds.numbers(len(pairs) + count)[len(pairs) :]:
            sparse = arm.replace(seed=seed)
            dense = dense_counterpart(sparse)
            pairs.append((sparse.id, dense.id))
            for trial in (dense, sparse):
                self._arms[trial.id].append(arm)
                if trial.id not in self.trials:
                    self.trials[trial.id] = trial
                    new.append(trial)
        return new


def update_from_store(growth: AdaptiveSeedPlan, new: Iterable[TrialSpec], store: Store) -> list[TrialSpec]:
    """Take in what the store knows of ``new`` trials, and of those that this adds; returns all that were added."""
    added: list[TrialSpec] = []
    while new := growth.add_results(accuracies(new, store)):
        added += new
    return added


def accuracies(trials: Iterable[TrialSpec], store: Store) -> dict[str, float]:
    """Test accuracies of those of ``trials`` that are finished."""
    wanted = [trial.id for trial in trials]
    table, _ = tables.read_table(store.storage, "trials", wanted, ["trial", OUTCOME])
    return {row["trial"]: row[OUTCOME] for row in table.to_pylist() if row[OUTCOME] is not None}


def load_plan(sweep: Sweep, store: Store) -> AdaptiveSeedPlan:
    """The growth of ``sweep`` as the results in ``store`` have it."""
    growth = AdaptiveSeedPlan(sweep)
    update_from_store(growth, list(growth.trials.values()), store)
    return growth
