"""Execution of training steps on a device, and the state that a worker keeps between trainings.

Nothing in this module is part of a trial. A :class:`StepRunner` has a network and its optimizer at fixed addresses in
memory. On a GPU it captures the training step as CUDA graphs, one per batch size. A :class:`StepRunnerCache` reuses the
runner of the last training if the next one has the same shapes. A CUDA graph replays fixed tensors. Batches, random
numbers, masks, the learning rate and the next training's weights are therefore copied into these tensors.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import Field

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models import Model, models
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.sparsifiers.masked_params import MaskedParams
from sparsweep.trainables.specs.base import FrozenModel
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.compilation import compiled
from sparsweep.trainables.training.evaluation import evaluate_in_float32
from sparsweep.trainables.training.optimizers import OptimizerSettings, make_optimizer

if TYPE_CHECKING:
    from sparsweep.trainables.pipeline.device_data import DeviceData

log = logging.getLogger(__name__)

Step: TypeAlias = "Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]"
"""Training step on images, labels and random numbers. It returns the sum of losses and the number of hits."""

Replay: TypeAlias = "tuple[Callable[[], object], torch.Tensor]"
"""Function that replays a captured step on its fixed tensors, and the tensor that then has the result."""

Capture: TypeAlias = "Callable[[Step, tuple[torch.Tensor, ...]], Replay]"
"""Function that captures a step on fixed tensors."""

WARMUP_STEPS = 2
"""Eager steps per batch size before the capture: libraries initialize in them."""

MAX_GRAPHS = 2
"""Maximum number of captured batch sizes per runner: the full size and that of an epoch's last batch."""


class ExecutionConfig(FrozenModel):
    """Settings that change the speed of a training step but are not part of a trial.

    ``graphs`` does not change any bit of the results. ``channels_last`` and ``compile`` select other kernels: the last
    bits differ, as between two GPU models or two versions of PyTorch. A trial must be resumed with the same settings.
    """

    graphs: bool = Field(default=True, description="replay training steps from CUDA graphs on a GPU")
    channels_last: bool = Field(default=True, description="memory layout of tensor cores, for bf16 on a GPU")
    compile: bool = Field(
        default=False, description="torch.compile with a cache on disk; the first compilation takes minutes"
    )

    def layout(self, device: torch.device, precision: str) -> torch.memory_format:
        """Return the memory layout of the network.

        Args:
            device: Device of the training.
            precision: Precision of the recipe.
        """
        fast = self.channels_last and device.type == "cuda" and precision == "bf16"
        return torch.channels_last if fast else torch.contiguous_format


@dataclass(frozen=True)
class StepSignature:
    """Properties that a captured step depends on, apart from the values of its tensors."""

    model: Model
    classes: int
    image_shape: tuple[int, ...]
    batch_size: int
    loss_fn: TrainingLoss
    precision: str
    optimizer: OptimizerSettings
    device: torch.device

    @classmethod
    def of(cls, spec: TrialSpec, data: DeviceData) -> StepSignature:
        """Return the signature of the training of ``spec``. Trainings with equal signatures can share a runner.

        Args:
            spec: Trial to train.
            data: Data set on the device of the training.
        """
        recipe = spec.recipe
        return cls(
            models.cast(spec.model),
            data.classes,
            tuple(data.train_images.shape[1:]),
            recipe.batch_size,
            difficulties.cast(spec.difficulty).loss_fn,
            recipe.precision,
            OptimizerSettings.of(recipe),
            data.train_images.device,
        )


