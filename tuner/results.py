"""What the command reads of results: the one place, beside the command itself, where ``tuner`` meets ``analysis``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuner.opening import WrongCall, open_sweeps
from tuner.terminal import tell

if TYPE_CHECKING:
    from analysis.claims import Claim
    from analysis.convergence import Convergence
    from analysis.results import Results
    from trainables.store import Store
    from tuner.sweep import Sweep


def gather(names: list[str], overrides: list[str], storage: str) -> tuple[list[Sweep], Store, Results]:
    """Sweeps as they were last run here, and what their trials left; says how many are not done.

    Raises:
        WrongCall: None of their trials has finished or failed here.
    """
    from dataclasses import replace

    from analysis.results import load_results
    from analysis.samples import Ranking
    from trainables.columns import planned
    from tuner.points import points
    from tuner.rankings import rankings

    described, store = open_sweeps(names, overrides, storage)
    trials = {trial: spec for sweep in described for trial, spec in points(sweep, store).items()}
    results = load_results(store.storage, trials, [Ranking(*found) for found in rankings(trials.values())])
    if results.trials.empty and results.failures.empty:
        raise nothing_finished(described, storage)
    allowed = [trial for sweep in described if sweep.allow_undertrained for trial in points(sweep, store)]
    results = replace(
        results,
        allowed=frozenset(allowed),
        asked=planned(trials.values()).to_pandas(),
        searches=studies(described, store),
    )
    state_looks()
    done = len(results.trials)
    if 0 < done < len(trials):  # where there is nothing at all, what is made of it says so itself
        tell(f"{len(trials) - done} of {len(trials)} trials are not done: this is without them")
    return described, store, results


def studies(sweeps: list[Sweep], store: Store) -> dict[str, Any]:
    """Optuna's study of each search among ``sweeps``, by name."""
    searches = [sweep for sweep in sweeps if sweep.search is not None]
    if not searches:
        return {}
    from tuner.study import Study  # Optuna takes a second to import

    return {sweep.name: Study(sweep, store).study for sweep in searches}


def state_looks() -> None:
    """Tell figures the labels and colors that methods of the user's own state.

    Raises:
        WrongCall: A color is none.
    """
    from analysis.figures import style
    from trainables.sparsifiers import sparsifiers

    with in_one_line():
        for name in sparsifiers.names():
            style.state(name, sparsifiers[name].label, sparsifiers[name].color)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Raise WrongCall in place of a ValueError about something that the user wrote."""
    try:
        yield
    except ValueError as error:
        raise WrongCall(str(error)) from None


def nothing_finished(sweeps: list[Sweep], storage: str) -> WrongCall:
    """Return the error of a command that needs results, where there are none."""
    names = ", ".join(sweep.name for sweep in sweeps)
    return WrongCall(f"{names}: no trial has finished in {storage}: sparsweep status says why")


def convergence(sweep: Sweep, store: Store) -> Convergence:
    """How many of the sweep's finished trials were trained to their end."""
    from analysis.convergence import COLUMNS, Convergence
    from analysis.load import load_trials
    from tuner.points import points

    return Convergence.of(load_trials(store.storage, points(sweep, store), COLUMNS))


def convergence_lines(sweep: Sweep, store: Store) -> list[str]:
    """The same, as a person reads it."""
    return convergence(sweep, store).lines()


def convergence_facts(sweep: Sweep, store: Store) -> dict[str, int]:
    """The same, as ``status --json`` has it."""
    found = convergence(sweep, store)
    return {"undertrained": found.undertrained, "convergence_unknown": found.unknown}


def stated_claims(paths: list[str]) -> list[Claim]:
    """The paper's claims, and those in a user's files."""
    from analysis.claims import ClaimError, paper_claims, read_claims

    try:
        return [*paper_claims(), *(claim for path in paths for claim in read_claims(path))]
    except ClaimError as error:
        raise WrongCall(f"--claims {error}") from None
