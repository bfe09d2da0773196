"""A trained sparse network for others: a file of plain tensors, PyTorch's own pruning, ONNX.

The file holds ``state_dict`` (masked weights are zero), ``masks`` (boolean, by the name of the weight) and ``spec``
(JSON), and loads with ``torch.load(file, weights_only=True)`` and nothing of this package. Networks take float32 images
[N, C, H, W] in [0, 1] (standardisation is a layer of theirs) and give logits [N, classes].
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
    """What the file of a finished trial holds: ``state_dict``, ``masks`` and ``spec``; FileNotFoundError if lost."""
    spec = read_spec(store, trial)
    left = store.read_weights(trial, partial(check_weights, trial=spec))
    model, masks = left["model"], left["masks"]
    applied = {name: value * masks[name] if name in masks else value for name, value in model.items()}
    return {"state_dict": applied, "masks": masks, "spec": to_json(spec)}


def read_spec(store: Store, trial: str) -> TrialSpec:
    """The spec in the row of a finished trial."""
    table, _ = tables.read_table(store.storage, "trials", trials=[trial], columns=["spec"])
    if not table.num_rows:
        raise ValueError("its row is damaged")
    spec = from_json(table["spec"][0].as_py())
    assert isinstance(spec, TrialSpec)
    return spec


def network(content: Mapping[str, Any]) -> nn.Module:
    """The network in what :func:`export` gave, with its weights, in evaluation mode on the CPU."""
    spec = from_json(content["spec"])
    assert isinstance(spec, TrialSpec)
    channels = spec.model.channels
    module = models.cast(spec.model).build(spec.dataset.classes, ([0.0] * channels, [1.0] * channels))
    module.load_state_dict(content["state_dict"])
    return module.eval()


def to_prune(module: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """Put ``masks`` in force on ``module`` by ``torch.nn.utils.prune``: ``weight_orig`` and ``weight_mask`` a layer.

    So it can be trained on by any loop, and ``prune.remove`` makes it final. Returns ``module``.
    """
    for name, mask in masks.items():
        layer, _, parameter = name.rpartition(".")
        prune.custom_from_mask(module.get_submodule(layer), parameter, mask)
    return module


def to_torch(content: Mapping[str, Any]) -> bytes:
    """The bytes of a file for ``torch.load``."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


def to_onnx(content: Mapping[str, Any]) -> bytes:
    """The bytes of an ONNX model: input ``images`` with any number of them, output ``logits``.

    ModuleNotFoundError, with what to install, where the packages for it are missing.
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
