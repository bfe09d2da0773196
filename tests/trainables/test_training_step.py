"""One training step: the arithmetic by hand, and the operations on the device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from sparsweep.trainables.data import ImageData
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data, to_float
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.training.trainer import Trainer
from support.fake_device import WAITS
from support.tiny_trials import Flat, create_trainer, four_pixels, trial

LR, MOMENTUM, DECAY = 0.3, 0.8, 0.02


def flat_trial(**recipe: Any) -> Any:
    """Return a trial of a linear network on four pixels: one batch per epoch, no augmentation."""
    fields = {"epochs": 4, "batch_size": 6, "lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "milestones": []}
    return trial(model=Flat(), recipe={**fields, "crop_padding": 0, "flip": False, **recipe})


def sgd_steps(weights: list[torch.Tensor], steps: int, nesterov: bool) -> list[torch.Tensor]:
    """Return the weights after SGD with momentum on softmax regression, with closed-form gradients in float64."""
    data = four_pixels()
    pixels = data.train_images.double().flatten(1) / 255
    labels = functional.one_hot(data.train_labels, 3)
    weight, bias = (value.detach().double() for value in weights)
    velocities: list[torch.Tensor | None] = [None, None]
    for _ in range(steps):
        error = ((pixels @ weight.T + bias).softmax(1) - labels) / len(pixels)
        gradients = [error.T @ pixels + DECAY * weight, error.sum(0) + DECAY * bias]
        updates = []
        for index, gradient in enumerate(gradients):
            before = velocities[index]
            velocity = gradient if before is None else MOMENTUM * before + gradient
            velocities[index] = velocity
            updates.append(gradient + MOMENTUM * velocity if nesterov else velocity)
        weight, bias = weight - LR * updates[0], bias - LR * updates[1]
    return [weight, bias]


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
def test_dense_steps_equal_sgd_in_closed_form(nesterov: bool, steps: int) -> None:
    run = create_trainer(flat_trial(nesterov=nesterov), four_pixels(), samples=6)
    expected = sgd_steps(list(run.model.parameters()), steps, nesterov)
    for _ in range(steps):
        run.train_epoch()
    for actual, target in zip(run.model.parameters(), expected, strict=True):
        assert torch.allclose(actual.double(), target, rtol=1e-5, atol=1e-6)


def test_loss_and_accuracy_are_means_over_samples() -> None:
    """Six samples in batches of four and two. Means are over samples, not over batches."""
    run = create_trainer(flat_trial(batch_size=4, lr=1e-12), four_pixels(), samples=6)
    images = four_pixels().train_images.float() / 255
    with torch.no_grad():
        logits = run.model(images)
    labels = four_pixels().train_labels
    epoch = run.train_epoch()
    assert epoch.train_loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-6)
    assert epoch.train_accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())


def test_dropped_last_batch_is_not_part_of_the_means() -> None:
    """Six samples in batches of four: one batch remains. The means are over its four samples."""
    run = create_trainer(flat_trial(batch_size=4, lr=1e-12, drop_last=True), four_pixels(), samples=6)
    ((images, labels),) = run.batches.iter_epoch(derive(run.spec.seed, "batches", 0))
    with torch.no_grad():
        logits = run.model(images)
    epoch = run.train_epoch()
    assert len(run.batches) == 1 and len(labels) == 4
    assert epoch.train_loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-6)
    assert epoch.train_accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert run.train_flops == 3 * 4 * run.forward_flops


class Operations(TorchDispatchMode):
    """Count all operations that reach the device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(function.overloadpacket)] += 1
        return function(*args, **(kwargs or {}))


WITHOUT_KERNEL = {
    "aten.detach",
    "aten.empty",
    "aten.expand",
    "aten.t",
    "aten.unsqueeze",
    "profiler._record_function_enter_new",
    "profiler._record_function_exit",
}
"""Operations without a kernel on the device: views, memory allocation, profiler ranges."""


