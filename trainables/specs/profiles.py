"""Profiles: named bundles of fidelity choices. A profile gives defaults; a field that a spec states itself wins.

``clean`` is what every field's own default says. ``paper`` follows the text where that differs. ``authors`` does what
the released code does (its faults are numbered D1-D27 in the README); each of these is a field that can be set alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Profile = Literal["clean", "paper", "authors"]

# What the authors' code does in all methods (D7), with masks that it draws (D6), with SNIP's scores (D1, D2).
DENSE_GRADIENTS: dict[str, Any] = {"dense_gradients": True}
BERNOULLI_MASKS: dict[str, Any] = {**DENSE_GRADIENTS, "counts": "bernoulli"}
SNIP_FIELDS: dict[str, Any] = {**BERNOULLI_MASKS, "loss": "nll", "weights": "redrawn"}
# The one subset that they draw for all seeds (D19).
SUBSET: dict[str, Any] = {"subset_seed": 12345}

PROFILES: dict[Profile, dict[str, dict[str, dict[str, Any]]]] = {
    "clean": {},
    "paper": {
        # The text names no end of the updates; one after the last step would be evaluated untrained (D9).
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
"""Profile -> field of the trial -> registered name -> the values that it starts from."""

STANDALONE_STAGE: dict[str, dict[str, str]] = {"authors": {"adversarial": "attack"}}
"""Profile -> a difficulty that selects nothing itself and takes the profile's selection -> its stage.

Given alone it is that stage of a composed one; the tables call both alike.
"""


def apply_profile(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a trial with its profile's values under those that it states; an unknown profile changes nothing.

    Only what is given as a name or a mapping is filled in: a value that was built before has all its fields.
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
    """The name in what may be a name or a mapping; empty for everything else."""
    return str(value.get("name", "")) if isinstance(value, Mapping) else value if isinstance(value, str) else ""


def _composed(value: Any, stages: Mapping[str, str]) -> Any:
    """``value``, or the composed difficulty of which it is the stage that ``stages`` says."""
    stage = stages.get(_name(value))
    return {"name": "composed", stage: value} if stage else value


def _with_defaults(value: Any, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """``value`` with defaults by its name."""
    own = defaults.get(_name(value))
    given = {"name": value} if isinstance(value, str) else value
    return {**own, **given} if own else value


def _with_all_defaults(value: Any, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """``value`` with defaults by its name, and so every registered value inside of it (a composed difficulty)."""
    if isinstance(value, Mapping):
        value = {key: part if key == "name" else _with_all_defaults(part, defaults) for key, part in value.items()}
    return _with_defaults(value, defaults)


assert set(PROFILES) == set(get_args(Profile))
