"""The fields of what a sweep file names: types, bounds, defaults and meanings, read from the classes themselves."""

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
    """Return what is written of a class: by its file, which names the source, where the file is about it alone."""
    module = sys.modules[cls.__module__]
    defined = [
        value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == cls.__module__
    ]
    text = module.__doc__ if defined == [cls] else cls.__doc__
    return inspect.cleandoc(text or "")


def fields(cls: type[BaseModel]) -> list[dict[str, str]]:
    """Return a row of :data:`COLUMNS` for each field of ``cls`` that a sweep file can set."""
    rows = []
    above: dict[str, Any] = {}  # a default may follow from the fields above it
    for name, info in cls.model_fields.items():
        above[name] = default = info.get_default(call_default_factory=True, validated_data=above)
        meaning, kind = info.description or "", type_of(info)
        rows.append({"field": info.alias or name, "type": kind, "default": default_text(default), "meaning": meaning})
    return [row for row in rows if row["field"] != "name"]


def type_of(info: FieldInfo) -> str:
    """Return the type of a field with its bounds: ``float in (0, 1]``, ``sign | magnitude``."""
    kind, low, high = _named(info.annotation), "", ""
    for bound in info.metadata:
        if isinstance(bound, (Ge, Gt)):
            low = f"[{bound.ge}" if isinstance(bound, Ge) else f"({bound.gt}"
        if isinstance(bound, (Le, Lt)):
            high = f"{bound.le}]" if isinstance(bound, Le) else f"{bound.lt})"
    return f"{kind} in {low or '(-inf'}, {high or 'inf)'}" if low or high else kind


def _named(kind: Any) -> str:
    """Return a type as a reader of YAML knows it."""
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
    """Return the default of a field in YAML, ``required`` if it has none."""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        return str(getattr(default, "name", "its defaults"))
    return _yaml(to_jsonable_python(default))


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def format_fields(rows: list[dict[str, str]]) -> list[str]:
    """Return a table of fields as a person reads it, meanings wrapped."""
    widths = [max(len(row[column]) for row in [*rows, _heads()]) for column in COLUMNS[:-1]]
    indent = sum(widths) + 2 * len(widths)
    found = []
    for row in [_heads(), *rows]:
        start = "".join(f"{row[column]:<{width}}  " for column, width in zip(COLUMNS, widths, strict=False))
        text = textwrap.wrap(row["meaning"], max(40, WIDTH - indent)) or [""]
        found += [(start + text[0]).rstrip(), *(" " * indent + line for line in text[1:])]
    return found


def _heads() -> dict[str, str]:
    return {column: column for column in COLUMNS}
