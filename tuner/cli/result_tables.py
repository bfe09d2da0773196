"""What the command reads of results: the one place, beside the command itself, where ``tuner`` meets ``analysis``."""

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

    from sparsweep.analysis.claims import Claim
    from sparsweep.analysis.convergence import Convergence
    from sparsweep.analysis.results import Results
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep

SHOWN = ("trial", "state", "sparsifier", "sparsity", "difficulty", "data_ratio", "seed", "test_accuracy")
"""Columns that a listing of trials always has."""


def load_results(names: list[str], overrides: list[str], storage: str) -> tuple[list[Sweep], Store, Results]:
    """Sweeps as they were last run here, and what their trials left; says how many are not done.

    Raises:
        WrongCall: None of their trials has finished or failed here.
    """
    from dataclasses import replace

    from sparsweep.analysis.example_images import Ranking
    from sparsweep.analysis.results import load_results
    from sparsweep.trainables.runs.spec_columns import planned_trials
    from sparsweep.tuner.planning.trials import current_trials, score_rankings

    described, store = open_sweeps(names, overrides, storage)
    trials = {trial: spec for sweep in described for trial, spec in current_trials(sweep, store).items()}
    results = load_results(store.storage, trials, [Ranking(*found) for found in score_rankings(trials.values())])
    if results.trials.empty and results.failures.empty:
        raise nothing_finished(described, storage)
    allowed = [trial for sweep in described if sweep.allow_undertrained for trial in current_trials(sweep, store)]
    results = replace(
        results,
        allowed=frozenset(allowed),
        asked=planned_trials(trials.values()).to_pandas(),
        searches=studies(described, store),
    )
    set_plugin_styles()
    done = len(results.trials)
    if 0 < done < len(trials):  # where there is nothing at all, what is made of it says so itself
        print_message(f"{len(trials) - done} of {len(trials)} trials are not done: this is without them")
    return described, store, results


def studies(sweeps: list[Sweep], store: Store) -> dict[str, Any]:
    """Optuna's study of each search among ``sweeps``, by name."""
    searches = [sweep for sweep in sweeps if sweep.search is not None]
    if not searches:
        return {}
    from sparsweep.tuner.search.study import OptunaStudy  # Optuna takes a second to import

    return {sweep.name: OptunaStudy(sweep, store).study for sweep in searches}


def set_plugin_styles() -> None:
    """Tell figures the labels and colors that methods of the user's own state.

    Raises:
        WrongCall: A color is none.
    """
    from sparsweep.analysis.figures import style
    from sparsweep.trainables.sparsifiers import sparsifiers

    with in_one_line():
        for name in sparsifiers.names():
            style.state(name, sparsifiers[name].label, sparsifiers[name].color)


@contextmanager
def in_one_line(option: str = "") -> Iterator[None]:
    """Raise WrongCall in place of a ValueError about something that the user wrote, after the name of the option."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{option}{error}") from None


def nothing_finished(sweeps: list[Sweep], storage: str) -> UsageError:
    """Return the error of a command that needs results, where there are none."""
    names = ", ".join(sweep.name for sweep in sweeps)
    return UsageError(f"{names}: no trial has finished in {storage}: sparsweep status says why")


@dataclass(frozen=True)
class Remarks:
    """What is to be known of a sweep's finished trials before they are believed.

    Attributes:
        convergence: How many were trained to their end.
        other_code: Trials that were made by other code than is loaded here, by module.
    """

    convergence: Convergence
    other_code: Mapping[str, Collection[str]]

    @classmethod
    def on(cls, sweep: Sweep, store: Store) -> Remarks:
        """Read the trials of ``sweep`` that have finished in ``store``."""
        from sparsweep.analysis.convergence import COLUMNS, Convergence
        from sparsweep.analysis.load import load_trials
        from sparsweep.trainables.storage.provenance import load_code
        from sparsweep.tuner.planning.forgetting import by_module
        from sparsweep.tuner.planning.trials import current_trials

        trials = load_trials(store.storage, current_trials(sweep, store), [*COLUMNS, "code"])
        codes = {text: load_code(text) for text in trials["code"].unique()}  # few: most trials share one
        made_by = {trial: codes[text] for trial, text in zip(trials["trial"], trials["code"], strict=True)}
        return cls(Convergence.of(trials), by_module(made_by))

    def lines(self) -> list[str]:
        """The same, as a person reads it; nothing if all is well."""
        return [*self.convergence.lines(), *self.code_lines()]

    def code_lines(self) -> list[str]:
        """A line for each module with other code, and how to make its trials again."""
        return [
            f"  other code: {len(trials)} finished trials were made by other code of {module}; "
            f"run with --rerun {module} to make them again"
            for module, trials in self.other_code.items()
        ]

    def facts(self) -> dict[str, Any]:
        """The same, as ``status --json`` has it."""
        return {
            "undertrained": self.convergence.undertrained,
            "convergence_unknown": self.convergence.unknown,
            "other_code": {module: len(trials) for module, trials in self.other_code.items()},
        }


def remark_lines(sweep: Sweep, store: Store) -> list[str]:
    """What is to be said of a sweep's results at its end."""
    return Remarks.on(sweep, store).lines()


