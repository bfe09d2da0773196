"""Saliency scores: the importance of each weight, as pure functions of a network and some batches.

The network does not change, batch-norm statistics included. Scores are detached and have the shapes of the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from sparsweep.trainables.lazy import functional, init, nn, no_grad, torch
from sparsweep.trainables.models import maskable

Batch: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Images, float32 ``(B, C, H, W)`` in [0, 1], and labels, int64 ``(B,)``."""
SaliencyLoss: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"
"""Loss of logits, float32 ``(B, classes)``, and labels, int64 ``(B,)``: a number."""

LossName = Literal["cross_entropy", "nll"]


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy."""
    return functional.cross_entropy(logits, labels)


def logit_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return minus the mean of the label's raw logit, as in the authors' code (defect D1)."""
    return functional.nll_loss(logits, labels)


LOSSES: dict[LossName, SaliencyLoss] = {"cross_entropy": cross_entropy, "nll": logit_nll}


def magnitudes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return |w| of every maskable weight."""
    return {name: weight.abs() for name, weight in weights.items()}


def connection_sensitivity(
    model: nn.Module, batches: Sequence[Batch], loss: SaliencyLoss = cross_entropy
) -> dict[str, torch.Tensor]:
    """Return |w * dL/dw| for the loss of ``batches``.

    Lee et al., SNIP, ICLR 2019, equation 6 without the normalization.

    The network is in training mode, as in the paper's method.

    Args:
        model: Network at the weights to score.
        batches: Batches whose losses are summed.
        loss: Loss of one batch.

    Returns:
        Scores by weight name.
    """
    probe = copy.deepcopy(model).train()
    weights = maskable(probe)
    total = sum_of_gradients(probe, weights, batches, loss)
    return {name: (weights[name] * grad).detach().abs() for name, grad in total.items()}


def sum_of_gradients(
    probe: nn.Module, weights: Mapping[str, torch.Tensor], batches: Sequence[Batch], loss: SaliencyLoss
) -> dict[str, torch.Tensor]:
    """Return the gradient of the sum of the batches' mean losses with respect to ``weights``, by name.

    Args:
        probe: Network that contains ``weights``.
        weights: Parameters by name.
        batches: Batches whose losses are summed.
        loss: Loss of one batch.
    """
    parts = [torch.autograd.grad(loss(probe(images), labels), list(weights.values())) for images, labels in batches]
    return {name: torch.stack(grads).sum(0) for name, grads in zip(weights, zip(*parts, strict=True), strict=True)}


def reinitialized(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a copy of ``model`` with new maskable weights, Xavier normal (Glorot & Bengio 2010; defect D2).

    Args:
        model: Network to copy.
        generator: CPU generator of the draw.
    """
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        for weight in maskable(fresh).values():
            weight.copy_(init.xavier_normal_(torch.empty(weight.shape), generator=generator))
    return fresh


def grasp_scores(model: nn.Module, batches: Sequence[Batch], temperature: float) -> dict[str, torch.Tensor]:
    """Return w * (H g): the contribution of each weight to the gradient norm (Wang et al., GraSP, ICLR 2020).

    g and H are gradient and Hessian of the cross-entropy of ``batches`` with logits divided by ``temperature``. To
    first order, removing the weight changes g'g by -2 times this score. Weights with large positive scores are kept.
    The network is in training mode, as in the authors' code.

    Args:
        model: Network at its initial weights.
        batches: Batches whose losses are summed.
        temperature: Divisor of the logits.

    Returns:
        Scores by weight name.
    """
    probe = copy.deepcopy(model).train()
    weights = maskable(probe)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits / temperature, labels)

    flow = sum_of_gradients(probe, weights, batches, loss)
    product = hessian_product(probe, weights, batches, loss, flow)
    return {name: weights[name].detach() * product[name] for name in weights}


def hessian_product(
    probe: nn.Module,
    weights: Mapping[str, torch.Tensor],
    batches: Sequence[Batch],
    loss: SaliencyLoss,
    vector: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Return the Hessian of the sum of the batches' mean losses with respect to ``weights`` times ``vector``, by name.

    Args:
        probe: Network that contains ``weights``.
        weights: Parameters by name.
        batches: Batches whose losses are summed.
        loss: Loss of one batch.
        vector: Tensors by name, in the shapes of ``weights``.
    """
    inputs = list(weights.values())
    parts = []
    for images, labels in batches:
        gradients = torch.autograd.grad(loss(probe(images), labels), inputs, create_graph=True)
        along = torch.stack(
            [(gradient * vector[name]).sum() for name, gradient in zip(weights, gradients, strict=True)]
        )
        parts.append(torch.autograd.grad(along.sum(), inputs, allow_unused=True, materialize_grads=True))
    return {name: torch.stack(grads).sum(0) for name, grads in zip(weights, zip(*parts, strict=True), strict=True)}


@no_grad
def abs_network(model: nn.Module) -> nn.Module:
    """Return a copy of the network for :func:`synaptic_flow`: every parameter and buffer has its absolute value.

    The copy is in evaluation mode: images do not affect each other. Its input is not standardized. Its dtype is
    float64: products along many layers neither vanish nor overflow.
    """
    from sparsweep.trainables.models.modules import Normalize

    probe = copy.deepcopy(model).double().eval()
    for layer in probe.modules():
        if isinstance(layer, Normalize):
            layer.mean.zero_(), layer.std.fill_(1)
    for value in probe.state_dict().values():
        value.abs_()
    return probe


def synaptic_flow(
    probe: nn.Module, image_shape: Sequence[int], masks: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return |w dR/dw|, where R is the sum of the logits of an all-ones image (Tanaka et al., NeurIPS 2020).

    If layers have no biases, the scores of each layer sum to R: flow is conserved.

    Args:
        probe: Network of :func:`abs_network`.
        image_shape: (channels, height, width).
        masks: Masks by weight name. Masked weights count as zero.

    Returns:
        Scores by weight name, float64.
    """
    weights = {name: (w.detach() * masks[name]).requires_grad_() for name, w in maskable(probe).items()}
    image = torch.ones(1, *image_shape, dtype=torch.float64, device=next(iter(weights.values())).device)
    flow = torch.func.functional_call(probe, weights, (image,)).sum()
    gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True, materialize_grads=True)
    return {name: (w * grad).detach().abs() for (name, w), grad in zip(weights.items(), gradients, strict=True)}
