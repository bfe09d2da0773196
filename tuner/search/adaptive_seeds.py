"""Plan of a sweep with adaptive seeds (``seeds``): its trials as a function of the sweep and of stored results.

An arm is a trial without its seed. Each seed of an arm is paired with dense of the same seed, which is an arm too. The
decision about another seed uses the first n pairs in the order of the seeds, starting with n = ``from``. Therefore a
resume makes the same decisions, and finished trials of other sweeps do not change them.

Repeated tests after every seed increase the false positive rate above that of one test at ``level``. Simulation with
normal differences of mean 0: the 95 % interval excludes 0 at some n from 3 to 10 in 16.7 % of cases. For the 99 %
interval, the rate is 4.3 %.
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
    """Return whether a comparison with dense is undecided.

    It is undecided if Student's t interval of the mean difference contains 0 and is wider than the margin.

    Args:
        differences: Paired differences in test accuracy, at least 2.
        seeds: Margin and confidence level.
    """
    if np.ptp(differences) == 0:
        return False  # the interval has width 0
    low, high = stats.ttest_1samp(differences, 0.0).confidence_interval(seeds.level)
    return bool(low <= 0 <= high and high - low > seeds.margin)


class AdaptiveSeedPlan:
    """Current trials of a sweep with adaptive seeds. :meth:`add_results` adds trials.

    Attributes:
        seeds: The settings of the sweep.
        trials: Current trials by id.
    """

    def __init__(self, sweep: Sweep) -> None:
        assert sweep.seeds is not None
        self.seeds = sweep.seeds
        self.trials: dict[str, TrialSpec] = {}
        self._accuracy: dict[str, float] = {}
        self._pairs: dict[str, list[tuple[str, str]]] = {}  # (arm, dense) ids per seed, by the arm's first trial
        self._arms: defaultdict[str, list[TrialSpec]] = defaultdict(list)  # arms whose comparison uses a trial
        for arm in sweep.trials.values():
            if arm.seed == self.seeds.first:
                self._pairs[arm.id] = []
                self._add(arm, self.seeds.start)

    def add_results(self, accuracy: Mapping[str, float]) -> list[TrialSpec]:
        """Add the test accuracies of finished trials, by id. Return the trials of further seeds."""
        self._accuracy |= accuracy
        arms = {arm.id: arm for trial in accuracy for arm in self._arms[trial]}
        return [trial for arm in arms.values() if self._needs_more(arm) for trial in self._add(arm, 1)]

    def _needs_more(self, arm: TrialSpec) -> bool:
        pairs = self._pairs[arm.id]
        is_complete = all(trial in self._accuracy for pair in pairs for trial in pair)
        if len(pairs) >= self.seeds.most or not is_complete:
            return False
        return is_undecided([self._accuracy[sparse] - self._accuracy[dense] for sparse, dense in pairs], self.seeds)

    def _add(self, arm: TrialSpec, count: int) -> list[TrialSpec]:
        """Add ``count`` seeds to ``arm``. Return the trials that are new to the sweep."""
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
    """Add stored results of ``new`` trials, and repeatedly of the trials that these add.

    Args:
        growth: The plan to update.
        new: Trials that may be finished.
        store: The storage.

    Returns:
        All added trials.
    """
    added: list[TrialSpec] = []
    while new := growth.add_results(accuracies(new, store)):
        added += new
    return added


def accuracies(trials: Iterable[TrialSpec], store: Store) -> dict[str, float]:
    """Return the test accuracies of the finished ones of ``trials`` by id."""
    wanted = [trial.id for trial in trials]
    table, _ = tables.read_table(store.storage, "trials", wanted, ["trial", OUTCOME])
    return {row["trial"]: row[OUTCOME] for row in table.to_pylist() if row[OUTCOME] is not None}


def load_plan(sweep: Sweep, store: Store) -> AdaptiveSeedPlan:
    """Load the adaptive-seed plan of ``sweep`` from stored results."""
    plan = AdaptiveSeedPlan(sweep)
    update_from_store(plan, list(plan.trials.values()), store)
    return plan
