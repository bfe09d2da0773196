"""Results for the commands: trial tables, remarks and claims. Apart from the commands, only this file uses analysis."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsweep.tuner.cli.session import open_sweeps
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.terminal import print_message

if TYPE_CHECKING:
    import pandas as pd

    from sparsweep.analysis.claims import Claim, Verdict
    from sparsweep.analysis.convergence import Convergence
    from sparsweep.analysis.results import Results
    from sparsweep.trainables.specs.trial import TrialSpec
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep

SHOWN = ("trial", "state", "sparsifier", "sparsity", "difficulty", "data_ratio", "seed", "test_accuracy")
"""Columns that every listing of trials shows."""


def with_outcomes(results: Results, store: Store) -> Results:
    """Return ``results`` with the outcomes of their trials, and the test images that figures show."""
    from dataclasses import replace

    from sparsweep.analysis import results as tables
    from sparsweep.analysis.example_images import load_test_images
    from sparsweep.analysis.figures import exemplar_images

    found = tables.with_outcomes(results, store.storage)
    return replace(found, test_images=load_test_images(exemplar_images.wanted(found.trials, found.outcomes)))


def load_results(names: list[str], overrides: list[str], storage: str) -> tuple[list[Sweep], Store, Results]:
    """Load sweeps as recorded by their last run here, with their results. Log the number of unfinished trials.

    Args:
        names: The sweeps.
        overrides: ``path=value`` strings.
        storage: A folder or address.

    Raises:
        UsageError: None of their trials is finished or failed here.
    """
    described, store = open_sweeps(names, overrides, storage)
    results = results_of(described, store)
    if results.trials.empty and results.failures.empty:
        raise nothing_finished(described, storage)
    return described, store, results


def results_of(sweeps: list[Sweep], store: Store) -> Results:
    """Return the results of sweeps. Log the number of unfinished trials."""
    from dataclasses import replace

    from sparsweep.analysis.example_images import Ranking
    from sparsweep.analysis.results import load_results
    from sparsweep.trainables.runs.spec_columns import planned_trials
    from sparsweep.tuner.planning.trials import current_trials, score_rankings

    trials = {trial: spec for sweep in sweeps for trial, spec in current_trials(sweep, store).items()}
    results = load_results(store.storage, trials, [Ranking(*key) for key in score_rankings(trials.values())])
    allowed = [trial for sweep in sweeps if sweep.allow_undertrained for trial in current_trials(sweep, store)]
    set_plugin_styles()
    done = len(results.trials)
    if 0 < done < len(trials):  # without any finished trial, the commands themselves print a message
        print_message(f"{len(trials) - done} of {len(trials)} trials are not finished: excluded")
    return replace(
        results,
        trials=with_evaluations_of(trials, results.trials, store),
        allowed=frozenset(allowed),
        asked=planned_trials(trials.values()).to_pandas(),
        searches=studies(sweeps, store),
    )


def with_evaluations_of(specs: Mapping[str, TrialSpec], trials: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Return ``trials`` with the summaries of the evaluations that ``specs`` ask for, by id."""
    from sparsweep.analysis.load import load_ood, load_shifts
    from sparsweep.analysis.shifts import with_evaluations

    images = {
        trial: [run.id for run in (*spec.evaluation.shift_runs(spec), *spec.evaluation.ood_runs)]
        for trial, spec in specs.items()
    }
    asked = {trial: runs for trial, runs in images.items() if runs}
    if not asked:
        return trials
    shifts, foreign = load_shifts(store.storage, asked), load_ood(store.storage, asked)
    return with_evaluations(trials, shifts, foreign, asked)


def studies(sweeps: list[Sweep], store: Store) -> dict[str, Any]:
    """Return the Optuna study of each search among ``sweeps``, by name."""
    searches = [sweep for sweep in sweeps if sweep.search is not None]
    if not searches:
        return {}
    from sparsweep.tuner.search.study import OptunaStudy  # slow import: about 1 s

    return {sweep.name: OptunaStudy(sweep, store).study for sweep in searches}


def set_plugin_styles() -> None:
    """Register the labels and colors of plug-in methods for figures.

    Raises:
        UsageError: A color is invalid.
    """
    from sparsweep.analysis.figures import style
    from sparsweep.trainables.sparsifiers import sparsifiers

    with in_one_line():
        for name in sparsifiers.names():
            style.state(name, sparsifiers[name].label, sparsifiers[name].color)


