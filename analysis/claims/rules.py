"""Parts of a claim: rules over trials, and the expected mean over seeds.

A rule gives one number per seed. Arms (settings, methods, sparsities) in its scope may have different seeds. The rule
uses the seeds of one arm and all arms that have them, such that most trials count, with at least two seeds if any arm
has two. It averages over the arms of each method, then over methods. So seeds replicate one quantity, and an arm with
more seeds has no larger weight. Units are those of the value: fractions for accuracies, ratios for costs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from sparsweep.analysis.filters import TrialFilter, Value
from sparsweep.analysis.groups import ARM_KEYS, COMPARISON_KEYS, DENSE, most_accurate, pair_with_dense, replicates

Measured = Literal[
    "test_accuracy",
    "clean_accuracy",
    "corrupted_accuracy",
    "robust_accuracy",
    "fit_accuracy",
    "mean_corruption_accuracy",
    "worst_class_accuracy",
    "easy_accuracy",
    "hard_accuracy",
    "corruption_gap",
    "worst_class_gap",
    "hardness_gap",
    "ece",
    "adaptive_ece",
    "nll",
    "brier",
    "aurc",
    "ood_auroc_confidence",
    "ood_auroc_energy",
    "total_flops",
    "nonzero_parameters",
    "depth_contrast",
]
"""Columns of ``trials``, and those that :mod:`sparsweep.analysis.claims.measures` adds."""
PER_SAMPLE: frozenset[Measured] = frozenset({"easy_accuracy", "hard_accuracy", "hardness_gap"})
"""Values that are computed from the outcomes of samples."""


@dataclass(frozen=True)
class SeedValues:
    """One number per seed.

    Attributes:
        values: Numbers by seed.
        arms: Number of arms that were averaged.
        methods: Methods that were run.
        trials: Rows of the trials and their partners.
    """

    values: pd.Series
    arms: int = 0
    methods: tuple[str, ...] = ()
    trials: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)


class Expectation(Value):
    """Expected range of a mean: ``above`` or ``below`` a number, or ``within`` a distance of 0.

    Exactly one is given.
    """

    above: float | None = None
    below: float | None = None
    within: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(bound is not None for bound in (self.above, self.below, self.within)) != 1:
            raise ValueError("give exactly one of above, below, within")
        return self

    def judge(self, low: float, high: float) -> Literal["supported", "contradicted", "undecided"]:
        """Return whether the interval from ``low`` to ``high`` lies inside, outside, or across the boundary."""
        if self.within is not None:
            inside, outside = -self.within < low and high < self.within, low > self.within or high < -self.within
        elif self.above is not None:
            inside, outside = low > self.above, high < self.above
        else:
            inside, outside = high < self.bound(high), low > self.bound(low)
        return "supported" if inside else "contradicted" if outside else "undecided"

    def bound(self, mean: float) -> float:
        """Return the boundary nearest to ``mean``."""
        if self.within is not None:
            return self.within if mean > 0 else -self.within
        return next(bound for bound in (self.above, self.below) if bound is not None)


class _Rule(Value):
    """Scope and value of a part. ``rule`` names the kind."""

    says: str = Field(description="the part in words, of its methods")
    methods: tuple[str, ...] = Field(min_length=1)
    over_methods: Literal["mean", "median", "each"] = Field(
        default="mean", description="how methods are taken together; each: every one must do what is said"
    )
    value: Measured = "test_accuracy"
    where: TrialFilter = Field(default=TrialFilter(), description="added to the claim's own")
    best: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="only so many sparsities of each method: its most accurate ones in a comparison"
    )
    expect: Expectation

    def gains(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return ARM_KEYS, ``seed`` and ``gain`` (this rule's value), one row per trial of the methods."""
        raise NotImplementedError

    def sample(self, trials: pd.DataFrame, scope: TrialFilter) -> SeedValues:
        """Return one number per seed for the trials in ``scope``. Empty without trials of the methods or partners."""
        rows = trials[scope.match(trials) & trials[self.value].notna()]
        if not rows["sparsifier"].isin(self.methods).any():
            return SeedValues(pd.Series(dtype=float))
        gains = self.gains(rows)
        gains = gains[gains["sparsifier"].isin(self.methods)]
        found = self._reduce(
            gains if self.best is None else gains.merge(most_accurate(rows, self.best), on=list(ARM_KEYS))
        )
        return dataclasses.replace(found, trials=rows[rows["sparsifier"].isin((*self.methods, *self.partners))])

    @property
    def partners(self) -> tuple[str, ...]:
        """Methods to compare with."""
        return ()

    @property
    def needs_convergence(self) -> bool:
        """Whether under-training changes the meaning of the number. It does not for costs."""
        return self.value not in ("total_flops", "nonzero_parameters") or self.best is not None

    def _reduce(self, gains: pd.DataFrame) -> SeedValues:
        by_arm = gains.assign(arm=gains.groupby(list(ARM_KEYS), dropna=False).ngroup())
        table = by_arm.pivot(index=["sparsifier", "arm"], columns="seed", values="gain")
        if table.empty:
            return SeedValues(pd.Series(dtype=float))
        common = _common(table)
        of_methods = common.groupby("sparsifier").mean()
        values = of_methods.median() if self.over_methods == "median" else of_methods.mean()
        return SeedValues(values, len(common), tuple(of_methods.index))

    def split(self) -> Iterator[_Rule]:
        """Return the rules that must all hold: one per method if the part asks for each."""
        if self.over_methods != "each":
            yield self
            return
        for method in self.methods:
            yield self.model_copy(update={"methods": (method,), "over_methods": "mean"})


