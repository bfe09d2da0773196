"""PGD against closed forms and a naive implementation, its side effects, and batch norm modes during an attack."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from sparsweep.trainables.difficulties.adversarial import pgd as attacks
from sparsweep.trainables.difficulties.adversarial.pgd import (
    BATCH_NORM_MODES,
    NORMS,
    Attack,
    pgd,
    pgd_step,
    random_start,
    summed_cross_entropy,
    temporarily_set,
)
from sparsweep.trainables.pipeline.network import AutocastNetwork
from support.linear_networks import PIXELS, SHAPE, linear, random_images, random_linear, weights, wrapped

EIGHT = 8 / 255
TINY = torch.finfo(torch.float32).tiny


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def length(perturbation: torch.Tensor) -> torch.Tensor:
    return perturbation.double().flatten(1).norm(dim=1)


def size(norm: str, perturbation: torch.Tensor) -> float:
    """Return the largest norm over the samples."""
    return float((perturbation.abs() if norm == "linf" else length(perturbation)).max())


def attack(norm: str = "linf", epsilon: float = EIGHT, step_size: float = 2 / 255, steps: int = 10) -> Attack:
    return Attack(NORMS[norm], epsilon, step_size, steps)


def small_network() -> AutocastNetwork:
    """Return two convolutions with batch norms, whose statistics are not the initial ones, and a linear layer."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()
    )
    module.extend([nn.Flatten(), nn.Linear(6 * 12, 5)])
    random = generator(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
        for name, buffer in module.named_buffers():
            if name.endswith(("mean", "var")):
                buffer.copy_(torch.rand(buffer.shape, generator=random) + 0.5)
    return wrapped(module)


# The norms ------------------------------------------------------------------------------------------------------------


def test_linf_by_hand() -> None:
    gradient = torch.tensor([[[[0.3, -2.0, 0.0]]]])
    assert NORMS["linf"].ascent_direction(gradient).flatten().tolist() == [1, -1, 0]
    moved = NORMS["linf"].project(torch.tensor([[[[0.3, -2.0, 0.0]]]]), 0.5)
    assert moved.flatten().tolist() == pytest.approx([0.3, -0.5, 0])


def test_l2_by_hand() -> None:
    """Each sample has its own norm: (3, 4) has length 5, (0.3, 0.4) has 0.5."""
    vectors = torch.tensor([[3.0, 4.0], [0.3, 0.4]]).view(2, 1, 1, 2)
    assert torch.allclose(NORMS["l2"].ascent_direction(vectors).flatten(1), torch.tensor([[0.6, 0.8], [0.6, 0.8]]))
    assert torch.allclose(NORMS["l2"].project(vectors, 1.0).flatten(1), torch.tensor([[0.6, 0.8], [0.3, 0.4]]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_zero_gradient_moves_no_pixel(norm: str) -> None:
    zero = torch.zeros(2, *SHAPE)
    assert torch.equal(NORMS[norm].ascent_direction(zero), zero)
    assert torch.equal(NORMS[norm].project(zero, 0.1), zero)
    images = random_images(2)
    assert torch.equal(pgd_step(images, images, zero, attack(norm)), images)


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1.0, 1e25])
def test_l2_direction_has_length_one_for_gradients_whose_squares_vanish_or_overflow(scale: float) -> None:
    gradient = torch.randn(3, *SHAPE, generator=generator())
    direction = NORMS["l2"].ascent_direction(gradient * scale)
    assert torch.allclose(direction.double(), gradient.double() / length(gradient).view(-1, 1, 1, 1), atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_are_uniform_in_the_ball(norm: str) -> None:
    """In a ball of n dimensions (norm / radius)^n is uniform in [0, 1], and half of the pixels are positive."""
    shape, epsilon = torch.Size((20_000, 1, 1, 3)), 0.25
    perturbation = NORMS[norm].uniform(shape, epsilon, generator())
    norms = length(perturbation) if norm == "l2" else perturbation.abs().flatten(1).amax(1).double()
    assert norms.max() <= epsilon * (1 + 1e-6)
    quantiles = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    assert torch.allclose(((norms / epsilon) ** 3).quantile(quantiles), quantiles, atol=0.015)
    assert torch.allclose((perturbation > 0).double().mean(0), torch.tensor(0.5, dtype=torch.float64), atol=0.015)


def test_a_random_start_does_not_depend_on_the_memory_layout() -> None:
    images = torch.rand(4, 3, 5, 6, generator=generator(1))
    other = images.contiguous(memory_format=torch.channels_last)
    for norm in NORMS:
        one, two = (random_start(given, attack(norm), generator()) for given in (images, other))
        assert torch.equal(one, two) and not torch.equal(one, images)


# The optimum ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_random", [False, True])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), epsilon=st.floats(0.01, 0.6))
def test_linf_on_a_linear_network_reaches_the_optimum(from_random: bool, seed: int, epsilon: float) -> None:
    """The loss of two classes depends on w.x, w the weight difference. Pixels move by epsilon, clipped to [0, 1].

    Weights are small, so that the softmax does not saturate. In a saturated softmax the float32 gradient of one logit
    rounds to 0, and the gradient of a pixel has the sign of one class's weight instead of the sign of w.
    """
    network = linear(0.1 * weights(random_linear(2, seed)))
    images, labels = random_images(6, seed), torch.tensor([0, 1, 0, 1, 1, 0])
    towards_one = (weights(network)[1] - weights(network)[0]).sign().view(SHAPE)
    signs = torch.where(labels == 0, 1.0, -1.0).view(-1, 1, 1, 1)
    optimum = (images + epsilon * signs * towards_one).clamp(0, 1)
    search = attack("linf", epsilon, epsilon / 4, steps=9)
    start = random_start(images, search, generator(seed)) if from_random else images
    found = pgd(network, images, start, search, summed_cross_entropy(labels))
    assert torch.allclose(found, optimum, atol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), epsilon=st.floats(0.01, 0.3))
def test_l2_on_a_linear_network_reaches_the_optimum(seed: int, epsilon: float) -> None:
    """Away from the borders of [0, 1] the optimal perturbation is epsilon along w."""
    network, images, labels = random_linear(2, seed), random_images(6, seed, 0.4, 0.6), torch.tensor([0, 1, 0, 1, 1, 0])
    difference = weights(network)[1] - weights(network)[0]
    signs = torch.where(labels == 0, 1.0, -1.0).view(-1, 1, 1, 1)
    optimum = images + epsilon * signs * (difference / difference.norm()).view(SHAPE)
    search = attack("l2", epsilon, epsilon / 2, steps=60)
    start = random_start(images, search, generator(seed))
    found = pgd(network, images, start, search, summed_cross_entropy(labels))
    assert torch.allclose(found, optimum, atol=1e-3 * epsilon)


def naive(
    network: AutocastNetwork, image: torch.Tensor, label: int, start: torch.Tensor, norm: str, search: Attack
) -> Any:
    """Run textbook PGD on one image, with plain lists of numbers."""
    x, adversarial = image.flatten().tolist(), start.flatten().tolist()
    for _ in range(search.steps):
        inputs = torch.tensor(adversarial).view(1, *SHAPE).requires_grad_()
        functional.cross_entropy(network(inputs), torch.tensor([label])).backward()
        assert inputs.grad is not None
        gradient = inputs.grad.double().flatten().tolist()
        norm_of = math.sqrt(sum(slope**2 for slope in gradient))
        direction = [math.copysign(1, slope) if norm == "linf" else slope / norm_of for slope in gradient]
        delta = [a + search.step_size * d - p for a, d, p in zip(adversarial, direction, x, strict=True)]
        if norm == "linf":
            delta = [max(-search.epsilon, min(search.epsilon, change)) for change in delta]
        else:
            shrink = min(1.0, search.epsilon / math.sqrt(sum(change**2 for change in delta)))
            delta = [change * shrink for change in delta]
        adversarial = [max(0.0, min(1.0, p + change)) for p, change in zip(x, delta, strict=True)]
    return torch.tensor(adversarial).view(SHAPE)


@pytest.mark.parametrize(("norm", "epsilon", "step_size"), [("linf", EIGHT, 2 / 255), ("l2", 0.3, 0.08)])
def test_pgd_is_the_textbook_algorithm(norm: str, epsilon: float, step_size: float) -> None:
    network, images, labels = small_network(), random_images(8), torch.arange(8) % 5
    network.module.eval()
    search = attack(norm, epsilon, step_size, steps=7)
    starts = random_start(images, search, generator())
    found = pgd(network, images, starts, search, summed_cross_entropy(labels))
    for index in range(8):
        alone = naive(network, images[index], int(labels[index]), starts[index], norm, search)
        assert torch.allclose(found[index], alone, atol=1e-5), index
    assert not torch.allclose(found, starts, atol=1e-3)


def test_more_steps_raise_the_loss() -> None:
    network, images, labels = small_network(), random_images(32), torch.arange(32) % 5
    network.module.eval()
    losses = []
    for steps in (0, 1, 3, 5):
        found = pgd(network, images, images, attack(steps=steps, step_size=EIGHT / 5), summed_cross_entropy(labels))
        losses.append(functional.cross_entropy(network(found), labels).item())
    assert losses == sorted(set(losses)) and losses[-1] > losses[0] * 1.03


# The ball and the pixels ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    epsilon=st.floats(1e-3, 2.0),
    share=st.floats(0.01, 3.0),
    steps=st.integers(0, 4),
    levels=st.lists(st.integers(0, 255), min_size=2 * PIXELS, max_size=2 * PIXELS),
    seed=st.integers(0, 2**16),
)
def test_every_adversarial_image_is_in_the_ball_and_in_range(
    norm: str, epsilon: float, share: float, steps: int, levels: list[int], seed: int
) -> None:
    images = torch.tensor(levels).view(2, *SHAPE) / 255
    search = attack(norm, epsilon, share * epsilon, steps)
    network = random_linear(3, seed)
    start = random_start(images, search, generator(seed))
    for found in (start, pgd(network, images, start, search, summed_cross_entropy(torch.tensor([0, 2])))):
        assert found.min() >= 0 and found.max() <= 1
        assert size(norm, found - images) <= epsilon + 1e-6


