"""Every registered name needs small arguments in ``contract_settings``, so that the contract tests cover it."""

from __future__ import annotations

import pytest

from sparsweep.trainables.models import maskable
from support.contract_settings import LAYERS, TABLES, TinyConvNet, tiny_data


@pytest.mark.parametrize("kind", TABLES)
def test_every_name_has_settings(kind: str) -> None:
    settings, names = TABLES[kind]
    assert sorted(settings) == names, f"add a line to contract_settings.py for every registered {kind}"


def test_tiny_network_has_the_expected_layers() -> None:
    data = tiny_data()
    module = TinyConvNet().build(10, (data.mean, data.std))
    assert {name: tuple(weight.shape) for name, weight in maskable(module).items()} == LAYERS