def _common(table: pd.DataFrame) -> pd.DataFrame:
    """Return the seeds (columns) of an arm and the arms (rows) that have all of them.

    Chosen for the most values, with two seeds or more if any arm has two.
    """
    there = table.notna()
    choices = [table.loc[:, seeds].dropna() for _, seeds in there.drop_duplicates().iterrows()]
    return max(choices, key=lambda part: (min(part.shape[1], 2), part.size, part.shape[1]))


class ValueRule(_Rule):
    """The value itself."""

    rule: Literal["level"]

    def gains(self, trials: pd.DataFrame) -> pd.DataFrame:
        return replicates(trials, self.value)[[*ARM_KEYS, "seed", self.value]].rename(columns={self.value: "gain"})


class Difference(_Rule):
    """The value minus that of ``to``, with the same seed in the same comparison.

    ``to``: dense, or methods at the same sparsity, which are averaged.
    """

    rule: Literal["difference"]
    to: tuple[str, ...] = (DENSE,)

    @property
    def partners(self) -> tuple[str, ...]:
        return self.to

    def gains(self, trials: pd.DataFrame) -> pd.DataFrame:
        pairs = self.pairs(trials)
        return pairs.assign(gain=pairs["value"] - pairs["partner"])

    def pairs(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return ARM_KEYS, ``seed``, ``value`` and ``partner``."""
        if self.to == (DENSE,):
            return pair_with_dense(trials, self.value).rename(columns={"dense": "partner"})
        rows = replicates(trials, self.value)
        place = [*COMPARISON_KEYS, "sparsity", "seed"]
        others = rows[rows["sparsifier"].isin(self.to)]
        partner = others.groupby(place, dropna=False)[self.value].mean().rename("partner").reset_index()
        own = rows[[*ARM_KEYS, "seed", self.value]].rename(columns={self.value: "value"})
        return own.merge(partner, on=place)


class Ratio(Difference):
    """The value divided by that of ``to``, minus 1."""

    rule: Literal["ratio"]  # type: ignore[assignment]

    def gains(self, trials: pd.DataFrame) -> pd.DataFrame:
        pairs = self.pairs(trials)
        return pairs.assign(gain=pairs["value"] / pairs["partner"] - 1)


class DifferenceInDifferences(Difference):
    """The difference to ``to`` in ``where``, minus the same difference in ``instead``."""

    rule: Literal["change"]  # type: ignore[assignment]
    instead: TrialFilter = Field(description="put in the place of where")

    def sample(self, trials: pd.DataFrame, scope: TrialFilter) -> SeedValues:
        here = super().sample(trials, scope)
        there = super().sample(trials, override_filter(scope, self.instead))
        methods = tuple(name for name in here.methods if name in there.methods)
        rows = pd.concat([here.trials, there.trials]).drop_duplicates("trial")
        return SeedValues((here.values - there.values).dropna(), here.arms + there.arms, methods, rows)


Part = Annotated[ValueRule | Difference | Ratio | DifferenceInDifferences, Field(discriminator="rule")]


class Claim(Value):
    """A statement that results can support or contradict. It holds if all its parts do."""

    claim: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="a short name")
    statement: str
    source: str = Field(description="where it was said")
    data: tuple[str, ...] = Field(default=(), description="dataset/model of the source; empty: any")
    where: TrialFilter = TrialFilter()
    parts: tuple[Part, ...] = Field(min_length=1)


def override_filter(scope: TrialFilter, more: TrialFilter) -> TrialFilter:
    """Return ``scope`` with the fields that ``more`` sets replaced."""
    return scope.model_copy(update={name: getattr(more, name) for name in more.model_fields_set})
