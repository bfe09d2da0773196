"""Grids of a sweep file: expansion of lists and ranges into single values, and merging of mappings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.difficulties.shifts import Shifts
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.base import FrozenModel, Registry, shown
from sparsweep.trainables.specs.recipe import Recipe, override_recipe
from sparsweep.trainables.specs.trial import Evaluation

RANGE_KEYS = {"from", "to", "step"}
MAX_RANGE_LENGTH = 10**9
"""Maximum number of values in a range: larger than any sweep, and small enough for exact arithmetic."""
REGISTRIES: dict[str, Registry[Any]] = {"sparsifier": sparsifiers, "difficulty": difficulties}


class SweepError(Exception):
    """Error in a sweep file. The message is one line with the field, the value and the choices."""


def expand(value: Any, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield every single value of a grid entry: lists and ranges expand, and the keys of a mapping multiply.

    Args:
        value: A value, list, range or mapping.
        path: Keys from the trial to ``value``.

    Raises:
        SweepError: A range is invalid.
    """
    if isinstance(value, Mapping) and value.keys() == RANGE_KEYS:
        yield from expand_range(value, path)
    elif isinstance(value, Mapping):
        choices = [list(expand(part, (*path, key))) for key, part in value.items()]
        for combination in product(*choices):
            yield dict(zip(value, combination, strict=True))
    elif isinstance(value, list) and not (is_list_field(path) and not any(isinstance(part, list) for part in value)):
        for part in value:
            yield from [part] if is_list_field(path) else expand(part, path)
    else:
        yield value


def num_combinations(value: Any, path: tuple[str, ...] = ()) -> int:
    """Return the number of values that :func:`expand` yields, without expanding."""
    if isinstance(value, Mapping) and value.keys() == RANGE_KEYS:
        return range_length(value, path)
    if isinstance(value, Mapping):
        return math.prod(num_combinations(part, (*path, key)) for key, part in value.items())
    if isinstance(value, list) and not (is_list_field(path) and not any(isinstance(part, list) for part in value)):
        return sum(1 if is_list_field(path) else num_combinations(part, path) for part in value)
    return 1


def is_list_field(path: Sequence[str]) -> bool:
    """Return whether the field at ``path`` has a list as its value, at any depth of its part of the trial."""
    if len(path) < 2:
        return False
    part, name = path[0], path[-1]
    whole: dict[str, list[type[FrozenModel]]] = {"recipe": [Recipe], "evaluation": [Evaluation, Shifts]}
    kinds = whole.get(part, [])
    if part in REGISTRIES:  # read each time, because plug-ins may register more
        kinds = [REGISTRIES[part][kind] for kind in REGISTRIES[part].names()]
    return any("tuple" in str(kind.model_fields[name].annotation) for kind in kinds if name in kind.model_fields)


def expand_range(limits: Mapping[str, Any], path: Sequence[str]) -> Iterator[float]:
    """Yield the values of a range in exact decimal steps, both ends included.

    Args:
        limits: Mapping such as ``{from: 0.1, to: 0.9, step: 0.1}``.
        path: Keys from the trial to the range, for error messages.

    Raises:
        SweepError: The range is invalid, see :func:`range_length`.
    """
    number = range_length(limits, path)
    start, step = (Decimal(str(limits[key])) for key in ("from", "step"))
    for index in range(number):
        value = start + index * step
        yield int(value) if value == value.to_integral_value() and "." not in str(limits["step"]) else float(value)


def range_length(limits: Mapping[str, Any], path: Sequence[str]) -> int:
    """Return the number of values in a range.

    Args:
        limits: Mapping with ``from``, ``to`` and ``step``.
        path: Keys from the trial to the range, for error messages.

    Raises:
        SweepError: The limits are invalid, the steps miss ``to``, or the range is too long.
    """
    place = ".".join(map(str, path))
    try:
        start, stop, step = (Decimal(str(limits[key])) for key in ("from", "to", "step"))
        if step <= 0 or stop < start or not all(number.is_finite() for number in (start, stop, step)):
            raise ArithmeticError
        steps = (stop - start) / step
    except (ArithmeticError, ValueError):  # ValueError: too many digits for Python
        why = f"a range needs numbers with from <= to and step > 0 (got {shown(dict(limits))})"
        raise SweepError(f"{place}: {why}") from None
    if steps > MAX_RANGE_LENGTH:
        raise SweepError(f"{place}: {steps:.3g} steps, the maximum is {MAX_RANGE_LENGTH:,} (got {shown(dict(limits))})")
    if (last := start + int(steps) * step) != stop:
        why = f"the last step is {last:f}, not the end of the range (got {shown(dict(limits))})"
        raise SweepError(f"{place}: {why}. Write to: {last:f}, or change the step.")
    return int(steps) + 1


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` updated with ``over``. Mappings merge key by key; all other values are replaced."""
    both_maps = {k for k in base.keys() & over.keys() if isinstance(base[k], Mapping) and isinstance(over[k], Mapping)}
    merged = {**base, **{key: merge(base[key], over[key]) if key in both_maps else over[key] for key in over}}
    if "recipe" in both_maps:
        merged["recipe"] = override_recipe(base["recipe"], over["recipe"])
    return merged
