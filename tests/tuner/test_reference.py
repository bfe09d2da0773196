"""The reference of fields: every field of everything that a sweep file can name, as the classes have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from sparsweep.tuner.cli.catalogue import Kind, classes, field_reference
from sparsweep.tuner.cli.field_reference import fields, format_fields

KINDS = [kind for kind in Kind if kind is not Kind.sweeps]


class Example(BaseModel):
    """A class with a field of each sort."""

    name: Literal["example"] = "example"
    share: float = Field(default=0.2, gt=0, lt=1, description="a share")
    count: int = Field(ge=1, description="a count")
    way: Literal["up", "down"] = Field(default="up", description="a choice")
    maybe: int | None = Field(default=None, ge=0, le=9, description="may be left out")
    several: tuple[float, ...] = Field(default=(0.5, 0.75), description="numbers")
    on: bool = Field(default=False, description="a switch")


def test_types_bounds_and_defaults_by_hand() -> None:
    assert [tuple(row.values()) for row in fields(Example)] == [
        ("share", "float in (0, 1)", "0.2", "a share"),
        ("count", "int in [1, inf)", "required", "a count"),
        ("way", "up | down", "up", "a choice"),
        ("maybe", "int | null in [0, 9]", "null", "may be left out"),
        ("several", "list of float", "[0.5, 0.75]", "numbers"),
        ("on", "true | false", "false", "a switch"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_says_what_it_means(kind: Kind) -> None:
    silent = [
        f"{name}.{row['field']}" for name, cls in classes(kind).items() for row in fields(cls) if not row["meaning"]
    ]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_described_and_fits_a_terminal(kind: Kind) -> None:
    for name in classes(kind):
        facts = field_reference(kind, name)
        assert facts["about"]
        assert all(len(line) <= 130 for line in format_fields(facts["fields"]))


def test_of_a_method_its_source_and_its_fields_are_printed(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("list", "sparsifiers", "set")
    assert code == 0
    assert "Mocanu et al." in out
    (row,) = [line for line in out.splitlines() if line.startswith("prune_rate ")]
    assert row.split()[1:5] == ["float", "in", "(0,", "1)"] and "0.2" in row
    facts = json.loads(call("list", "sparsifiers", "set", "--json")[1])
    assert {field["field"] for field in facts["fields"]} >= {"update_every", "prune_rate"}


def test_what_is_not_there_is_named_with_the_choices(call: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = call("list", "sparsifiers", "sett")
    assert code == 2 and "did you mean set?" in err
    assert call("list", "sweeps", "smoke")[0] == 2


def test_the_version_is_printed(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("--version")
    assert code == 0 and out.startswith("sparsweep ")