def trial_table(sweep: Sweep, store: Store) -> pd.DataFrame:
    """Return the columns of ``trials`` for all trials of a sweep, after ``trial`` with ``state``, last with ``error``.

    What has not finished has the columns that its spec tells, nothing else; ``error`` is that of failed ones.
    """
    import pyarrow as pa

    from sparsweep.analysis import snapshot
    from sparsweep.trainables.runs.spec_columns import planned_trials
    from sparsweep.tuner.planning.status import first_line, outcomes
    from sparsweep.tuner.planning.trials import current_trials

    trials, states, failures = current_trials(sweep, store), outcomes(sweep, store), store.failures()
    finished, _ = snapshot.read(store.storage, "trials", trials)
    there = set(finished["trial"].to_pylist())
    left = planned_trials(spec for spec in trials.values() if spec.id not in there)
    table = pa.concat_tables([finished, left.cast(finished.schema)]).to_pandas().set_index("trial")
    table = table.loc[list(trials)].reset_index()
    table.insert(1, "state", table["trial"].map(states))
    failed = table["trial"].where(table["state"] == "failed")
    table["error"] = failed.map(lambda trial: first_line(failures[trial]) if trial in failures else None)
    return table


def finished_where(condition: str, store: Store) -> list[str]:
    """Return the ids of the finished trials of a storage for which ``condition`` holds; WrongCall if it is none."""
    from sparsweep.analysis.load import load_trials
    from sparsweep.analysis.queries import matching

    trials = load_trials(store.storage)
    with in_one_line("--where: "):
        return list(matching(trials, condition)["trial"])


def chosen_trials(table: pd.DataFrame, where: str | None, sort: str | None, smallest_first: bool) -> pd.DataFrame:
    """Return the rows of a :func:`trial_table` that are asked for, in the order asked for.

    Raises:
        WrongCall: The condition cannot be applied, or there is no such column.
    """
    from sparsweep.analysis.queries import matching, ordered

    with in_one_line("--where: "):
        chosen = table if where is None else matching(table, where)
    with in_one_line("--sort: "):
        return chosen if sort is None else ordered(chosen, sort, smallest_first)


def trial_csv(table: pd.DataFrame) -> str:
    """Return all columns of a :func:`trial_table` as CSV that a spreadsheet computes nothing of."""
    from sparsweep.analysis.spreadsheet import to_csv

    return to_csv(table).decode().rstrip("\n")


def trial_lines(table: pd.DataFrame, where: str | None, sort: str | None) -> str:
    """Return a :func:`trial_table` as a person reads it: who a trial is, its accuracy, and the columns asked about."""
    from sparsweep.analysis.queries import named_columns

    asked = [*named_columns(where or "", table.columns), *([] if sort is None else [sort])]
    errors = ["error"] if table["error"].notna().any() else []
    columns = list(dict.fromkeys([*SHOWN, *asked, *errors]))
    if table.empty:
        return "no trial"
    return str(table[columns].to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}"))


def load_claims(paths: list[str]) -> list[Claim]:
    """The paper's claims, and those in a user's files."""
    from sparsweep.analysis.claims import ClaimError, paper_claims, read_claims

    try:
        return [*paper_claims(), *(claim for path in paths for claim in read_claims(path))]
    except ClaimError as error:
        raise UsageError(f"--claims {error}") from None
