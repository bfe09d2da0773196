"""The grids of a sweep file: what a value in them stands for, and how values are put on top of each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.base import FrozenModel, Registry, shown
from sparsweep.trainables.specs.recipe import Recipe, override_recipe

RANGE_KEYS = {"from", "to", "step"}
MAX_RANGE_LENGTH = 10**9
"""Of a range: more than a sweep can have trials, and few enough to be counted exactly."""
REGISTRIES: dict[str, Registry[Any]] = {"sparsifier": sparsifiers, "difficulty": difficulties}


class SweepError(Exception):
    """The sweep cannot be run as it is written: one line that names the field, the value and the choices."""


def expand(value: Any, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Every single value that ``value`` stands for."""
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
    """How many values :func:`expand` gives, without making one."""
    if isinstance(value, Mapping) and value.keys() == RANGE_KEYS:
        return range_length(value, path)
    if isinstance(value, Mapping):
        return math.prod(num_combinations(part, (*path, key)) for key, part in value.items())
    if isinstance(value, list) and not (is_list_field(path) and not any(isinstance(part, list) for part in value)):
        return sum(1 if is_list_field(path) else num_combinations(part, path) for part in value)
    return 1


def is_list_field(path: Sequence[str]) -> bool:
    """Whether the field at ``path`` holds a list, at any depth of its part of the trial."""
    if len(path) < 2:
        return False
    part, name = path[0], path[-1]
    kinds: list[type[FrozenModel]] = [Recipe] if part == "recipe" else []
    if part in REGISTRIES:  # asked anew, for a plugin may have brought more
        kinds = [REGISTRIES[part][kind] for kind in REGISTRIES[part].names()]
    return any("tuple" in str(kind.model_fields[name].annotation) for kind in kinds if name in kind.model_fields)


def expand_range(limits: Mapping[str, Any], path: Sequence[str]) -> Iterator[float]:
    """``{from: .1, to: .9, step: .1}``: both ends included, in exact decimal steps; errors as :func:`range_length`."""
    number = range_length(limits, path)
    start, step = (Decimal(str(limits[key])) for key in ("from", "step"))
    for index in range(number):
        value = start + index * step
        yield int(value) if value == value.to_integral_value() and "." not in str(limits["step"]) else float(value)


def range_length(limits: Mapping[str, Any], path: Sequence[str]) -> int:
    """How many values a range has. SweepError if it is none, its steps miss its end, or they are too many."""
    place = ".".join(map(str, path))
    try:
        start, stop, step = (Decimal(str(limits[key])) for key in ("from", "to", "step"))
        if step <= 0 or stop < start or not all(number.is_finite() for number in (start, stop, step)):
            raise ArithmeticError
        steps = (stop - start) / step
    except (ArithmeticError, ValueError):  # a ValueError: more digits than Python writes
        why = f"a range needs numbers from <= to and step > 0, got {shown(dict(limits))}"
        raise SweepError(f"{place}: {why}") from None
    if steps > MAX_RANGE_LENGTH:
        raise SweepError(
            f"{place}: a range of {steps:.3g} steps, at most {MAX_RANGE_LENGTH:,} (got {shown(dict(limits))})"
        )
    if (last := start + int(steps) * step) != stop:
        why = f"its steps end at {last:f} and miss its end (got {shown(dict(limits))})"
        raise SweepError(f"{place}: {why}. Write to: {last:f}, or another step.")
    return int(steps) + 1


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top; mappings merge key by key, everything else is replaced."""
    both_maps = {k for k in base.keys() & over.keys() if isinstance(base[k], Mapping) and isinstance(over[k], Mapping)}
    merged = {**base, **{key: merge(base[key], over[key]) if key in both_maps else over[key] for key in over}}
    if "recipe" in both_maps:
        merged["recipe"] = override_recipe(base["recipe"], over["recipe"])
    return merged
