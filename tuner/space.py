"""A search space: the syntax of a grid, of which a sampler draws one cell at a time.

A list is a choice, ``{from, to}`` an interval (whole numbers if both ends are; with ``step`` in steps, with
``log: true`` on a logarithmic scale), everything else is fixed. What stands inside of a choice is drawn only where that
is chosen: ``sparsifier: [{name: set, prune_rate: {from: 0.1, to: 0.5}}, snip]`` draws a prune rate for SET alone. A
space that is itself a list chooses one of its mappings first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import BaseTrial

from tuner.grid import SweepError, is_tuple, steps

INTERVAL = {"from", "to", "step", "log"}


def draw(space: Any, trial: BaseTrial, path: tuple[str, ...] = ()) -> Any:
    """One cell of ``space``, its choices suggested by ``trial`` under their dotted paths."""
    if isinstance(space, Mapping) and {"from", "to"} <= space.keys() <= INTERVAL:
        return _number(space, trial, ".".join(path))
    if isinstance(space, Mapping):
        return {key: draw(part, trial, (*path, key)) for key, part in space.items()}
    if isinstance(space, list) and not (is_tuple(path) and not any(isinstance(part, list) for part in space)):
        return _choice(space, trial, path)
    return space


def _choice(parts: Sequence[Any], trial: BaseTrial, path: tuple[str, ...]) -> Any:
    if not parts:
        raise SweepError(f"search.space.{'.'.join(path)}: an empty list leaves nothing to choose")
    labels = [_label(part, index) for index, part in enumerate(parts)]
    if len(set(labels)) < len(labels):
        labels = [f"{index}: {label}" for index, label in enumerate(labels)]
    chosen = trial.suggest_categorical(".".join(path) or "space", labels)
    part = parts[labels.index(chosen)]
    # What a choice holds has names of its own: two methods' prune rates are two parameters.
    return draw(part, trial, (*path, str(chosen))) if isinstance(part, Mapping) else part


def _label(part: Any, index: int) -> str | float | bool | None:
    if isinstance(part, Mapping):
        name = part.get("name", part.get("preset", part.get("sparsifier")))
        return name if isinstance(name, str) else f"choice {index}"
    return part if isinstance(part, str | int | float | bool | None) else str(part)


def _number(limits: Mapping[str, Any], trial: BaseTrial, name: str) -> float:
    low, high, step, log = limits["from"], limits["to"], limits.get("step"), limits.get("log", False)
    numbers = [value for value in (low, high, step) if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers) or low > high:
        raise SweepError(f"search.space.{name}: an interval needs numbers from <= to, got {dict(limits)}")
    if step is not None:
        next(steps({"from": low, "to": high, "step": step}, ("search", "space", name)))  # its end is met, or it raises
    if log and (low <= 0 or step is not None):
        raise SweepError(f"search.space.{name}: a logarithmic interval begins above 0 and has no step")
    if all(isinstance(value, int) for value in numbers):
        return trial.suggest_int(name, low, high, step=step or 1, log=log)
    value = trial.suggest_float(name, low, high, step=step, log=log)
    return round(value, 12)  # a step of .1 from .1 is .3, not .30000000000000004: equal trials must be equal
