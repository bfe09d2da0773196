"""Export of a trained sparse network: a file of plain tensors, PyTorch's own pruning, ONNX.

The file has ``state_dict`` (masked weights are zero), ``masks`` (boolean, by weight name) and ``spec`` (JSON). It loads
with ``torch.load(file, weights_only=True)``, without this package. Networks map float32 images ``(N, C, H, W)`` in [0,
1] to logits ``(N, classes)``. Standardization is a layer of the network.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from sparsweep.trainables.models import models
from sparsweep.trainables.pipeline.device_data import model_input_shape
from sparsweep.trainables.runs.soundness import check_weights
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store

ONNX_PACKAGES = ("onnx", "onnxscript")


def export(store: Store, trial: str) -> dict[str, Any]:
    """Return the content of the file of a finished trial: ``state_dict``, ``masks`` and ``spec``.

    Args:
        store: Storage of the trial.
        trial: Id of the trial.

    Raises:
        FileNotFoundError: The weights are missing or damaged.
    """
    spec = read_spec(store, trial)
    weights = store.read_weights(trial, partial(check_weights, trial=spec))
    model, masks = weights["model"], weights["masks"]
    masked = {name: value * masks[name] if name in masks else value for name, value in model.items()}
    return {"state_dict": masked, "masks": masks, "spec": to_json(spec)}


def read_spec(store: Store, trial: str) -> TrialSpec:
    """Return the spec in the row of a finished trial.

    Args:
        store: Storage of the trial.
        trial: Id of the trial.

    Raises:
        ValueError: The row is damaged.
    """
    table, _ = tables.read_table(store.storage, "trials", trials=[trial], columns=["spec"])
    if not table.num_rows:
        raise ValueError("its row is damaged")
    spec = from_json(table["spec"][0].as_py())
    assert isinstance(spec, TrialSpec)
    return spec


def network(content: Mapping[str, Any]) -> nn.Module:
    """Build the network of an :func:`export` with its weights, in evaluation mode on the CPU."""
    spec = from_json(content["spec"])
    assert isinstance(spec, TrialSpec)
    channels = spec.model.channels
    module = models.cast(spec.model).build(spec.dataset.classes, ([0.0] * channels, [1.0] * channels))
    module.load_state_dict(content["state_dict"])
    return module.eval()


def to_prune(module: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """Apply ``masks`` to ``module`` with ``torch.nn.utils.prune``: ``weight_orig`` and ``weight_mask`` per layer.

    Any training loop can then continue the training. ``prune.remove`` makes the masks permanent.

    Args:
        module: Network to prune, changed in place.
        masks: Boolean masks by weight name.

    Returns:
        The argument ``module``.
    """
    for name, mask in masks.items():
        layer, _, parameter = name.rpartition(".")
        prune.custom_from_mask(module.get_submodule(layer), parameter, mask)
    return module


def to_torch(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file for ``torch.load``."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


def to_onnx(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of an ONNX model with input ``images``, of any batch size, and output ``logits``.

    Raises:
        ModuleNotFoundError: A package for the conversion is missing.
    """
    missing = [package for package in ONNX_PACKAGES if find_spec(package) is None]
    if missing:
        raise ModuleNotFoundError(f"needs {' and '.join(missing)}: pip install 'sparsweep[onnx]'")
    spec, module = from_json(content["spec"]), network(content)
    assert isinstance(spec, TrialSpec)
    shape = model_input_shape(spec.dataset.image_shape, spec.model.channels, spec.model.min_size)
    program = torch.onnx.export(
        module,
        (torch.zeros(2, *shape),),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    return program.model_proto.SerializeToString()
