"""Field reference of sweep files: types, bounds, defaults and descriptions, read from the pydantic classes."""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

WIDTH = 110
COLUMNS = ("field", "type", "default", "meaning")


def describe_part(cls: type[BaseModel]) -> str:
    """Return the documentation of a class.

    If the module defines only this class, return the module docstring, because it cites the paper.
    """
    module = sys.modules[cls.__module__]
    defined = [
        value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == cls.__module__
    ]
    text = module.__doc__ if defined == [cls] else cls.__doc__
    return inspect.cleandoc(text or "")


def fields(cls: type[BaseModel]) -> list[dict[str, str]]:
    """Return one row with :data:`COLUMNS` per field of ``cls`` that a sweep file can set."""
    rows = []
    above: dict[str, Any] = {}  # a default factory may read the fields above
    for name, info in cls.model_fields.items():
        above[name] = default = info.get_default(call_default_factory=True, validated_data=above)
        meaning, kind = info.description or "", type_of(info)
        rows.append({"field": info.alias or name, "type": kind, "default": default_text(default), "meaning": meaning})
    return [row for row in rows if row["field"] != "name"]


def type_of(info: FieldInfo) -> str:
    """Return the type of a field with its bounds, e.g. ``float in (0, 1]`` or ``sign | magnitude``."""
    kind, low, high = _named(info.annotation), "", ""
    for bound in info.metadata:
        if isinstance(bound, (Ge, Gt)):
            low = f"[{bound.ge}" if isinstance(bound, Ge) else f"({bound.gt}"
        if isinstance(bound, (Le, Lt)):
            high = f"{bound.le}]" if isinstance(bound, Le) else f"{bound.lt})"
    return f"{kind} in {low or '(-inf'}, {high or 'inf)'}" if low or high else kind


def _named(kind: Any) -> str:
    """Return the name of a type in YAML terms."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _named(inner[0])
    if origin is Literal:
        return " | ".join(_yaml(value) for value in inner)
    if origin in (Union, UnionType):
        return " | ".join(_named(part) for part in inner)
    if origin in (tuple, list):
        return f"list of {_named(inner[0])}"
    if origin is dict:
        return f"mapping to {_named(inner[1])}"
    if kind is NoneType:
        return "null"
    return {str: "text", bool: "true | false"}.get(kind) or getattr(kind, "__name__", str(kind)).lower()


def default_text(default: Any) -> str:
    """Return the default of a field in YAML, or ``required`` if the field has no default."""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        return str(getattr(default, "name", "its defaults"))
    return _yaml(to_jsonable_python(default))


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def format_fields(rows: list[dict[str, str]]) -> list[str]:
    """Format the rows of :func:`fields` as an aligned table with wrapped meanings."""
    widths = [max(len(row[column]) for row in [*rows, _heads()]) for column in COLUMNS[:-1]]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for row in [_heads(), *rows]:
        start = "".join(f"{row[column]:<{width}}  " for column, width in zip(COLUMNS, widths, strict=False))
        text = textwrap.wrap(row["meaning"], max(40, WIDTH - indent)) or [""]
        lines += [(start + text[0]).rstrip(), *(" " * indent + line for line in text[1:])]
    return lines


def _heads() -> dict[str, str]:
    return {column: column for column in COLUMNS}
