"""Whether the results support what the paper claims: its eleven testable claims, and a user's own.

A claim is judged on each data set and network that was run by itself. The mean over seeds of each of its parts has a
95 % interval (Student's t; bootstrap for many seeds). A part is *supported* where the interval lies wholly on the
expected side of its boundary, *contradicted* where it lies wholly on the other, else *undecided*; *not tested* where no
such trials have finished. A claim is contradicted if one of its parts is, supported if all are. Intervals are not
corrected for the number of claims: of many claims, one in twenty may be decided by chance.

For an undecided part it is said how many more seeds would decide it: so many that a two-sided t-test would tell the
mean from the boundary with power .8, were mean and standard deviation as observed.
"""

from sparsweep.analysis.claims.evaluate import Finding, Verdict, as_json, evaluate, format_verdicts
from sparsweep.analysis.claims.loader import ClaimError, paper_claims, read_claims
from sparsweep.analysis.claims.rules import Claim

__all__ = [
    "Claim",
    "ClaimError",
    "Finding",
    "Verdict",
    "as_json",
    "evaluate",
    "format_verdicts",
    "paper_claims",
    "read_claims",
]
