"""Conversion of Python values to the plain values of a sweep file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from sparsweep.trainables.specs.base import shown
from sparsweep.tuner.errors import UsageError

DIGITS = 12
"""Decimal places of numbers: 0.1 + 2 * 0.1 must be 0.3, or equal trials would get different ids."""


def to_plain(value: Any, path: str = "") -> Any:
    """Return ``value`` as mappings, lists, numbers, texts, booleans and None.

    Args:
        value: A value of a sweep. Tuples, ranges, iterators and NumPy arrays become lists, specs become mappings.
        path: Dotted path of the value, for the error message.

    Raises:
        UsageError: A value of another type.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, np.generic | np.ndarray):
        return to_plain(value.tolist(), path)
    if isinstance(value, Mapping):
        return {str(key): to_plain(part, f"{path}.{key}" if path else str(key)) for key, part in value.items()}
    if isinstance(value, float):
        return round(value, DIGITS)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Iterable):
        return [to_plain(part, path) for part in value]
    raise UsageError(
        f"{path or 'sweep'}: must be a mapping, list, number, text or spec (got {shown(value)}). Convert it first."
    )
