"""GraNd: the gradient norm of each sample, in closed form and against one backward pass per sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsweep.trainables.difficulties.scores import grand as module
from sparsweep.trainables.difficulties.scores.el2n import el2n
from sparsweep.trainables.difficulties.scores.grand import grand, grand_of
from sparsweep.trainables.pipeline.device_data import DeviceData, to_float
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import Flat, create_trainer, four_pixels, part, scoring_context, trial


def one_by_one(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the definition, sample by sample."""
    norms = []
    for image, label in zip(images, labels, strict=True):
        loss = functional.cross_entropy(network(image[None]), label[None])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        norms.append(torch.cat([gradient.flatten().double() for gradient in gradients]).norm())
    return torch.stack(norms)


def trained(data: DeviceData, **changes: object) -> Trainer:
    """Return a trainer after one epoch, so that batch norm statistics are not the initial ones."""
    training = create_trainer(trial(**changes), data)
    training.train_epoch()
    return training


def test_a_linear_layer_in_closed_form() -> None:
    """d loss / d W = (p - y) x^T and d loss / d b = p - y, so GraNd = EL2N sqrt(|x|^2 + 1)."""
    data = four_pixels(samples=8)
    view = scoring_context(trained(data, model=Flat(), recipe={"preset": "digits", "epochs": 2, "crop_padding": 0}))
    pixels = to_float(data.train_images).flatten(1).double()
    expected = el2n(view.logits, view.labels) * (pixels.square().sum(1) + 1).sqrt()
    torch.testing.assert_close(grand_of(view), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_residual_network_equals_a_loop_over_samples(precision: str, digits: DeviceData) -> None:
    training = trained(digits, recipe={"preset": "digits", "epochs": 2, "precision": precision})
    training.model.eval()
    images, labels = to_float(digits.train_images[:5]), digits.train_labels[:5]
    found, expected = (norms(training.model, images, labels) for norms in (grand, one_by_one))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_the_norm_includes_all_parameters(digits: DeviceData) -> None:
    """The norm also includes the parameters of batch norms and biases."""
    training = trained(digits)
    training.model.eval()
    images, labels = to_float(digits.train_images[:1]), digits.train_labels[:1]
    loss = functional.cross_entropy(training.network(images), labels)
    squares = [g.square().sum() for g in torch.autograd.grad(loss, list(training.model.parameters()))]
    assert len(squares) == len(list(training.model.parameters())) > len(training.weights)
    assert grand(training.model, images, labels).item() == pytest.approx(sum(squares).sqrt().item(), rel=1e-5)


def test_scoring_does_not_change_the_network(digits: DeviceData) -> None:
    training = trained(digits)
    training.model.eval()
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    gradients = [parameter.grad for parameter in training.model.parameters()]
    grand(training.model, to_float(digits.train_images[:3]), digits.train_labels[:3])
    assert all(torch.equal(value, before[name]) for name, value in training.model.state_dict().items())
    assert all(
        current.grad is previous for current, previous in zip(training.model.parameters(), gradients, strict=True)
    )


def test_the_number_of_gradients_in_memory_is_limited(digits: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunk size depends on the number of parameters, which bounds memory. The scores stay the same."""
    training = trained(digits)
    training.data = part(digits, 10)
    expected = grand_of(scoring_context(training))
    sizes: list[int] = []

    def recording_grand(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return grand(network, images, labels)

    parameters = sum(parameter.numel() for parameter in training.model.parameters())
    for chunk, expected_sizes in ((4 * parameters + 1, [4, 4, 2]), (parameters - 1, [1] * 10)):
        sizes.clear()
        monkeypatch.setattr(module, "CHUNK", chunk)
        monkeypatch.setattr(module, "grand", recording_grand)
        torch.testing.assert_close(grand_of(scoring_context(training)), expected, rtol=1e-5, atol=1e-9)
        assert sizes == expected_sizes
