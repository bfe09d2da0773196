"""YAML that people write: numbers and words of YAML 1.2, and no key twice. Every file and ``--set`` goes through it.

PyYAML follows YAML 1.1, in which ``010`` is eight, ``1e-3`` a text, ``no`` false and ``12:30`` a number; and of two
equal keys the last wins without a word. Here the core schema of YAML 1.2 (section 10.3) decides: ``010`` is ten,
``0o10`` eight, ``0x1F`` thirty-one, ``1e-3`` a number, and only ``true`` and ``false`` are truth values. ``yes``,
``no``, ``on`` and ``off`` are texts, which a field of truth values understands. Merge keys (``<<``) stay.
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
"""Kind: what a word of it looks like without quotes, and the characters that it begins with."""


MOST_VALUES = 10**6
"""Values in a text, each counted as often as it is referred to: a few lines of references can stand for any number."""
MOST_DIGITS = 1000
"""Of a whole number."""


class YAMLError(ValueError):
    """A text cannot be read as YAML: one line with the reason."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # none of YAML 1.1

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.deep_construct = True  # a value that holds itself is refused

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in lines:
                why = f"{shown(key.value)} is given already, in line {lines[name]}"
                raise YAMLError(f"line {line}: {why}. Remove one of them.")
            lines[name] = line
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    if len(text) > MOST_DIGITS:
        raise YAMLError(f"line {node.start_mark.line + 1}: a number of {len(text):,} digits, at most {MOST_DIGITS:,}")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


for _kind, (_form, _first) in CORE_SCHEMA.items():
    # In the order above: what could be both is a whole number.
    _Loader.add_implicit_resolver(TAG + _kind, re.compile(f"^(?:{_form})$"), list(_first))
_Loader.add_constructor(TAG + "int", _integer)
_Loader.add_constructor(TAG + "float", _float)


def load(text: str) -> Any:
    """Return the value that ``text`` describes. Raises YAMLError."""
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
        raise YAMLError("not YAML: it is nested too deeply") from None
    except Exception as error:  # whatever a tag makes of a text that is not of its kind: !!int x, !!timestamp 1-2-3
        raise YAMLError(f"not YAML: {shortened(str(error)) or type(error).__name__}") from None


def _count_values(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return how many values ``node`` stands for, references followed. Raises YAMLError if they are too many."""
    if id(node) not in counted:
        counted[id(node)] = 0  # what holds itself is refused later
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        nodes = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        counted[id(node)] = 1 + sum(_count_values(part, counted) for part in nodes)
    if counted[id(node)] > MOST_VALUES:
        raise YAMLError(f"it stands for {counted[id(node)]:,} values, at most {MOST_VALUES:,} are read")
    return counted[id(node)]


def dump(value: Any) -> str:
    """Return YAML from which :func:`load` makes ``value`` again, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
