"""Fidelity profiles: named sets of default values. A field that a spec sets explicitly overrides its profile.

``clean`` uses the default of every field. ``paper`` follows the text of the paper where the two differ. ``authors``
follows the released code. The README numbers the faults of that code D1-D27. Each fault is a field that can also be set
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Profile = Literal["clean", "paper", "authors"]

# Choices of the authors' code: in all methods (D7), for random masks (D6), for SNIP scores (D1, D2).
DENSE_GRADIENTS: dict[str, Any] = {"dense_gradients": True}
BERNOULLI_MASKS: dict[str, Any] = {**DENSE_GRADIENTS, "counts": "bernoulli"}
SNIP_FIELDS: dict[str, Any] = {**BERNOULLI_MASKS, "loss": "nll", "weights": "redrawn"}
# The authors' code uses one subset for all seeds (D19).
SUBSET: dict[str, Any] = {"subset_seed": 12345}

PROFILES: dict[Profile, dict[str, dict[str, dict[str, Any]]]] = {
    "clean": {},
    "paper": {
        # The text gives no end of the updates. After an update at the last step, new weights would stay untrained (D9).
        "sparsifier": {"set": {"stop_fraction": 0.999}},
        "difficulty": {"adversarial": {"batch_norm": "train"}},
    },
    "authors": {
        "sparsifier": {
            "gmp": {**DENSE_GRADIENTS, "events": "multiples", "strict_threshold": True},
            "lth": DENSE_GRADIENTS,
            "omp": DENSE_GRADIENTS,
            "omp_erk": {**BERNOULLI_MASKS, "shuffle": True},
            "random": BERNOULLI_MASKS,
            "random_snip": SNIP_FIELDS,
            "set": {**BERNOULLI_MASKS, "drop": "sign_threshold", "regrow_dropped": True, "stop_fraction": 1.0},
            "snip": {**SNIP_FIELDS, "shuffle": True},
            "uniform": BERNOULLI_MASKS,
        },
        "difficulty": {
            "none": SUBSET,
            "composed": {"selection": {"name": "none", **SUBSET}},
            "el2n": {"squared": True, "mode": "train"},
            "adversarial": {"batch_norm": "train"},
        },
    },
}
"""Profile -> field of the trial -> registered name -> default values."""

STANDALONE_STAGE: dict[str, dict[str, str]] = {"authors": {"adversarial": "attack"}}
"""Profile -> difficulty without a selection of its own -> its stage in a composed difficulty.

Such a difficulty, given alone, becomes a composed difficulty with the profile's selection. The tables use one name for
both forms.
"""


def apply_profile(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a trial, with the profile's values for all fields that are not set.

    Only parts given as a name or a mapping change: a part that is already a value has all its fields. An unknown
    profile changes nothing.
    """
    profile = fields.get("profile", "clean")
    bundle = PROFILES[profile] if isinstance(profile, str) and profile in PROFILES else {}
    filled = dict(fields)
    for part, defaults in bundle.items():
        if part == "difficulty":
            difficulty = _composed(fields.get(part, "none"), STANDALONE_STAGE.get(str(profile), {}))
            filled[part] = _with_all_defaults(difficulty, defaults)
        elif part in fields:
            filled[part] = _with_defaults(fields[part], defaults)
    return filled


def _name(value: Any) -> str:
    """Return the registered name in a name or a mapping, empty for other types."""
    return str(value.get("name", "")) if isinstance(value, Mapping) else value if isinstance(value, str) else ""


def _composed(value: Any, stages: Mapping[str, str]) -> Any:
    """Return ``value`` as a stage of a composed difficulty if ``stages`` lists it, else unchanged."""
    stage = stages.get(_name(value))
    return {"name": "composed", stage: value} if stage else value


def _with_defaults(value: Any, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return ``value`` with the defaults for its name."""
    own = defaults.get(_name(value))
    given = {"name": value} if isinstance(value, str) else value
    return {**own, **given} if own else value


def _with_all_defaults(value: Any, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return ``value`` with the defaults for its name, nested values included (as in a composed difficulty)."""
    if isinstance(value, Mapping):
        value = {key: part if key == "name" else _with_all_defaults(part, defaults) for key, part in value.items()}
    return _with_defaults(value, defaults)


assert set(PROFILES) == set(get_args(Profile))
