"""Shared by the tests of one trial: one thread, and the digits on the CPU, loaded once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trainables.data import DeviceData, ImageData, datasets, place
from trainables.store import Store

# The tests are imported by file, not by folder, so the modules that they share must be told where they are.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors lose more to threads than they gain; and the machine is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def raw_digits() -> ImageData:
    return datasets["digits"]().load()


@pytest.fixture(scope="session")
def digits(raw_digits: ImageData) -> DeviceData:
    """The digits as ``resnet8`` wants them."""
    return place(raw_digits, 1, 8, torch.device("cpu"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "storage"))
