"""A registered name without small arguments is a name that no contract test has looked at with care."""

from __future__ import annotations

import pytest

from sparsweep.trainables.models import maskable
from support.contract_settings import LAYERS, TABLES, TinyConvNet, tiny_data


@pytest.mark.parametrize("kind", TABLES)
def test_every_name_has_settings(kind: str) -> None:
    settings, names = TABLES[kind]
    assert sorted(settings) == names, f"give every registered {kind} a line in contract_settings.py"


def test_tiny_network_has_the_layers_that_the_tests_count_on() -> None:
    data = tiny_data()
    module = TinyConvNet().build(10, (data.mean, data.std))
    assert {name: tuple(weight.shape) for name, weight in maskable(module).items()} == LAYERS
