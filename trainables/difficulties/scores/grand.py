"""Hard samples by GraNd: the norm of the gradient of a single sample's loss.

Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021, section 2: GraNd = ||d loss / d w||_2 over all parameters of
the network (weights, biases and norms), with the cross-entropy of one sample, averaged over networks. Batch norms are
in evaluation mode: otherwise gradients depend on the batch. Images are not augmented. The defaults are those of
``el2n``, whose runs this score shares. The paper's GraNd at initialization (epoch 0) is not offered: Kirsch, "Does
'Deep Learning on a Data Diet' reproduce?", 2023, could not reproduce it.

Gradients are computed for as many samples at once as fit into ``CHUNK`` numbers (1 GiB), at least one. They are in
float32 at every precision of the recipe: ``vmap`` does not support autocast. All samples together cost 3 to 4 epochs of
training, once (ResNet18 at 32 pixels on a CPU core; not measured on a GPU).
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import ScoringContext, register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, nn, torch

CHUNK = 2**28
"""Maximum number of gradient values in memory."""


def grand(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the norm of each sample's gradient, float64 ``(B,)``.

    The memory is B times the parameters of the network.

    Args:
        module: Network in evaluation mode. It does not change.
        images: float32 ``(B, C, H, W)`` in [0, 1].
        labels: int64 ``(B,)``.
    """
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(torch.func.functional_call(module, parameters, (image[None],)), label[None])

    def norm(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        gradients = torch.func.grad(loss)(parameters, image, label)
        return torch.stack([gradient.norm() for gradient in gradients.values()]).double().norm()

    return torch.func.vmap(norm)(images, labels)


def grand_of(context: ScoringContext) -> torch.Tensor:
    """Return the norms of all training samples, float64 ``(N,)``."""
    module = context.network.module
    size = max(1, CHUNK // sum(parameter.numel() for parameter in module.parameters()))
    return torch.cat([grand(module, images, labels) for images, labels in context.batches(size)])


register_final_score("grand", grand_of)


@difficulties.register
class GraNd(ScoreSelection):
    """Samples whose own loss has the largest gradient over all parameters, early in training."""

    name: Literal["grand"] = "grand"