# Operations and side effects ------------------------------------------------------------------------------------------


class OperationCounter(TorchDispatchMode):
    """Counts of operations, and of the gradients that convolutions compute (input, weight, bias)."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.conv_gradients: Counter[tuple[bool, ...]] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function.overloadpacket)
        self.counts[name] += 1
        if name == "aten.convolution_backward":
            self.conv_gradients[tuple(args[-1])] += 1
        return function(*args, **(kwargs or {}))


SYNCHRONIZING = {"aten._local_scalar_dense", "aten.is_nonzero", "aten.equal", "aten.nonzero", "aten.masked_select"}


def count_operations(steps: int, norm: str) -> OperationCounter:
    network, images = small_network(), random_images(4)
    loss = summed_cross_entropy(torch.arange(4))
    with OperationCounter() as operations:
        pgd(network, images, images, attack(norm, steps=steps), loss)
    return operations


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_step_costs_the_same_and_computes_no_parameter_gradients(norm: str) -> None:
    two, four, six = (count_operations(steps, norm) for steps in (2, 4, 6))
    # Two convolutions, forward and backward in each step, and none outside the steps.
    assert [run.counts["aten.convolution"] for run in (two, four, six)] == [4, 8, 12]
    assert [run.conv_gradients for run in (two, four, six)] == [
        {(True, False, False): 2 * steps} for steps in (2, 4, 6)
    ]
    assert six.counts - four.counts == four.counts - two.counts
    assert (six.counts - four.counts).total() <= 2 * 80
    assert not SYNCHRONIZING & six.counts.keys()


def test_the_counter_finds_synchronizing_operations() -> None:
    with OperationCounter() as operations:
        random_images(2).nonzero()
    assert SYNCHRONIZING & operations.counts.keys()


def test_an_attack_does_not_change_the_network_or_the_images() -> None:
    network, images, labels = small_network(), random_images(4), torch.arange(4)
    frozen = network.module.get_submodule("0").get_parameter("bias").requires_grad_(False)
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    copy = images.clone()
    inside: set[bool] = set()
    network.module.register_forward_hook(lambda module, *_: inside.update(p.requires_grad for p in module.parameters()))
    with BATCH_NORM_MODES["eval"](network.module):
        found = pgd(network, images, images, attack(), summed_cross_entropy(labels))
    assert inside == {False}, "during an attack only the images may require gradients"
    assert not found.requires_grad and torch.equal(images, copy) and not torch.equal(found, images)
    assert all(torch.equal(before[name], value) for name, value in network.module.state_dict().items())
    assert all(parameter.grad is None for parameter in network.module.parameters())
    assert [p.requires_grad for p in network.module.parameters()] == [
        p is not frozen for p in network.module.parameters()
    ]


def test_the_gradient_of_a_sample_does_not_depend_on_the_batch_size() -> None:
    network, images, labels = random_linear(3), random_images(6), torch.arange(6) % 3
    batch = attacks.input_gradient(network, images, summed_cross_entropy(labels))
    alone = attacks.input_gradient(network, images[:1], summed_cross_entropy(labels[:1]))
    assert torch.allclose(batch[:1], alone)


def test_pgd_runs_under_no_grad() -> None:
    network, images, loss = random_linear(3), random_images(4), summed_cross_entropy(torch.tensor([0, 1, 2, 0]))
    with torch.no_grad():
        inside = pgd(network, images, images, attack(), loss)
    assert torch.equal(inside, pgd(network, images, images, attack(), loss))


def test_bf16_attacks_float32_images() -> None:
    network, images, labels = random_linear(2), random_images(6), torch.tensor([0, 1] * 3)
    half = wrapped(network.module, "bf16")
    found, reference = (pgd(used, images, images, attack(), summed_cross_entropy(labels)) for used in (half, network))
    assert found.dtype == torch.float32
    assert torch.allclose(found, reference, atol=1e-6)  # a linear network's gradients are far from zero


# Robust samples ------------------------------------------------------------------------------------------------------


def pixels(samples: int, seed: int = 0) -> torch.Tensor:
    """Return uint8 images away from black and white, so that the ball lies inside [0, 1]."""
    return torch.randint(60, 196, (samples, *SHAPE), generator=generator(seed), dtype=torch.uint8)


def margins(network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the signed distance to the linear border of two classes times the length of its normal.

    It is positive on the correct side.
    """
    difference = (weights(network)[1] - weights(network)[0]).double()
    return (images.double().flatten(1) / 255 @ difference) * torch.where(labels == 1, 1, -1)


