"""Field reference: all fields that a sweep file can set, as declared by the classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from sparsweep.tuner.cli.catalogue import Kind, classes, field_reference
from sparsweep.tuner.cli.field_reference import fields, format_fields

KINDS = [kind for kind in Kind if kind not in (Kind.sweeps, Kind.claims)]


class Example(BaseModel):
    """Class with one field of each type."""

    name: Literal["example"] = "example"
    share: float = Field(default=0.2, gt=0, lt=1, description="a share")
    count: int = Field(ge=1, description="a count")
    direction: Literal["up", "down"] = Field(default="up", description="a choice")
    optional: int | None = Field(default=None, ge=0, le=9, description="may be left out")
    numbers: tuple[float, ...] = Field(default=(0.5, 0.75), description="numbers")
    on: bool = Field(default=False, description="a switch")


def test_types_bounds_and_defaults_of_fields() -> None:
    assert [tuple(row.values()) for row in fields(Example)] == [
        ("share", "float in (0, 1)", "0.2", "a share"),
        ("count", "int in [1, inf)", "required", "a count"),
        ("direction", "up | down", "up", "a choice"),
        ("optional", "int | null in [0, 9]", "null", "may be left out"),
        ("numbers", "list of float", "[0.5, 0.75]", "numbers"),
        ("on", "true | false", "false", "a switch"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_description(kind: Kind) -> None:
    undescribed = [
        f"{name}.{row['field']}" for name, cls in classes(kind).items() for row in fields(cls) if not row["meaning"]
    ]
    assert undescribed == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_is_described_in_short_lines(kind: Kind) -> None:
    for name in classes(kind):
        facts = field_reference(kind, name)
        assert facts["about"]
        assert all(len(line) <= 130 for line in format_fields(facts["fields"]))


def test_list_prints_what_a_claim_needs(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("list", "claims")
    assert code == 0 and len(out.splitlines()) == 41
    code, out, _ = call("list", "claims", "dst-low-sparsity")
    assert code == 0
    assert "Source: arXiv 2410.03030, Figure 2" in out
    assert "It needs dense and set, rigl, mest on: random subset, data ratio 1, sparsity 0.1 to 0.5" in out
    assert "- set, rigl, mest: gains more at low than at high sparsity" in out
    code, _, err = call("list", "claims", "dst-low")
    assert code == 2 and "unknown claim 'dst-low' (did you mean" in err


def test_list_prints_source_and_fields_of_a_method(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("list", "sparsifiers", "set")
    assert code == 0
    assert "Mocanu et al." in out
    (row,) = [line for line in out.splitlines() if line.startswith("prune_rate ")]
    assert row.split()[1:5] == ["float", "in", "(0,", "1)"] and "0.2" in row
    facts = json.loads(call("list", "sparsifiers", "set", "--json")[1])
    assert {field["field"] for field in facts["fields"]} >= {"update_every", "prune_rate"}


def test_unknown_name_error_suggests_a_name(call: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = call("list", "sparsifiers", "sett")
    assert code == 2 and "did you mean set?" in err
    assert call("list", "sweeps", "smoke")[0] == 2


def test_version_option_prints_the_version(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("--version")
    assert code == 0 and out.startswith("sparsweep ")
