"""Hard samples by GraNd: the norm of the gradient that a sample alone would give.

Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021, section 2: GraNd = ||d loss / d w||_2 over all parameters of
the network (weights, biases and norms), with the cross-entropy of one sample, averaged over networks. Norms are in
evaluation mode, else a sample would have no gradient of its own; no augmentation. Defaults as ``el2n``, whose runs it
shares; the paper's GraNd at initialisation (epoch 0) is not offered: Kirsch, "Does 'Deep Learning on a Data Diet'
reproduce?", 2023, could not reproduce it.

Gradients are taken for as many samples at once as fit into ``CHUNK`` numbers (1 GiB), at least one; in float32,
whatever the precision of the recipe, for ``vmap`` does not know autocast. All samples together cost 3 to 4 epochs of
training, once (ResNet18 at 32 pixels on a CPU core; not measured on a GPU).
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import ScoringContext, register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, nn, torch

CHUNK = 2**28
"""Gradients, in numbers, that are in memory at once."""


def grand(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The norm of each sample's gradient: float64 [B]. The network must be in evaluation mode and stays as it is.

    ``images``: float32 [B, C, H, W] in [0, 1]; ``labels``: int64 [B]. Holds B times the parameters of the network.
    """
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(torch.func.functional_call(module, parameters, (image[None],)), label[None])

    def norm(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        gradients = torch.func.grad(loss)(parameters, image, label)
        return torch.stack([gradient.norm() for gradient in gradients.values()]).double().norm()

    return torch.func.vmap(norm)(images, labels)


def grand_of(view: ScoringContext) -> torch.Tensor:
    """The norms of all training samples: float64 [N]."""
    module = view.network.module
    size = max(1, CHUNK // sum(parameter.numel() for parameter in module.parameters()))
    return torch.cat([grand(module, images, labels) for images, labels in view.batches(size)])


register_final_score("grand", grand_of)


@difficulties.register
class GraNd(ScoreSelection):
    """The samples whose own loss has the largest gradient over all parameters, early in training."""

    name: Literal["grand"] = "grand"