@contextmanager
def in_one_line(option: str = "") -> Iterator[None]:
    """Convert a ValueError into a UsageError whose message starts with ``option``."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{option}{error}") from None


def nothing_finished(sweeps: list[Sweep], storage: str) -> UsageError:
    """Return the error of a command that needs results if no trial is finished."""
    names = ", ".join(sweep.name for sweep in sweeps)
    return UsageError(f"{names}: no trial has finished in {storage}. See the reasons: sparsweep status")


@dataclass(frozen=True)
class Remarks:
    """Warnings about the finished trials of a sweep.

    Attributes:
        convergence: Numbers of converged and under-trained trials.
        other_code: Trials that ran with different code than this process, by module.
    """

    convergence: Convergence
    other_code: Mapping[str, Collection[str]]

    @classmethod
    def on(cls, sweep: Sweep, store: Store) -> Remarks:
        """Compute the remarks from the finished trials of ``sweep`` in ``store``."""
        from sparsweep.analysis.convergence import COLUMNS, Convergence
        from sparsweep.analysis.load import load_trials
        from sparsweep.trainables.storage.provenance import load_code
        from sparsweep.tuner.planning.forgetting import by_module
        from sparsweep.tuner.planning.trials import current_trials

        trials = load_trials(store.storage, current_trials(sweep, store), [*COLUMNS, "code"])
        codes = {text: load_code(text) for text in trials["code"].unique()}  # few distinct values
        made_by = {trial: codes[text] for trial, text in zip(trials["trial"], trials["code"], strict=True)}
        return cls(Convergence.of(trials), by_module(made_by))

    def lines(self) -> list[str]:
        """Format all remarks, one line each. Empty without warnings."""
        return [*self.convergence.lines(), *self.code_lines()]

    def code_lines(self) -> list[str]:
        """Format one line per module with different code, with the command that reruns its trials."""
        return [
            f"  other code: {len(trials)} finished trials ran with different code in {module}; "
            f"run with --rerun {module} to repeat them"
            for module, trials in self.other_code.items()
        ]

    def facts(self) -> dict[str, Any]:
        """Return the remarks as numbers for ``status --json``."""
        return {
            "undertrained": self.convergence.undertrained,
            "convergence_unknown": self.convergence.unknown,
            "other_code": {module: len(trials) for module, trials in self.other_code.items()},
        }


def remark_lines(sweep: Sweep, store: Store) -> list[str]:
    """Return the remarks about a sweep's results, one line each."""
    return Remarks.on(sweep, store).lines()


def trial_table(sweep: Sweep, store: Store) -> pd.DataFrame:
    """Return the ``trials`` table of a sweep with the extra columns ``state`` (second) and ``error`` (last).

    Unfinished trials only have the columns that follow from their specs. ``error`` is set for failed trials.
    """
    import pyarrow as pa

    from sparsweep.analysis import snapshot
    from sparsweep.trainables.runs.spec_columns import planned_trials
    from sparsweep.tuner.planning.status import first_line, outcomes
    from sparsweep.tuner.planning.trials import current_trials

    listing = store.listing()
    trials, states, failures = current_trials(sweep, store), outcomes(sweep, store, listing), listing.failures
    finished, _ = snapshot.read(store.storage, "trials", trials)
    finished_ids = set(finished["trial"].to_pylist())
    unfinished = planned_trials(spec for spec in trials.values() if spec.id not in finished_ids)
    table = pa.concat_tables([finished, unfinished.cast(finished.schema)]).to_pandas().set_index("trial")
    table = table.loc[list(trials)].reset_index()
    table.insert(1, "state", table["trial"].map(states))
    failed = table["trial"].where(table["state"] == "failed")
    table["error"] = failed.map(lambda trial: first_line(failures[trial]) if trial in failures else None)
    return table


def finished_where(condition: str, store: Store) -> list[str]:
    """Return the ids of finished trials that match ``condition``. Raise UsageError if the condition is invalid."""
    from sparsweep.analysis.load import load_trials
    from sparsweep.analysis.queries import matching

    trials = load_trials(store.storage)
    with in_one_line("--where: "):
        return list(matching(trials, condition)["trial"])


def chosen_trials(table: pd.DataFrame, where: str | None, sort: str | None, smallest_first: bool) -> pd.DataFrame:
    """Filter and sort the rows of a :func:`trial_table`.

    Args:
        table: The trials.
        where: Condition on columns, None for all rows.
        sort: Column to sort by, None for the order of the table.
        smallest_first: Whether to sort in ascending order.

    Raises:
        UsageError: The condition is invalid or the column is unknown.
    """
    from sparsweep.analysis.queries import matching, ordered

    with in_one_line("--where: "):
        chosen = table if where is None else matching(table, where)
    with in_one_line("--sort: "):
        return chosen if sort is None else ordered(chosen, sort, smallest_first)


def trial_csv(table: pd.DataFrame) -> str:
    """Return all columns of a :func:`trial_table` as CSV, escaped so that spreadsheets evaluate no formulas."""
    from sparsweep.analysis.spreadsheet import to_csv

    return to_csv(table).decode().rstrip("\n")


def trial_lines(table: pd.DataFrame, where: str | None, sort: str | None) -> str:
    """Format a :func:`trial_table` with the default columns and the columns that ``where`` and ``sort`` name."""
    from sparsweep.analysis.queries import named_columns

    requested = [*named_columns(where or "", table.columns), *([] if sort is None else [sort])]
    errors = ["error"] if table["error"].notna().any() else []
    columns = list(dict.fromkeys([*SHOWN, *requested, *errors]))
    if table.empty:
        return "no trials"
    return str(table[columns].to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}"))


def load_claims(paths: list[str]) -> list[Claim]:
    """Return the built-in claims and the claims of the YAML files ``paths``. Raise UsageError for invalid files."""
    from sparsweep.analysis.claims import ClaimError, followup_claims, paper_claims, read_claims

    try:
        own = [claim for path in paths for claim in read_claims(path)]
    except ClaimError as error:
        raise UsageError(f"--claims {error}") from None
    return [*paper_claims(), *followup_claims(), *own]


def judge(results: Results, claims: list[Claim], store: Store) -> list[Verdict]:
    """Return the verdicts on ``claims``, without those of follow-up papers that no trial tests."""
    from sparsweep.analysis import results as tables
    from sparsweep.analysis.claims import evaluate, followup_claims, need_outcomes

    if not results.outcomes and need_outcomes(claims, results.trials):
        results = tables.with_outcomes(results, store.storage)
    optional = set(followup_claims())
    verdicts = evaluate(results, claims)
    return [verdict for verdict in verdicts if verdict.verdict != "not tested" or verdict.claim not in optional]
