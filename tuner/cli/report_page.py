"""The HTML page about sweeps, written into their storage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sparsweep.tuner.cli.result_tables import judge, with_outcomes
from sparsweep.tuner.terminal import print_message

if TYPE_CHECKING:
    from sparsweep.analysis.claims import Claim
    from sparsweep.analysis.results import Results
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep


def write_report(sweeps: Sequence[Sweep], store: Store, results: Results, claims: Sequence[Claim]) -> str:
    """Write the page about ``sweeps``, and return its path or URI.

    Args:
        sweeps: The sweeps.
        store: The storage.
        results: The results of their trials.
        claims: The claims that the page tests.
    """
    from sparsweep.analysis.report import SweepSection, render
    from sparsweep.tuner.planning import status
    from sparsweep.tuner.planning.remaking import lost_scores

    results, listing = with_outcomes(results, store), store.listing()
    for line in lost_scores(list(sweeps), store, listing):
        print_message(line)
    sections = [SweepSection(**status.report_input(sweep, store, listing)) for sweep in sweeps]
    page = render(results, sections, judge(results, list(claims), store), store.root, datetime.now(UTC))
    path = f"reports/{'+'.join(sweep.name for sweep in sweeps)}.html"
    store.write(path, page.encode())
    return store.uri(path)
