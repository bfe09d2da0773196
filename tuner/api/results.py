"""The results of a sweep as DataFrames, figures and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsweep.analysis import load
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.report_page import write_report
from sparsweep.tuner.cli.result_tables import (
    in_one_line,
    judge,
    load_claims,
    nothing_finished,
    results_of,
    trial_table,
    with_outcomes,
)
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.planning.status import sweep_status
from sparsweep.tuner.planning.trials import current_trials
from sparsweep.tuner.terminal import print_message

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SweepResults:
    """Results of a sweep in a storage. Every call reads the storage again, also while the sweep runs.

    Attributes:
        sweep: The sweep.
        store: The storage.
    """

    sweep: Sweep
    store: Store

    def __repr__(self) -> str:
        facts = self.status()
        return f"SweepResults({self.sweep.name!r}, {facts['done']} of {facts['trials']} trials, {self.store.root})"

    def status(self) -> dict[str, Any]:
        """Return the facts of ``sparsweep status --json``."""
        return sweep_status(self.sweep, self.store)

    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row per finished trial: specification, final results, cost. See :func:`sparsweep.load_trials`.

        Args:
            columns: Names of columns. None: all.
        """
        return load.load_trials(self.store.storage, self._ids, columns)

    def planned(self) -> pd.DataFrame:
        """Return one row per trial, finished or not: the table ``trials`` with its ``state`` and ``error``."""
        return trial_table(self.sweep, self.store)

    def epochs(self) -> pd.DataFrame:
        """Return one row per epoch of a finished trial."""
        return load.load_epochs(self.store.storage, self._ids)

    def layers(self) -> pd.DataFrame:
        """Return one row per maskable layer of a finished trial."""
        return load.load_layers(self.store.storage, self._ids)

    def outcomes(self, split: str = "test") -> pd.DataFrame:
        """Return one row per finished trial and sample of ``split``: the prediction of the trained network.

        Args:
            split: Name of the split, such as ``test``.
        """
        return load.load_outcomes(self.store.storage, self._ids, filters=[("split", "==", split)])

    def shifts(self) -> pd.DataFrame:
        """Return one row per finished trial, type and severity of corrupted test images."""
        return load.load_shifts(self.store.storage, self._ids)

    def failures(self) -> pd.DataFrame:
        """Return one row per failed attempt, also of trials that finished later."""
        return load.load_failures(self.store.storage, self._ids)

    def figures(self, kinds: Sequence[str] = (), methods: Sequence[str] = ()) -> dict[str, Figure]:
        """Draw the figures that the results support.

        Args:
            kinds: Names of figure types, such as ``accuracy_vs_sparsity``. Empty: all.
            methods: Names of sparsifiers to show beside dense. Empty: all.

        Returns:
            Matplotlib figures by name. A figure without data is left out, with a message.

        Raises:
            UsageError: No trial is finished, or a name is unknown.
        """
        from sparsweep.analysis import figures as gallery
        from sparsweep.analysis.choice import chosen

        found = results_of([self.sweep], self.store)
        if found.trials.empty:
            raise nothing_finished([self.sweep], self.store.root)
        drawn: dict[str, Figure] = {}
        with in_one_line():
            gallery.check_kinds(kinds)
            selected = with_outcomes(chosen(found, methods), self.store)
        for picture in gallery.pictures(selected, [self.sweep.name], kinds):
            try:
                drawn[picture.name] = picture.draw()
            except ValueError as error:
                print_message(f"{picture.name}: not drawn: {error}")
        return drawn

    def claims(self, more: Sequence[str] = ()) -> pd.DataFrame:
        """Test the claims of the paper and of follow-ups. The rows are those of ``sparsweep claims --json``.

        Args:
            more: YAML files with further claims.

        Returns:
            One row per claim: ``claim``, ``statement``, ``verdict``, ``effect``, ``interval``, ``n`` and their basis.
        """
        import pandas as pd

        from sparsweep.analysis.claims import as_json

        stated = load_claims(list(more))
        return pd.DataFrame(as_json(judge(results_of([self.sweep], self.store), stated, self.store)))

    def report(self, more: Sequence[str] = ()) -> str:
        """Write one HTML page about the sweep into the storage, and return its path or URI.

        Args:
            more: YAML files with further claims.
        """
        return write_report([self.sweep], self.store, results_of([self.sweep], self.store), load_claims(list(more)))

    @property
    def _ids(self) -> list[str]:
        return list(current_trials(self.sweep, self.store))
