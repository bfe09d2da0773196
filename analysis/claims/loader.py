"""Claims in YAML: those of the paper and of follow-ups, and a user's."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from sparsweep.analysis.claims.rules import Claim, Difference, DifferenceInDifferences, Expectation, Ratio, ValueRule
from sparsweep.analysis.filters import TrialFilter
from sparsweep.trainables.storage import plain_yaml
from sparsweep.trainables.storage.plain_yaml import YAMLError
from sparsweep.trainables.storage.user_files import read_user_text

_HOLDERS: dict[int | str, type[BaseModel]] = {
    "where": TrialFilter,
    "instead": TrialFilter,
    "expect": Expectation,
    "level": ValueRule,
    "difference": Difference,
    "ratio": Ratio,
    "change": DifferenceInDifferences,
}
"""What a field belongs to, by the previous step in an error's path."""

_CLAIMS = TypeAdapter(tuple[Claim, ...])


class ClaimError(ValueError):
    """A file of claims is invalid. One line with the file, the field and the reason."""


def paper_claims() -> tuple[Claim, ...]:
    """Return the eleven claims of the paper."""
    return _built_in("paper.yaml")


def followup_claims() -> tuple[Claim, ...]:
    """Return the thirty claims of six follow-up papers."""
    return _built_in("followups.yaml")


def _built_in(name: str) -> tuple[Claim, ...]:
    text = (resources.files("sparsweep.analysis.claims") / name).read_text(encoding="utf-8")
    return parse(text, name)


def read_claims(path: str | Path) -> tuple[Claim, ...]:
    """Return the claims in a YAML file, which is a list.

    Raises:
        ClaimError: The file cannot be read or is invalid.
    """
    try:
        return parse(read_user_text(str(path)), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path}: cannot be read: {error}") from None


def parse(text: str, name: str) -> tuple[Claim, ...]:
    """Return the claims in ``text``. Raises ClaimError that starts with ``name``."""
    try:
        claims = _CLAIMS.validate_python(plain_yaml.load(text))
    except YAMLError as error:
        raise ClaimError(f"{name}: {error}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in problem["loc"])
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            holder = _HOLDERS.get(problem["loc"][-2], Claim)
            reason = f"unknown field; choose from {', '.join(holder.model_fields)}"
        raise ClaimError(f"{name}: {path}: {reason} (got {problem['input']!r:.80})") from None
    twice = [claim for claim, count in Counter(claim.claim for claim in claims).items() if count > 1]
    if twice:
        raise ClaimError(f"{name}: duplicate claim {twice[0]!r}")
    return claims
