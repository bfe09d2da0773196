"""Layers of networks that do not state them, as those of plug-ins: counted on the network itself.

A process that has loaded PyTorch counts at once. One that does without asks a short-lived process that loads it, and
keeps the answer in ``~/.cache/sparsweep/layers`` under a digest of the network, of its code and of what it is to see.
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
"""``model`` (JSON), ``classes`` and ``shape`` (channels, height, width) of a network."""

PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights of ``nn.MultiheadAttention`` beside its output layer; those that it does not have are None."""
INPUTS = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}


def measured_layers(model: ModelSpec, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Return the maskable layers of ``model`` for images of ``shape`` (channels, height, width).

    Raises:
        ValueError: A weight is used by no call of its layer, so that its operations are not known.
    """
    if "torch" in sys.modules:
        return built_layers(model, classes, shape)
    question = {"model": model.model_dump(mode="json"), "classes": classes, "shape": list(shape)}
    file = _cached(question, type(model).__module__.partition(".")[0])
    with suppress(OSError, ValueError, LookupError, TypeError):
        return _layers(file.read_bytes())
    answer = _ask(question)
    if answer is None:  # whatever is wrong is an error here
        return built_layers(model, classes, shape)
    with suppress(OSError):
        atomic_write(str(file), answer)
    return _layers(answer)


def built_layers(model: ModelSpec, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Build the network and count its layers."""
    network = registry_of("model").cast(model).build(classes, ([0.0] * model.channels, [1.0] * model.channels))
    return count_layers(network, shape)


def _cached(question: Question, module: str) -> Path:
    about = {**question, "code": loaded_code(module), "torch": version("torch")}
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return Path(os.path.expanduser(CACHE)) / f"{name}.json"


def _layers(content: bytes) -> tuple[Layer, ...]:
    found = [(str(name), tuple(map(int, shape)), int(flops)) for name, shape, flops in json.loads(content)]
    return tuple(Layer(*row) for row in found)


def _ask(question: Question) -> bytes | None:
    """Return the layers as JSON from a process with PyTorch, None if it fails."""
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    found = subprocess.run(
        [sys.executable, "-P", "-c", ANSWER],
        input=json.dumps({**question, "modules": plugins.requested_modules()}).encode(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return None if found.returncode else found.stdout


def answer() -> None:
    """Print the layers of the network that standard input describes, as JSON."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a plug-in prints is no answer
    question = json.load(sys.stdin)
    plugins.load_plugins(question["modules"])
    layers = built_layers(registry_of("model").parse(question["model"]), question["classes"], tuple(question["shape"]))
    output.write(json.dumps(layers))
    output.close()


# Counting ------------------------------------------------------------------------------------------------------------


def maskable(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that a mask applies to, by name: all convolution and linear weights, no biases, no norms.

    The projections inside ``nn.MultiheadAttention`` are linear weights too: one for queries, keys and values together,
    or three where their widths differ.
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
    """Return the maskable layers of ``network``, their operations counted on an empty image of ``shape``.

    A weight that is used several times counts as often. Of attention its projections count, not its products.

    Raises:
        ValueError: A weight is used by no call of its layer, so that its operations are not known.
    """
    probe = copy.deepcopy(network).eval()
    weights, flops = maskable(probe), defaultdict[str, int](int)
    for name in weights:
        layer = probe.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.MultiheadAttention):
            layer.register_forward_hook(partial(_count_projection, name, weights, flops), with_kwargs=True)
        else:
            layer.register_forward_hook(partial(_count_layer, name, weights, flops))
    with torch.no_grad(), _layer_by_layer():  # computed: on the device "meta" torch would load its compiler: 100 MB
        probe(torch.zeros(1, *shape, device=next(probe.parameters()).device))
    if unused := [name for name in weights if name not in flops]:
        raise SpecError("model", f"{unused[0]} is used by no call of its layer, so its operations cannot be counted")
    return tuple(Layer(name, tuple(weight.shape), flops[name]) for name, weight in weights.items())


def _count_layer(
    name: str,
    weights: Mapping[str, torch.Tensor],
    flops: dict[str, int],
    layer: nn.Module,
    _: tuple[torch.Tensor, ...],
    output: torch.Tensor,
) -> None:
    # Every output position of a channel uses each weight of that channel once; a linear layer has one, or one a token.
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
    """Count the projections of attention, whose output layer is never called by itself."""
    given = {**dict(zip(("query", "key", "value"), inputs, strict=False)), **named}
    tokens = {part: given[part].numel() // given[part].shape[-1] for part in ("query", "key", "value")}
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
    """Let transformers call their layers one by one: a fused kernel would pass them by."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
