"""Shared by the contract tests: one thread, and tiny data that trains in milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trainables.data import DeviceData

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
def data() -> DeviceData:
    from contract_settings import tiny_data

    return tiny_data()