def withstand(network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, *search: Any) -> torch.Tensor:
    """Return which samples the network classifies correctly after an attack."""
    return attacks.logits_under_attack(network, images, labels, *search).argmax(1) == labels


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize(("norm", "dual", "epsilon"), [("linf", 1, EIGHT), ("l2", 2, 0.1)])
def test_robust_samples_are_those_with_a_large_margin(
    monkeypatch: pytest.MonkeyPatch, norm: str, dual: int, epsilon: float, batch: int
) -> None:
    """A sample is robust if its margin exceeds epsilon times the dual norm of the border's normal."""
    monkeypatch.setattr(attacks, "EVALUATION_BATCH", batch)
    network, images = random_linear(2), pixels(200)
    labels = torch.randint(0, 2, (200,), generator=generator(1))
    margin = margins(network, images, labels)
    expected = margin > epsilon * (weights(network)[1] - weights(network)[0]).norm(p=dual)
    found = withstand(network, images, labels, attack(norm, epsilon, epsilon / 4, steps=20), [generator()])
    assert torch.equal(found, expected)
    assert 0 < expected.sum() < (margin > 0).sum() < 200, "the example needs robust, correct and incorrect samples"


def test_more_restarts_leave_a_subset_of_the_robust_samples() -> None:
    """With negligible steps each restart is a random point. It misclassifies a sample on the border with chance 1/2."""
    network, images = random_linear(2), torch.full((200, *SHAPE), 128, dtype=torch.uint8)
    difference = weights(network)[1] - weights(network)[0]
    with torch.no_grad():  # the border is close to the gray image
        network.module.get_submodule("1").get_parameter("bias").copy_(
            torch.tensor([0.0, float(-difference.sum() * 128 / 255) + 1e-3])
        )
    labels, search = torch.ones(200, dtype=torch.int64), attack(step_size=1e-7, steps=1)

    def survivors(restarts: int) -> torch.Tensor:
        return withstand(network, images, labels, search, [generator(seed) for seed in range(restarts)])

    one, two, four = survivors(1), survivors(2), survivors(4)
    assert not (two & ~one).any() and not (four & ~two).any()
    assert 60 < one.sum() < 140 and 25 < two.sum() < 80 and 0 < four.sum() < 30


