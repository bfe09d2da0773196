"""Report pages of synthetic results."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sparsweep.analysis.claims import evaluate, paper_claims
from sparsweep.analysis.report import SweepSection, render
from sparsweep.analysis.results import Results

NOW = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
COUNTS = {"trials": 3, "prerequisites": 1, "done": 2, "running": 0, "failed": 0, "blocked": 0, "pending": 1}


def standing(**changes: Any) -> SweepSection:
    """Return the status of a sweep named ``mine``. ``changes`` override entries of its report."""
    report = {**COUNTS, "sweep": "mine", "running_now": [], "failures": [], "blocked_by": [], **changes}
    return SweepSection("mine", "What I tried.", "name: mine\ngrids: []\n", "2024 finished abc\n", report)


def page_of(results: Results, *standings: SweepSection) -> str:
    """Return the report page of ``results`` with the verdicts on the paper's claims."""
    return render(results, standings or (standing(),), evaluate(results, paper_claims()), "/data/runs", NOW)
