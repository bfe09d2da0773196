"""Fixtures of the contract tests: tiny data that trains in milliseconds."""

from __future__ import annotations

import pytest

from sparsweep.trainables.pipeline.device_data import DeviceData


@pytest.fixture(scope="session")
def data() -> DeviceData:
    from support.contract_settings import tiny_data

    return tiny_data()
