"""A search space: the syntax of a grid, of which a sampler draws one cell at a time.

A list is a choice, ``{from, to}`` an interval (whole numbers if both ends are; with ``step`` in steps, with
``log: true`` on a logarithmic scale), everything else is fixed. What stands inside of a choice is drawn only where that
is chosen: ``sparsifier: [{name: set, prune_rate: {from: 0.1, to: 0.5}}, snip]`` draws a prune rate for SET alone. A
space that is itself a list chooses one of its mappings first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, product
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.tuner.config.grid import SweepError, expand_range, is_list_field, merge

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

INTERVAL = {"from", "to", "step", "log"}
MAX_CORNERS = 1000
"""Corners of a space that are tried before a search begins."""
REMEDIES = {
    "validation_accuracy": "Hold images out with dataset.validation",
    "corrupted_accuracy": "Train under a difficulty that corrupts images",
    "robust_accuracy": "Train under an adversarial difficulty",
    "autoattack_accuracy": "Train under an adversarial difficulty with autoattack: true",
}
"""Accuracies that only some trials have, and what gives them one."""


def sample(space: Any, trial: BaseTrial, path: tuple[str, ...] = ()) -> Any:
    """One cell of ``space``, its choices suggested by ``trial`` under their dotted paths."""
    if isinstance(space, Mapping) and {"from", "to"} <= space.keys() <= INTERVAL:
        return _number(space, trial, ".".join(path))
    if isinstance(space, Mapping):
        return {key: sample(part, trial, (*path, key)) for key, part in space.items()}
    if isinstance(space, list) and not (is_list_field(path) and not any(isinstance(part, list) for part in space)):
        return _choice(space, trial, path)
    return space


def check_space(space: Any, base: Mapping[str, Any], objectives: Sequence[str]) -> None:
    """Raise SweepError if a search of ``space`` on top of ``base`` cannot end well.

    Every choice is tried with the ends of every interval. Each must be a trial, and one of them must have each of
    ``objectives``, columns of ``trials``.
    """
    found: set[str] = set()
    for cell in islice(corners(space), MAX_CORNERS):
        spec = _as_trial(merge(base, cell), cell)
        found |= spec.difficulty.measured
        if spec.dataset.validation:
            found.add("validation_accuracy")
    for name in objectives:
        if name in REMEDIES and name not in found:
            raise SweepError(f"search.objectives: no trial of it would have a {name}. {REMEDIES[name]}.")


def _as_trial(fields: Mapping[str, Any], cell: Any) -> TrialSpec:
    """The trial of ``fields``; SweepError that shows ``cell``, the corner of the space, if there is none such."""
    try:
        spec = TrialSpec.model_validate(fields)
        spec.sparsifier.check_updates(spec)
    except ValidationError as error:
        raise SweepError(f"search.space: a corner of it is no trial: {format_error(error)} (got {cell})") from None
    except ValueError as error:
        raise SweepError(f"search.space: {error} (got {cell})") from None
    return spec


def corners(space: Any, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield the cells of ``space`` at the ends of its intervals; SweepError on an interval or a list that is wrong."""
    if isinstance(space, Mapping) and {"from", "to"} <= space.keys() <= INTERVAL:
        low, high = _limits(space, ".".join(path))
        yield from dict.fromkeys((low, high))
    elif isinstance(space, Mapping):
        parts = [list(islice(corners(part, (*path, key)), MAX_CORNERS)) for key, part in space.items()]
        yield from (dict(zip(space, cell, strict=True)) for cell in product(*parts))
    elif isinstance(space, list) and not (is_list_field(path) and not any(isinstance(part, list) for part in space)):
        _refuse_empty(space, path)
        yield from chain.from_iterable(corners(part, path) if isinstance(part, Mapping) else [part] for part in space)
    else:
        yield space


def _refuse_empty(parts: Sequence[Any], path: tuple[str, ...]) -> None:
    if not parts:
        raise SweepError(f"search.space.{'.'.join(path)}: an empty list leaves nothing to choose")


def _choice(parts: Sequence[Any], trial: BaseTrial, path: tuple[str, ...]) -> Any:
    _refuse_empty(parts, path)
    labels = [_label(part, index) for index, part in enumerate(parts)]
    if len(set(labels)) < len(labels):
        labels = [f"{index}: {label}" for index, label in enumerate(labels)]
    chosen = trial.suggest_categorical(".".join(path) or "space", labels)
    part = parts[labels.index(chosen)]
    # What a choice holds has names of its own: two methods' prune rates are two parameters.
    return sample(part, trial, (*path, str(chosen))) if isinstance(part, Mapping) else part


def _label(part: Any, index: int) -> str | float | bool | None:
    if isinstance(part, Mapping):
        name = part.get("name", part.get("preset", part.get("sparsifier")))
        return name if isinstance(name, str) else f"choice {index}"
    return part if isinstance(part, str | int | float | bool | None) else str(part)


def _limits(limits: Mapping[str, Any], name: str) -> tuple[float, float]:
    """The ends of an interval; SweepError if it is none."""
    low, high, step, log = limits["from"], limits["to"], limits.get("step"), limits.get("log", False)
    numbers = [value for value in (low, high, step) if value is not None]
    known = all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)
    if not known or not all(math.isfinite(value) for value in numbers) or low > high:
        raise SweepError(f"search.space.{name}: an interval needs numbers from <= to, got {dict(limits)}")
    if step is not None:
        next(
            expand_range({"from": low, "to": high, "step": step}, ("search", "space", name))
        )  # its end is met, or it raises
    if log and (low <= 0 or step is not None):
        raise SweepError(f"search.space.{name}: a logarithmic interval begins above 0 and has no step")
    return low, high


def _number(limits: Mapping[str, Any], trial: BaseTrial, name: str) -> float:
    low, high = _limits(limits, name)
    step, log = limits.get("step"), limits.get("log", False)
    if all(isinstance(value, int) for value in (low, high, step or 1)):
        return trial.suggest_int(name, int(low), int(high), step=step or 1, log=log)
    value = trial.suggest_float(name, low, high, step=step, log=log)
    return round(value, 12)  # a step of .1 from .1 is .3, not .30000000000000004: equal trials must be equal
