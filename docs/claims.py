"""Print the verdicts in ``docs/claims.md`` from a storage in which the digits sweeps of the follow-ups were run.

python docs/claims.py runs [SWEEP ...]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sparsweep.analysis.claims import Finding, followup_claims
from sparsweep.analysis.claims.format import format_effect
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.result_tables import judge, results_of
from sparsweep.tuner.config.sweep import read_sweep

CLAIMS_OF = {
    "dst-corruption-digits": ("dst",),
    "disparate-impact-digits": ("pruned", "impact"),
    "calibration-digits": ("calibration",),
    "small-weights-digits": ("small-weights",),
}
"""Beginning of the names of the claims that each sweep was made for."""


def described(finding: Finding) -> str:
    """Return a part of a claim with its effect: ``set: better than dense: +0.3 points [−1.7, +2.3]``."""
    return f"{', '.join(finding.part.methods)}: {finding.part.says}: {format_effect(finding)}"


def table(name: str, store: Store) -> str:
    """Return the verdicts on the claims of one sweep as a table in Markdown."""
    claims = [claim for claim in followup_claims() if claim.claim.startswith(CLAIMS_OF[name])]
    verdicts = judge(results_of([read_sweep(name)], store), claims, store)
    lines = [f"`sparsweep claims {name}`", "", "| claim | verdict | measured | seeds |", "| --- | --- | --- | --- |"]
    for verdict in verdicts:
        seeds = max(finding.n for finding in verdict.findings)
        measured = "; ".join(described(finding) for finding in verdict.findings)
        lines.append(f"| `{verdict.claim.claim}` | {verdict.verdict} | {measured} | {seeds} |")
    return "\n".join(lines)


def main(storage: str, names: Sequence[str]) -> None:
    """Print the tables of ``names``."""
    store = Store(storage)
    print("\n\n".join(table(name, store) for name in names or CLAIMS_OF))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
