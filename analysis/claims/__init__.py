"""Whether results support claims: the paper's eleven, thirty of follow-up papers, and a user's own.

A claim is judged per data set and network. Each of its parts is a mean over seeds with a 95 % interval (Student's t;
bootstrap for many seeds). A part is *supported* if the interval lies entirely on the expected side of its boundary,
*contradicted* if it lies entirely on the other side, and *undecided* otherwise. It is *not tested* if no such trial has
finished. A claim is contradicted if one part is, and supported if all are. Intervals are not corrected for the number
of claims: of many claims, one in twenty may be decided by chance.

For an undecided part, the number of further seeds is given at which a two-sided t-test has power 0.8, if mean and
standard deviation stay as observed.
"""

from sparsweep.analysis.claims.evaluate import Finding, Verdict, evaluate, need_outcomes
from sparsweep.analysis.claims.format import as_json, format_verdicts
from sparsweep.analysis.claims.loader import ClaimError, followup_claims, paper_claims, read_claims
from sparsweep.analysis.claims.rules import Claim

__all__ = [
    "Claim",
    "ClaimError",
    "Finding",
    "Verdict",
    "as_json",
    "evaluate",
    "followup_claims",
    "format_verdicts",
    "need_outcomes",
    "paper_claims",
    "read_claims",
]
