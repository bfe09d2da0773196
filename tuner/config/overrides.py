"""``--set PATH=VALUE``: fields of a sweep's content changed before it is read.

A field of the sweep itself is set there. A field of trials is set where the file sets it, else for all trials;
``grids.1.sparsity`` in one grid alone, counted from 0 as in messages. A method's own field (``sparsifier.prune_rate``)
is set for the methods that have it, and a new method takes the place of all but the dense reference.
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
"""Fields of a trial that hold a named value with fields of its own."""
MOST_LEVELS = 20
"""Names in a path."""
FOR_ALL_TRIALS = {"recipe", "evaluation"}
"""Fields that are set for grids too that say nothing of them."""


def apply_override(content: dict[str, Any], override: str, fields: Iterable[str]) -> None:
    """Set ``path=value`` in a sweep's content.

    Args:
        content: What a sweep file says; it is changed.
        override: A path of names joined by dots, ``=`` and a value in YAML.
        fields: The fields of a sweep.

    Raises:
        SweepError: There is no such field or grid, or the value is no YAML.
    """
    path, equals, text = override.partition("=")
    keys, shown_override = path.split("."), shortened(override)
    own = [field for field in fields if field not in {"base", "grids", "figures", "source"}]
    shared = list(TrialSpec.model_fields)
    if not equals or not all(keys) or len(keys) > MOST_LEVELS:
        raise SweepError(f"--set {shown_override}: give it as path=value, for example recipe.epochs=5")
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
        raise SweepError(f"a field of one grid is grids.N.FIELD, with N from 0 to {len(grids) - 1}")
    if keys[2] not in TrialSpec.model_fields:
        raise SweepError(unknown_choice("field", keys[2], TrialSpec.model_fields))
    grid = grids[numbers[number]]
    grid.update(set_path(grid, keys[2:], value))


def _set_in_trials(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    field = keys[0]
    base = content["base"] = content.get("base") or {}
    grids = [grid for grid in _grids(content) if isinstance(grid, dict)]
    if not isinstance(base, dict):
        raise SweepError(f"base: a mapping with fields of trials, got {shown(base)}")
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
    return grids if isinstance(grids, list) else []  # anything else is refused when the sweep is read


def _is_dense(sparsifier: Any) -> bool:
    return sparsifier == "dense" or (isinstance(sparsifier, Mapping) and sparsifier.get("name") == "dense")


def _set_in_parts(holders: Sequence[dict[str, Any]], keys: Sequence[str], value: Any) -> None:
    """Set a field of data sets, networks, methods or difficulties, for those that have it; SweepError if none has."""
    part, field = keys[0], keys[1]
    known: set[str] = set()
    found = False

    def has_field(named: Any) -> bool:
        nonlocal found
        name = named.get("name") if isinstance(named, Mapping) else named
        if not isinstance(name, str) or name not in PARTS[part].names():
            return True  # what it is will be said when it is read
        fields = PARTS[part][name].model_fields
        known.update(fields)
        found = found or field in fields
        return field in fields

    for holder in holders:
        holder.update(set_path(holder, keys, value, has_field))
    if known and not found:
        raise SweepError(unknown_choice(f"field of any {part} here", field, sorted(known - {"name"})))


def set_path(
    holder: Mapping[str, Any], keys: Sequence[str], value: Any, applies: Callable[[Any], bool] = lambda part: True
) -> dict[str, Any]:
    """Return a copy of ``holder`` with ``value`` at ``keys``, in each part of a list for which it ``applies``.

    A name on the way (``sparsifier: set``) becomes a mapping.
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