def resnet18_step(digits: ImageData, sparsifier: str) -> Operations:
    """Return the operations of the second of two steps of a narrow ResNet18 on two images."""
    data = to_device_data(digits, 3, 32, torch.device("cpu"))
    model = {"name": "resnet18", "width": 0.0625}
    sparsity = 0.0 if sparsifier == "dense" else 0.8
    run = create_trainer(trial(model=model, sparsifier=sparsifier, sparsity=sparsity), data, samples=4)
    run.model.train()
    images, labels = data.train_images[:2].float() / 255, data.train_labels[:2]
    noise = run.loss_fn.draw_noise(images, derive(0, "attack"))
    run.train_step(images, labels, noise, 0)
    with Operations() as operations:
        run.train_step(images, labels, noise, 1)
    return operations


@pytest.mark.parametrize("sparsifier", ["dense", "random", "set", "gmp", "snip"])
def test_step_never_synchronizes_and_masks_once(raw_digits: ImageData, sparsifier: str) -> None:
    counts = resnet18_step(raw_digits, sparsifier).counts
    assert not WAITS & counts.keys()
    masking = sum(count for name, count in counts.items() if "_foreach_mul" in name)
    assert 1 <= masking <= 2
    # 20 convolutions run once forward and once backward, so that the counts cover the complete step.
    assert counts["aten.convolution"] == counts["aten.convolution_backward"] == 20
    assert sum(count for name, count in counts.items() if name not in WITHOUT_KERNEL) <= 200, counts
    assert counts.total() == resnet18_step(raw_digits, "dense").counts.total()


def test_synchronization_is_counted() -> None:
    """The test above relies on this count."""
    with Operations() as operations:
        torch.ones(()).item()
    assert WAITS & operations.counts.keys()


def test_synchronizations_per_epoch_do_not_depend_on_the_number_of_steps(digits: DeviceData) -> None:
    """The host does not wait for batches and steps. Three batches cause as many synchronizations as one."""

    def num_syncs(samples: int) -> int:
        run = create_trainer(trial(), digits, samples)
        run.train_epoch()
        with Operations() as operations:
            run.train_epoch()
        return sum(operations.counts[name] for name in WAITS)

    assert num_syncs(96) == num_syncs(32)


def test_images_stay_uint8_in_memory(digits: DeviceData) -> None:
    run = create_trainer(trial(), digits)
    assert run.data.train_images.dtype == run.data.test_images.dtype == torch.uint8
    assert run.batches.images is run.data.train_images


def test_evaluated_logits_are_not_rounded_to_bf16(digits: DeviceData) -> None:
    """The weights of one class are 1.001 times those of another. In bf16 both round to the same numbers."""
    run = create_trainer(trial(recipe={"preset": "digits", "epochs": 1, "precision": "bf16"}), digits, samples=32)
    head = run.model.get_submodule("linear").get_parameter("weight")
    with torch.no_grad():
        head.fill_(-1)
        head[:2] = 1
        head[1] *= 1.001
    evaluated = run.network.logits(digits.test_images)
    assert (evaluated.argmax(1) == 1).all()
    images = to_float(digits.test_images)
    run.model.eval()
    attacked = run.network(images.requires_grad_())
    assert (attacked.argmax(1) == 1).all() and attacked.requires_grad, "attacked images are evaluated in float32"
    run.model.train()
    trained = run.network(images)
    assert torch.equal(trained[:, 0], trained[:, 1]), "training is in bf16"
    with torch.no_grad():
        assert (run.network(images).argmax(1) == 1).all(), "scores in training mode are computed in float32"


def test_bf16_trains_weights_that_stay_float32(digits: DeviceData) -> None:
    seen: list[torch.dtype] = []
    run = create_trainer(trial(recipe={"preset": "digits", "epochs": 1, "precision": "bf16"}), digits, samples=32)
    run.model.get_submodule("conv1").register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    assert isinstance(run, Trainer)
    run.train_epoch()
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
