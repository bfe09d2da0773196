"""YAML reader and writer for all user files and ``--set``: scalars of YAML 1.2, no duplicate keys.

PyYAML follows YAML 1.1: ``010`` is 8, ``1e-3`` is a string, ``no`` is false, ``12:30`` is a number, and the last of two
equal keys silently wins. This module follows the core schema of YAML 1.2 (section 10.3): ``010`` is 10, ``0o10`` is 8,
``0x1F`` is 31, ``1e-3`` is a number, and only ``true`` and ``false`` are Booleans. ``yes``, ``no``, ``on`` and ``off``
are strings, which Boolean fields accept. Merge keys (``<<``) are supported.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from sparsweep.trainables.specs.base import shortened, shown

TAG = "tag:yaml.org,2002:"
CORE_SCHEMA = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
"""Type -> pattern of an unquoted scalar, and its possible first characters."""


MOST_VALUES = 10**6
"""Maximum number of values in a document, references expanded. A few nested references can expand to any number."""
MOST_DIGITS = 1000
"""Maximum number of digits of an integer."""


class YAMLError(ValueError):
    """Error for invalid YAML: one line with the reason."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # drop those of YAML 1.1

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.deep_construct = True  # raises an error for a value that contains itself

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in lines:
                raise YAMLError(f"line {line}: duplicate key {shown(key.value)}, see line {lines[name]}. Remove one.")
            lines[name] = line
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    if len(text) > MOST_DIGITS:
        line = node.start_mark.line + 1
        raise YAMLError(f"line {line}: integers can have at most {MOST_DIGITS:,} digits (got {len(text):,})")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


for _kind, (_pattern, _first) in CORE_SCHEMA.items():
    # The order matters: a scalar that matches both int and float is an int.
    _Loader.add_implicit_resolver(TAG + _kind, re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor(TAG + "int", _integer)
_Loader.add_constructor(TAG + "float", _float)


def load(text: str) -> Any:
    """Parse ``text`` and return its value.

    Raises:
        YAMLError: ``text`` is not valid YAML, is nested too deeply, or has too many values.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {})
        return loader.construct_document(node)
    except YAMLError:
        raise
    except RecursionError:
        raise YAMLError("invalid YAML: nested too deeply") from None
    except Exception as error:  # an explicit tag on an unsuitable scalar raises any error: !!int x, !!timestamp 1-2-3
        raise YAMLError(f"invalid YAML: {shortened(str(error)) or type(error).__name__}") from None


def _count_values(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return the number of values in ``node``, references expanded. Raise YAMLError if it is too large."""
    if id(node) not in counted:
        counted[id(node)] = 0  # a node that contains itself raises an error later
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        nodes = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        counted[id(node)] = 1 + sum(_count_values(part, counted) for part in nodes)
    if counted[id(node)] > MOST_VALUES:
        raise YAMLError(f"too many values: at most {MOST_VALUES:,}, references expanded (got {counted[id(node)]:,})")
    return counted[id(node)]


def dump(value: Any) -> str:
    """Return ``value`` as YAML. Keys keep their order; :func:`load` restores the value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
