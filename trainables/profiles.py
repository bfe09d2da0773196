"""Profiles: named bundles of fidelity choices. A profile gives defaults; a field that a spec states itself wins.

``clean`` is what every field's own default says. ``paper`` follows the text where that differs. ``authors`` does what
the released code does (its faults are numbered D1-D27 in the README); each of these is a field that can be set alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Profile = Literal["clean", "paper", "authors"]

PROFILES: dict[Profile, dict[str, dict[str, dict[str, Any]]]] = {
    "clean": {},
    "paper": {"sparsifier": {}, "difficulty": {"adversarial": {"batch_norm": "train"}}},
    "authors": {
        "sparsifier": {},
        "difficulty": {"none": {"subset_seed": 12345}, "adversarial": {"batch_norm": "train"}},
    },
}
"""Profile -> field of the trial -> registered name -> the values that it starts from."""


def apply_profile(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a trial with its profile's values under those that it states; an unknown profile changes nothing.

    Only what is given as a name or a mapping is filled in: a value that was built before has all its fields.
    """
    profile = fields.get("profile", "clean")
    bundle = PROFILES[profile] if isinstance(profile, str) and profile in PROFILES else {}
    filled = dict(fields)
    for part, defaults in bundle.items():
        if part in fields or part == "difficulty":
            filled[part] = _fill(fields.get(part, "none"), defaults)
    return filled


def _fill(value: Any, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """``value`` with defaults by its name, and so in every registered value inside of it (a composed difficulty)."""
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        return value
    inside = {key: _fill(part, defaults) if key != "name" else part for key, part in given.items()}
    own = defaults.get(str(given.get("name")), {})
    return {**own, **inside} if own or not isinstance(value, str) else value


assert set(PROFILES) == set(get_args(Profile))