class StepRunner:
    """Network on its device with its optimizer, for consecutive trainings of one signature.

    Attributes:
        network: Network in the precision of the recipe.
        training_network: The same network, compiled if the config requires it.
        lr: Learning rate as a tensor on the device.
        capture_fn: Function that captures steps, or None for eager execution.
        capture_enabled: Whether the current training can be captured.
    """

    def __init__(self, kind: StepSignature, model: nn.Module, engine: ExecutionConfig) -> None:
        self.signature = kind
        self.model = model.to(kind.device).to(memory_format=engine.layout(kind.device, kind.precision))
        evaluate_in_float32(self.model)
        self.network = AutocastNetwork(self.model, kind.device, kind.precision)
        self.training_network = self.network
        if engine.compile:
            self.training_network = replace(self.network, forward=compiled(self.model, kind.batch_size))
        # A tensor: a captured step needs it at a fixed address.
        self.lr, self._lr = torch.zeros((), device=kind.device), 0.0
        self.optimizer = make_optimizer(kind.optimizer, self.model.parameters(), self.lr)
        self.masked_params: MaskedParams | None = None
        self.capture_fn: Capture | None = cuda_capture if engine.graphs and kind.device.type == "cuda" else None
        self.capture_enabled = False
        self.clear_graphs()

    def clear_graphs(self) -> None:
        """Drop all captured steps."""
        self.graphs: OrderedDict[int, tuple[tuple[torch.Tensor, ...], Replay]] = OrderedDict()
        self.warmup_counts: Counter[int] = Counter()

    def reset(self, state: dict[str, torch.Tensor]) -> None:
        """Start from the network ``state`` with an optimizer that has taken no step."""
        self.model.load_state_dict(state)
        self.model.zero_grad(set_to_none=True)
        for values in self.optimizer.state.values():
            for value in values.values():
                value.zero_()

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate of the next steps."""
        if lr != self._lr:  # a write on a GPU is an operation of its own
            self.lr.fill_(lr)
            self._lr = lr

    def attach_masks(self, topology: MaskedParams, watches: bool) -> None:
        """Train with ``topology`` from now on. Captured steps stay valid for parameters of the same class.

        Args:
            topology: Masked parameters of the training.
            watches: Whether the sparsifier reads the gradients of every step.
        """
        if self.masked_params is not None and type(topology) is type(self.masked_params):
            topology.reuse_buffers(self.masked_params)
        else:
            self.clear_graphs()
        self.masked_params = topology
        reason = self.capture_blocker(topology, watches)
        self.capture_enabled = self.capture_fn is not None and reason is None
        if self.capture_fn is not None and reason is not None:
            warn_once(f"training steps run without CUDA graphs: {reason}")

    def capture_blocker(self, topology: MaskedParams, watches: bool) -> str | None:
        """Return the reason why a step cannot be captured, or None if it can.

        Args:
            topology: Masked parameters of the training.
            watches: Whether the sparsifier reads the gradients of every step.
        """
        if watches:
            return "the sparsifier reads the gradients of every step"
        if not self.signature.loss_fn.supports_cuda_graphs:
            return f"{type(self.signature.loss_fn).__name__} does not set supports_cuda_graphs"
        if topology.graph_tensors is None:
            return f"{type(topology).__name__} does not set graph_tensors"
        return None

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore the state of an optimizer's ``state_dict``. All other entries come from the recipe."""
        for index, parameter in enumerate(self.model.parameters()):
            for name, value in saved["state"].get(index, {}).items():
                self.optimizer.state[parameter][name].copy_(value)

    def run_step(self, step: Step, *inputs: torch.Tensor) -> torch.Tensor:
        """Run ``step`` on ``inputs``, as a CUDA graph once it is captured.

        Args:
            step: Training step.
            inputs: Images, labels and random numbers.

        Returns:
            Result of the step. The next call overwrites it.
        """
        if self.capture_fn is None or not self.capture_enabled:
            return step(*inputs)
        size = len(inputs[0])
        if size not in self.graphs:
            self.warmup_counts[size] += 1
            if self.warmup_counts[size] <= WARMUP_STEPS:
                return run_on_side_stream(step, inputs)
            buffers = tuple(value.clone() for value in inputs)
            if len(self.graphs) == MAX_GRAPHS:  # each graph keeps its memory pool
                self.graphs.popitem(last=False)
            try:
                self.graphs[size] = buffers, self.capture_fn(step, buffers)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                warn_once(f"training steps run without CUDA graphs: the capture failed ({error})")
                self.capture_fn = None
                return step(*inputs)
        self.graphs.move_to_end(size)  # order by last use: the least recently used graph is dropped first
        buffers, (replay, result) = self.graphs[size]
        for buffer, value in zip(buffers, inputs, strict=True):
            buffer.copy_(value)
        replay()
        return result


class StepRunnerCache:
    """Cache of a worker with the runner of its last training."""

    def __init__(self, engine: ExecutionConfig | None = None) -> None:
        self.engine = engine or ExecutionConfig()
        self.runner: StepRunner | None = None

    def acquire(self, kind: StepSignature, model: nn.Module) -> StepRunner:
        """Return a runner of ``kind`` at the weights of ``model``: the cached one if its signature is equal.

        Args:
            kind: Signature of the training.
            model: Network at its initial weights.
        """
        if self.runner is not None and self.runner.signature == kind:
            self.runner.reset(model.state_dict())
        else:
            self.runner = None  # free its memory first, for the next runner or another trial on the same GPU
            torch.cuda.empty_cache()
            self.runner = StepRunner(kind, model, self.engine)
        return self.runner


def run_on_side_stream(step: Step, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Run ``step`` eagerly on a side stream, as CUDA graph warm-up requires. Without CUDA, run it directly.

    Args:
        step: Training step.
        inputs: Images, labels and random numbers.
    """
    device = inputs[0].device
    if device.type != "cuda":
        return step(*inputs)
    stream, main = side_stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(main)
    with torch.cuda.stream(stream):
        result = step(*inputs)
    main.wait_stream(stream)
    return result


@cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the side stream of ``device``."""
    return torch.cuda.Stream(device)


def cuda_capture(step: Step, inputs: tuple[torch.Tensor, ...]) -> Replay:
    """Capture ``step`` as a CUDA graph. The capture computes nothing.

    Args:
        step: Training step.
        inputs: Fixed tensors that the graph reads: images, labels and random numbers.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side_stream(inputs[0].device)):
        result = step(*inputs)
    return graph.replay, result


@cache
def warn_once(message: str) -> None:
    """Log a warning once per process."""
    log.warning(message)
