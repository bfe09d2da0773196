"""Search spaces, in the syntax of grids. A sampler draws one cell at a time.

- A list is a categorical choice.
- ``{from, to}`` is an interval of floats, or of integers if both ends are integers. ``step`` discretizes the interval,
  ``log: true`` makes its scale logarithmic.
- All other values are constants.
- Parameters inside a choice are conditional: ``sparsifier: [{name: set, prune_rate: {from: 0.1, to: 0.5}}, snip]``
  draws a prune rate only for SET.
- If the whole space is a list, the sampler first chooses one of its mappings.
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
"""Maximum number of corners of a space that are validated before a search."""
REMEDIES = {
    "validation_accuracy": "Hold images out with dataset.validation",
    "corrupted_accuracy": "Train under a difficulty that corrupts images",
    "robust_accuracy": "Train under an adversarial difficulty",
    "autoattack_accuracy": "Train under an adversarial difficulty with autoattack: true",
}
"""Accuracies that only some trials have, and the setting that adds them."""


def sample(space: Any, trial: BaseTrial, path: tuple[str, ...] = ()) -> Any:
    """Draw one cell of a search space.

    Args:
        space: The space, or a part of it.
        trial: Optuna trial that suggests the values, under their dotted paths as parameter names.
        path: Keys from the trial to ``space``.

    Returns:
        ``space`` with every choice and interval replaced by one value.

    Raises:
        SweepError: A list is empty or an interval is invalid.
    """
    if isinstance(space, Mapping) and {"from", "to"} <= space.keys() <= INTERVAL:
        return _number(space, trial, ".".join(path))
    if isinstance(space, Mapping):
        return {key: sample(part, trial, (*path, key)) for key, part in space.items()}
    if isinstance(space, list) and not (is_list_field(path) and not any(isinstance(part, list) for part in space)):
        return _choice(space, trial, path)
    return space


def check_space(space: Any, base: Mapping[str, Any], objectives: Sequence[str]) -> None:
    """Validate a search space: try every choice with the ends of every interval (at most :data:`MAX_CORNERS`).

    Args:
        space: The search space.
        base: Fields of a trial under every cell.
        objectives: Columns of the ``trials`` table. At least one corner must have each of them.

    Raises:
        SweepError: A corner is not a valid trial, or no corner has one of the objectives.
    """
    measured: set[str] = set()
    for cell in islice(corners(space), MAX_CORNERS):
        spec = _as_trial(merge(base, cell), cell)
        measured |= spec.difficulty.measured
        if spec.dataset.validation:
            measured.add("validation_accuracy")
    for name in objectives:
        if name in REMEDIES and name not in measured:
            raise SweepError(f"search.objectives: no trial of this search has {name}. {REMEDIES[name]}.")


def _as_trial(fields: Mapping[str, Any], cell: Any) -> TrialSpec:
    """Return the trial of ``fields``. Raise SweepError with ``cell`` if the trial is invalid."""
    try:
        spec = TrialSpec.model_validate(fields)
        spec.sparsifier.check_updates(spec)
    except ValidationError as error:
        raise SweepError(f"search.space: invalid corner: {format_error(error)} (got {cell})") from None
    except ValueError as error:
        raise SweepError(f"search.space: {error} (got {cell})") from None
    return spec


def corners(space: Any, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield the cells of ``space`` at the ends of its intervals.

    Args:
        space: The space, or a part of it.
        path: Keys from the trial to ``space``.

    Raises:
        SweepError: An interval is invalid or a list is empty.
    """
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
        raise SweepError(f"search.space.{'.'.join(path)}: empty list. Give at least one choice.")


def _choice(parts: Sequence[Any], trial: BaseTrial, path: tuple[str, ...]) -> Any:
    _refuse_empty(parts, path)
    labels = [_label(part, index) for index, part in enumerate(parts)]
    if len(set(labels)) < len(labels):
        labels = [f"{index}: {label}" for index, label in enumerate(labels)]
    chosen = trial.suggest_categorical(".".join(path) or "space", labels)
    part = parts[labels.index(chosen)]
    # The path contains the choice, because the prune rates of two methods are two Optuna parameters.
    return sample(part, trial, (*path, str(chosen))) if isinstance(part, Mapping) else part


def _label(part: Any, index: int) -> str | float | bool | None:
    if isinstance(part, Mapping):
        name = part.get("name", part.get("preset", part.get("sparsifier")))
        return name if isinstance(name, str) else f"choice {index}"
    return part if isinstance(part, str | int | float | bool | None) else str(part)


def _limits(limits: Mapping[str, Any], name: str) -> tuple[float, float]:
    """Return the ends of an interval. Raise SweepError if the interval is invalid."""
    low, high, step, log = limits["from"], limits["to"], limits.get("step"), limits.get("log", False)
    numbers = [value for value in (low, high, step) if value is not None]
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)
    if not are_numbers or not all(math.isfinite(value) for value in numbers) or low > high:
        raise SweepError(f"search.space.{name}: an interval needs numbers with from <= to (got {dict(limits)})")
    if step is not None:  # raises if the steps miss the end
        next(expand_range({"from": low, "to": high, "step": step}, ("search", "space", name)))
    if log and (low <= 0 or step is not None):
        raise SweepError(
            f"search.space.{name}: a log interval needs from > 0 and no step (got {dict(limits)}). Remove log or step."
        )
    return low, high


def _number(limits: Mapping[str, Any], trial: BaseTrial, name: str) -> float:
    low, high = _limits(limits, name)
    step, log = limits.get("step"), limits.get("log", False)
    if all(isinstance(value, int) for value in (low, high, step or 1)):
        return trial.suggest_int(name, int(low), int(high), step=step or 1, log=log)
    value = trial.suggest_float(name, low, high, step=step, log=log)
    return round(value, 12)  # 0.1 + 2 * 0.1 must be 0.3, not 0.30000000000000004, or equal trials get different ids
