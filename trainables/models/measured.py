"""Maskable layers of networks without a closed form (plug-ins), counted on the built network.

A process with PyTorch counts directly. A process without PyTorch starts a short-lived process with PyTorch and caches
the result in ``~/.cache/sparsweep/layers``. The file name is a digest of the network, its code and its input shape.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sparsweep.trainables import plugins
from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.layers import Layer
from sparsweep.trainables.specs.parts import ModelSpec, registry_of
from sparsweep.trainables.storage.filesystem import atomic_write
from sparsweep.trainables.storage.provenance import loaded_code

CACHE = "~/.cache/sparsweep/layers"
ANSWER = "from sparsweep.trainables.models.measured import answer; answer()"
Question = Mapping[str, Any]
"""Request to the process: ``model`` (JSON), ``classes`` and ``shape`` (channels, height, width)."""

PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights of ``nn.MultiheadAttention`` without its output layer. Unused ones are None."""
INPUTS = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}


def measured_layers(model: ModelSpec, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Return the maskable layers of a network in network order.

    Args:
        model: The network.
        classes: Number of classes.
        shape: Shape (channels, height, width) of the input images.

    Raises:
        SpecError: No call of a layer uses its weight, so its FLOPs are unknown.
    """
    if "torch" in sys.modules:
        return built_layers(model, classes, shape)
    question = {"model": model.model_dump(mode="json"), "classes": classes, "shape": list(shape)}
    file = _cache_file(question, type(model).__module__.partition(".")[0])
    with suppress(OSError, ValueError, LookupError, TypeError):
        return _parse_layers(file.read_bytes())
    output = _run_process(question)
    if output is None:  # the process failed: build the network here, so that the error is raised here
        return built_layers(model, classes, shape)
    with suppress(OSError):
        atomic_write(str(file), output)
    return _parse_layers(output)


def built_layers(model: ModelSpec, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Build a network and count its layers.

    Args:
        model: The network.
        classes: Number of classes.
        shape: Shape (channels, height, width) of the input images.
    """
    network = registry_of("model").cast(model).build(classes, ([0.0] * model.channels, [1.0] * model.channels))
    return count_layers(network, shape)


def _cache_file(question: Question, module: str) -> Path:
    key = {**question, "code": loaded_code(module), "torch": version("torch")}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return Path(os.path.expanduser(CACHE)) / f"{name}.json"


def _parse_layers(content: bytes) -> tuple[Layer, ...]:
    rows = [(str(name), tuple(map(int, shape)), int(flops)) for name, shape, flops in json.loads(content)]
    return tuple(Layer(*row) for row in rows)


def _run_process(question: Question) -> bytes | None:
    """Return the layers as JSON, computed by a process with PyTorch. None if the process fails."""
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    result = subprocess.run(
        [sys.executable, "-P", "-c", ANSWER],
        input=json.dumps({**question, "modules": plugins.requested_modules()}).encode(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return None if result.returncode else result.stdout


def answer() -> None:
    """Read a request (JSON) from stdin and write the layers of its network as JSON to stdout."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a plug-in can print to stdout: send that to stderr
    question = json.load(sys.stdin)
    plugins.load_plugins(question["modules"])
    layers = built_layers(registry_of("model").parse(question["model"]), question["classes"], tuple(question["shape"]))
    output.write(json.dumps(layers))
    output.close()


# Counting ------------------------------------------------------------------------------------------------------------


def maskable(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the maskable parameters by name: all convolution and linear weights, no biases and no norms.

    The projections in ``nn.MultiheadAttention`` are linear weights too. Queries, keys and values share one weight, or
    have one each if their widths differ.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        own = ["weight"] if isinstance(layer, nn.Conv2d | nn.Linear) else []
        if isinstance(layer, nn.MultiheadAttention):
            own = [part for part in PROJECTIONS if getattr(layer, part) is not None]
        weights |= {f"{prefix}{part}": getattr(layer, part) for part in own}
    return weights


def count_layers(network: nn.Module, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Return the maskable layers of a network. Their FLOPs are counted in a forward pass of one image of zeros.

    A weight that is used several times counts several times. In attention, the projections count; the products of
    queries, keys and values do not.

    Args:
        network: The module.
        shape: Shape (channels, height, width) of the input image.

    Raises:
        SpecError: No call of a layer uses its weight, so its FLOPs are unknown.
    """
    probe = copy.deepcopy(network).eval()
    weights, flops = maskable(probe), defaultdict[str, int](int)
    for name in weights:
        layer = probe.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.MultiheadAttention):
            layer.register_forward_hook(partial(_count_projection, name, weights, flops), with_kwargs=True)
        else:
            layer.register_forward_hook(partial(_count_layer, name, weights, flops))
    with torch.no_grad(), _layer_by_layer():  # not on the device "meta": PyTorch would load its compiler (100 MB)
        probe(torch.zeros(1, *shape, device=next(probe.parameters()).device))
    if unused := [name for name in weights if name not in flops]:
        raise SpecError("model", f"no call of its layer uses {unused[0]}, so its FLOPs cannot be counted")
    return tuple(Layer(name, tuple(weight.shape), flops[name]) for name, weight in weights.items())


def _count_layer(
    name: str,
    weights: Mapping[str, torch.Tensor],
    flops: dict[str, int],
    layer: nn.Module,
    _: tuple[torch.Tensor, ...],
    output: torch.Tensor,
) -> None:
    # Each output position of a channel uses each weight of that channel once. A linear layer has one per token.
    positions = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else output.numel() // output.shape[-1]
    flops[name] += 2 * weights[name].numel() * positions


def _count_projection(
    name: str,
    weights: Mapping[str, torch.Tensor],
    flops: dict[str, int],
    layer: nn.MultiheadAttention,
    inputs: tuple[torch.Tensor, ...],
    named: Mapping[str, torch.Tensor],
    _: object,
) -> None:
    """Count the FLOPs of the projections of attention. Its output layer is counted here: it is never called itself."""
    tensors = {**dict(zip(("query", "key", "value"), inputs, strict=False)), **named}
    tokens = {part: tensors[part].numel() // tensors[part].shape[-1] for part in ("query", "key", "value")}
    path, _, weight = name.rpartition(".")
    if weight == "in_proj_weight":
        flops[name] += 2 * weights[name].numel() // 3 * sum(tokens.values())
    else:
        flops[name] += 2 * weights[name].numel() * tokens[INPUTS[weight]]
    if weight in ("in_proj_weight", "q_proj_weight"):
        output = f"{path}.out_proj.weight" if path else "out_proj.weight"
        flops[output] += 2 * weights[output].numel() * tokens["query"]


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Disable PyTorch's fused transformer kernel, which does not call the layers and their hooks."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
