"""The grids of a sweep file: what a value in them stands for, and how values are put on top of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

from trainables.difficulty import difficulties
from trainables.recipe import Recipe, override_recipe
from trainables.sparsifiers import sparsifiers
from trainables.values import Registry, Value

RANGE = {"from", "to", "step"}
REGISTRIES: dict[str, Registry[Any]] = {"sparsifier": sparsifiers, "difficulty": difficulties}


class SweepError(Exception):
    """The sweep cannot be run as it is written: one line that names the field, the value and the choices."""


def expand(value: Any, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Every single value that ``value`` stands for."""
    if isinstance(value, Mapping) and value.keys() == RANGE:
        yield from steps(value, path)
    elif isinstance(value, Mapping):
        choices = [list(expand(part, (*path, key))) for key, part in value.items()]
        for combination in product(*choices):
            yield dict(zip(value, combination, strict=True))
    elif isinstance(value, list) and not (is_tuple(path) and not any(isinstance(part, list) for part in value)):
        for part in value:
            yield from [part] if is_tuple(path) else expand(part, path)
    else:
        yield value


def is_tuple(path: Sequence[str]) -> bool:
    """Whether the field at ``path`` holds a list, at any depth of its part of the trial."""
    if len(path) < 2:
        return False
    part, name = path[0], path[-1]
    kinds: list[type[Value]] = [Recipe] if part == "recipe" else []
    if part in REGISTRIES:  # asked anew, for a plugin may have brought more
        kinds = [REGISTRIES[part][kind] for kind in REGISTRIES[part].names()]
    return any("tuple" in str(kind.model_fields[name].annotation) for kind in kinds if name in kind.model_fields)


def steps(limits: Mapping[str, Any], path: Sequence[str]) -> Iterator[float]:
    """``{from: .1, to: .9, step: .1}``: both ends included, in exact decimal steps; SweepError if one is missed."""
    try:
        start, stop, step = (Decimal(str(limits[key])) for key in ("from", "to", "step"))
        if step <= 0 or stop < start or not all(number.is_finite() for number in (start, stop, step)):
            raise ArithmeticError
    except ArithmeticError:
        why = f"a range needs numbers from <= to and step > 0, got {dict(limits)}"
        raise SweepError(f"{'.'.join(path)}: {why}") from None
    count = int((stop - start) / step)
    if (last := start + count * step) != stop:
        why = f"its steps end at {last:f} and miss its end (got {dict(limits)})"
        raise SweepError(f"{'.'.join(path)}: {why}. Write to: {last:f}, or another step.")
    for index in range(count + 1):
        value = start + index * step
        yield int(value) if value == value.to_integral_value() and "." not in str(limits["step"]) else float(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top; mappings merge key by key, everything else is replaced."""
    both_maps = {k for k in base.keys() & over.keys() if isinstance(base[k], Mapping) and isinstance(over[k], Mapping)}
    merged = {**base, **{key: merge(base[key], over[key]) if key in both_maps else over[key] for key in over}}
    if "recipe" in both_maps:
        merged["recipe"] = override_recipe(base["recipe"], over["recipe"])
    return merged