def test_networks_are_attacked_from_the_same_starting_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The starting points do not depend on the number of samples that are already misclassified."""
    monkeypatch.setattr(attacks, "EVALUATION_BATCH", 16)
    images, labels, drawn = pixels(40), torch.arange(40) % 3, []

    def recording(*arguments: Any) -> torch.Tensor:
        drawn.append(random_start(*arguments))
        return drawn[-1]

    monkeypatch.setattr(attacks, "random_start", recording)
    survivors = []
    for seed in (1, 2):
        network = random_linear(3, seed)
        survivors.append(withstand(network, images, labels, attack(), [generator(0), generator(1)]))
    assert len(drawn) == 12 and not torch.equal(*survivors)
    assert all(torch.equal(one, other) for one, other in zip(drawn[:6], drawn[6:], strict=True))


def test_misclassified_samples_are_not_attacked_again() -> None:
    """All samples are misclassified at the start, so there is one forward pass only."""
    calls = []
    network = linear(torch.zeros(2, PIXELS), torch.tensor([0.0, 1.0]))
    network.module.register_forward_hook(lambda *call: calls.append(len(call[1][0])))
    labels = torch.zeros(5, dtype=torch.int64)
    logits = attacks.logits_under_attack(network, pixels(5), labels, attack(), [generator()])
    assert torch.equal(logits, torch.tensor([[0.0, 1.0]]).expand(5, 2))
    assert calls == [5]


def test_evaluation_restores_modes_and_state() -> None:
    network = small_network()
    network.module.train()
    network.module.get_submodule("4").eval()
    modes = [module.training for module in network.module.modules()]
    state = {name: value.clone() for name, value in network.module.state_dict().items()}
    attacks.logits_under_attack(network, pixels(6), torch.arange(6) % 5, attack(), [generator()])
    assert modes == [module.training for module in network.module.modules()]
    assert all(torch.equal(state[name], value) for name, value in network.module.state_dict().items())


# Batch norms ----------------------------------------------------------------------------------------------------------


class Owner:
    def __init__(self, value: int) -> None:
        self.value = value


def test_temporarily_set_restores_each_value_after_an_error() -> None:
    owners = [Owner(1), Owner(2)]
    with pytest.raises(RuntimeError, match="out"), temporarily_set(owners, "value", 9):
        assert [owner.value for owner in owners] == [9, 9]
        raise RuntimeError("out")
    assert [owner.value for owner in owners] == [1, 2]


def record_inputs(module: nn.Module) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach().clone()))
    return seen


@pytest.mark.parametrize(("mode", "updates"), [("train", 10), ("train_frozen", 0), ("eval", 0)])
def test_running_statistics_are_updated_in_train_mode_only(mode: str, updates: int) -> None:
    """Batch norm updates r <- 0.9 r + 0.1 mean in each of ten forward passes (defect D13)."""
    norm = nn.BatchNorm2d(1)
    network = wrapped(nn.Sequential(norm, nn.Flatten(), nn.Linear(PIXELS, 3)))
    seen = record_inputs(network.module)
    with BATCH_NORM_MODES[mode](network.module):
        pgd(network, random_images(8), random_images(8), attack(), summed_cross_entropy(torch.arange(8) % 3))
    assert len(seen) == 10
    expected = torch.zeros(1)
    for inputs in seen[:updates]:
        expected = 0.9 * expected + 0.1 * inputs.mean()
    assert norm.running_mean is not None and torch.allclose(norm.running_mean, expected, atol=1e-6)
    assert norm.num_batches_tracked == updates
    assert norm.training and norm.track_running_stats


@pytest.mark.parametrize("mode", BATCH_NORM_MODES)
def test_each_mode_normalizes_by_its_statistics(mode: str) -> None:
    """The first pass uses the statistics of the batch, or the running ones in eval mode."""
    network, images, loss = small_network(), random_images(8), summed_cross_entropy(torch.arange(8) % 5)
    outputs: list[torch.Tensor] = []
    network.module.get_submodule("1").register_forward_hook(lambda *call: outputs.append(call[2].detach().clone()))
    norm = network.module.get_submodule("1")
    inputs = network.module.get_submodule("0")(images)
    mean, variance = (norm.get_buffer(f"running_{name}").clone() for name in ("mean", "var"))
    if mode != "eval":
        mean, variance = inputs.mean((0, 2, 3)), inputs.var((0, 2, 3), unbiased=False)
    with BATCH_NORM_MODES[mode](network.module):
        pgd(network, images, images, attack(steps=1), loss)
    scaled = (inputs - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + norm.eps).sqrt()
    expected = scaled * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
    assert torch.allclose(outputs[0], expected, atol=1e-5)


def test_frozen_statistics_do_not_change_the_attack() -> None:
    results = []
    for mode in ("train", "train_frozen"):
        network = small_network()
        with BATCH_NORM_MODES[mode](network.module):
            results.append(
                pgd(network, random_images(8), random_images(8), attack(), summed_cross_entropy(torch.arange(8) % 5))
            )
    assert torch.equal(*results)


@pytest.mark.parametrize("mode", BATCH_NORM_MODES)
def test_modes_are_restored_after_an_error(mode: str) -> None:
    module = small_network().module
    module.get_submodule("4").eval()
    before = [(layer.training, getattr(layer, "track_running_stats", None)) for layer in module.modules()]
    with pytest.raises(RuntimeError, match="out"), BATCH_NORM_MODES[mode](module):
        raise RuntimeError("out")
    assert before == [(layer.training, getattr(layer, "track_running_stats", None)) for layer in module.modules()]


def test_in_eval_mode_the_attack_on_an_image_does_not_depend_on_the_batch() -> None:
    network, images, labels = small_network(), random_images(6), torch.arange(6) % 5
    with BATCH_NORM_MODES["eval"](network.module):
        together = pgd(network, images, images, attack(), summed_cross_entropy(labels))
        for index in range(6):
            part = slice(index, index + 1)
            alone = pgd(network, images[part], images[part], attack(), summed_cross_entropy(labels[part]))
            assert torch.allclose(alone, together[part], atol=1e-6)
