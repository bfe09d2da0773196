"""YAML files: the core schema of YAML 1.2, and an error for duplicate keys."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sparsweep.trainables.storage.plain_yaml import YAMLError, dump, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("08", 8),
        ("-09", -9),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("+.inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        *((text, text) for text in ("yes", "no", "On", "off", "y", "N", "tRUE", "12:30", "2024-01-01", "1_000", "0b1")),
        ("'010'", "010"),
        ("e3", "e3"),
        (".", "."),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    loaded = load(text)
    assert loaded == value and type(loaded) is type(value)
    assert load(f"[{text or '~'}]") == [value]


def test_nan_is_a_float() -> None:
    assert math.isnan(load(".nan"))


SCALARS = ["010", "1e-3", "0x1F", "0o7", "yes", "true", "null", "~", "", "<<", "12:30", ".inf", "a: b", "- a"]


@pytest.mark.parametrize(
    "value", [*SCALARS, 10, -3, 1e-5, 1e300, 0.1, math.inf, True, None, [1, "1"], {"1": 1}], ids=str
)
def test_dumped_values_load_unchanged(value: Any) -> None:
    """Texts that look like numbers are quoted. Sweeps are stored as YAML and read with this schema."""
    loaded = load(dump({"key": value}))["key"]
    assert loaded == value and type(loaded) is type(value)


def test_order_is_kept() -> None:
    assert dump({"b": 1, "a": [2]}) == "b: 1\na:\n- 2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: duplicate key 'a', see line 1. Remove one."),
        ("- x\n- {a: 1, 'a': 2}", "line 2: duplicate key 'a', see line 2. Remove one."),
        ("a:\n  b:\n    c: 1\n    c: 1", "line 4: duplicate key 'c', see line 3. Remove one."),
    ],
)
def test_duplicate_key_is_an_error_with_line_numbers(text: str, message: str) -> None:
    with pytest.raises(YAMLError) as error:
        load(text)
    assert str(error.value) == message


def test_merged_key_may_be_overridden() -> None:
    text = "a: {b: &inner {<<: &base {p: 1, q: 2}, p: 3}}\nc: {<<: *inner, q: 4}"
    assert load(text) == {"a": {"b": {"p": 3, "q": 2}}, "c": {"p": 3, "q": 4}}


INVALID = ["[", "{[1]: 2}", "!!int x", "a: &a [*a]", "--- 1\n--- 2", "!!python/name:os.system", "\0"]


@pytest.mark.parametrize("text", INVALID)
def test_invalid_yaml_is_a_one_line_error(text: str) -> None:
    with pytest.raises(YAMLError, match=r"^invalid YAML: [^\n]+$"):
        load(text)
