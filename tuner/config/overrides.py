"""Overrides ``--set PATH=VALUE``, applied to the content of a sweep file before validation.

- A field of the sweep (``retries``) is set in the sweep.
- A field of trials (``seed``) is set where the file sets it, otherwise in ``base`` for all trials.
- ``grids.1.sparsity`` is set in one grid only. Grids are numbered from 0, as in messages.
- A field of a method (``sparsifier.prune_rate``) is set for all methods that have the field.
- A new method (``sparsifier``) replaces all methods except the dense reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sparsweep.trainables.data import datasets
from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.models import models
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.base import Registry, shortened, shown, unknown_choice
from sparsweep.trainables.specs.recipe import override_recipe
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import plain_yaml
from sparsweep.trainables.storage.plain_yaml import YAMLError
from sparsweep.tuner.config.grid import SweepError

PARTS: dict[str, Registry[Any]] = {
    "dataset": datasets,
    "model": models,
    "sparsifier": sparsifiers,
    "difficulty": difficulties,
}
"""Fields of a trial whose value is a registered name with its own fields."""
MOST_LEVELS = 20
"""Maximum number of names in a path."""
FOR_ALL_TRIALS = {"recipe", "evaluation"}
"""Fields that are always set in ``base``, so that they also apply to grids that do not mention them."""


def apply_override(content: dict[str, Any], override: str, fields: Iterable[str]) -> None:
    """Set ``path=value`` in a sweep's content.

    Args:
        content: Content of a sweep file, changed in place.
        override: Names joined by dots, ``=``, and a value in YAML.
        fields: Names of the fields of a sweep.

    Raises:
        SweepError: The field or grid is unknown, or the value is invalid YAML.
    """
    path, equals, text = override.partition("=")
    keys, shown_override = path.split("."), shortened(override)
    own = [field for field in fields if field not in {"base", "grids", "figures", "source"}]
    shared = list(TrialSpec.model_fields)
    if not equals or not all(keys) or len(keys) > MOST_LEVELS:
        raise SweepError(f"--set {shown_override}: not of the form path=value. Example: recipe.epochs=5")
    try:
        value = plain_yaml.load(text)
        if keys[0] == "grids":
            _set_in_grid(content, keys, value)
        elif keys[0] in own:
            content.update(set_path(content, keys, value))
        elif keys[0] in shared:
            _set_in_trials(content, keys, value)
        else:
            raise SweepError(unknown_choice("field", keys[0], [*shared, *own, "grids.0"]))
    except (YAMLError, SweepError) as error:
        raise SweepError(f"--set {shown_override}: {error}") from None


def _set_in_grid(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    grids = _grids(content)
    number = keys[1] if len(keys) > 2 else ""
    numbers = {str(place): place for place, grid in enumerate(grids) if isinstance(grid, dict)}
    if number not in numbers:
        raise SweepError(f"unknown grid. Write grids.N.FIELD with N from 0 to {len(grids) - 1}.")
    if keys[2] not in TrialSpec.model_fields:
        raise SweepError(unknown_choice("field", keys[2], TrialSpec.model_fields))
    grid = grids[numbers[number]]
    grid.update(set_path(grid, keys[2:], value))


def _set_in_trials(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    field = keys[0]
    base = content["base"] = content.get("base") or {}
    grids = [grid for grid in _grids(content) if isinstance(grid, dict)]
    if not isinstance(base, dict):
        raise SweepError(f"base: must be a mapping with fields of trials (got {shown(base)})")
    holders = [part for part in (base, *grids) if field in part or (field in FOR_ALL_TRIALS and part is base)] or [base]
    if field in PARTS and len(keys) > 1:
        _set_in_parts(holders, keys, value)
        return
    if field == "sparsifier":
        holders = [part for part in holders if not _is_dense(part.get(field))] or holders
    for holder in holders:
        holder.update(set_path(holder, keys, value))


def _grids(content: Mapping[str, Any]) -> list[Any]:
    grids = content.get("grids")
    return grids if isinstance(grids, list) else []  # validation of the sweep rejects other types


def _is_dense(sparsifier: Any) -> bool:
    return sparsifier == "dense" or (isinstance(sparsifier, Mapping) and sparsifier.get("name") == "dense")


def _set_in_parts(holders: Sequence[dict[str, Any]], keys: Sequence[str], value: Any) -> None:
    """Set a field of all data sets, models, sparsifiers or difficulties that have it. Raise SweepError if none has."""
    part, field = keys[0], keys[1]
    known: set[str] = set()

    def has_field(named: Any) -> bool:
        name = named.get("name") if isinstance(named, Mapping) else named
        if not isinstance(name, str) or name not in PARTS[part].names():
            return True  # validation reports the unknown name later
        fields = PARTS[part][name].model_fields
        known.update(fields)
        return field in fields

    for holder in holders:
        holder.update(set_path(holder, keys, value, has_field))
    if known and field not in known:
        raise SweepError(unknown_choice(f"field of any {part} here", field, sorted(known - {"name"})))


def set_path(
    holder: Mapping[str, Any], keys: Sequence[str], value: Any, applies: Callable[[Any], bool] = lambda part: True
) -> dict[str, Any]:
    """Return a copy of ``holder`` with ``value`` at the path ``keys``.

    Args:
        holder: A mapping. A name on the path (``sparsifier: set``) becomes a mapping.
        keys: Keys from ``holder`` to the value.
        value: The new value.
        applies: Returns whether a list item on the path receives the value.
    """
    key, rest = keys[0], keys[1:]
    if not rest:
        return {**holder, key: value}

    def inside(part: Any) -> Any:
        if isinstance(part, list):
            return [inside(item) for item in part]
        if not applies(part):
            return part
        if not isinstance(part, Mapping):
            part = {} if part is None else {"preset" if key == "recipe" else "name": part}
        return override_recipe(part, set_path({}, rest, value)) if key == "recipe" else set_path(part, rest, value)

    return {**holder, key: inside(holder.get(key))}
