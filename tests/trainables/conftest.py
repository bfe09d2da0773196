"""Fixtures of the tests of trainables: the digits on the CPU, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparsweep.trainables.data import ImageData, datasets
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data
from sparsweep.trainables.storage.store import Store


@pytest.fixture(scope="session")
def raw_digits() -> ImageData:
    return datasets["digits"]().load()


@pytest.fixture(scope="session")
def digits(raw_digits: ImageData) -> DeviceData:
    """Return the digits in the format that ``resnet8`` needs."""
    return to_device_data(raw_digits, 1, 8, torch.device("cpu"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "storage"))
