"""Tensor files in the format of version 0.1, with any value that can be pickled: old and malicious checkpoints."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch

from sparsweep.trainables.storage.tensor_file import FORMER_MAGIC


def dumps(value: Any, run: str = "") -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    head = [FORMER_MAGIC.decode(), hashlib.sha256(buffer.getvalue()).hexdigest(), *([run] if run else [])]
    return " ".join(head).encode() + b"\n" + buffer.getvalue()
