"""Hard samples by the variance of gradients: those whose saliency keeps changing while a network learns.

Agarwal, D'souza & Hooker, "Estimating Example Difficulty using Variance of Gradients", CVPR 2022. After epoch t let
S_t be the gradient of the label's logit with respect to the image, averaged over colour channels; its variance over
the epochs, averaged over pixels, is the raw score. It is standardised within each class (minus the mean of the class,
over its standard deviation), so that a class with large gradients throughout is not hard as a whole. One network, as
theirs; every epoch of the run is a checkpoint, where they keep a few of them.

Departure from the authors' released code, towards the name of the score: it averages the standard deviations of pixels
instead of their variances. Variances are built up from one epoch to the next by Welford's rule and need one map a
sample in memory and in checkpoints, H x W float32 numbers (205 MB for CIFAR). To follow an epoch costs .6 to .7 of
training it (ResNet18 at 32 pixels on a CPU core; not measured on a GPU).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import Score, ScoringContext, register_score
from sparsweep.trainables.difficulties.selection import MAX_RUNS, ScoreSelection
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.network import AutocastNetwork

BATCH = 128
"""Images whose gradients are taken at once."""


def input_gradients(network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient of each label's logit by the pixels, averaged over channels: float32 [B, H, W].

    ``images``: float32 [B, C, H, W] in [0, 1]; ``labels``: int64 [B]. The network must be in evaluation mode.
    """
    images = images.detach().requires_grad_()
    logits = network(images).gather(1, labels[:, None])
    (gradients,) = torch.autograd.grad(logits.sum(), images)
    return gradients.mean(1)


def add_map(mean: torch.Tensor, scatter: torch.Tensor, found: torch.Tensor, count: int) -> None:
    """Take the ``count``-th maps ``found`` [B, H, W] into account, in place.

    ``mean``: mean of the maps so far [B, H, W]; ``scatter``: sum of squared deviations from it over all pixels [B].
    """
    before = found - mean
    mean += before / count
    scatter += (before * (found - mean)).double().sum((1, 2))


def class_standardised(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Minus the mean of its class, over the (population) standard deviation of its class; 0 where that is 0."""
    result = torch.zeros_like(values)
    for label in labels.unique():
        own = labels == label
        spread = values[own].std(correction=0)
        if spread > 0:
            result[own] = (values[own] - values[own].mean()) / spread
    return result


class VoGScore(Score):
    """Builds up the variance of every sample's input gradients."""

    def __init__(self, data: DeviceData) -> None:
        super().__init__(data)
        samples, _, height, width = data.train_images.shape
        device = data.train_images.device
        self.state = {
            "mean": torch.zeros(samples, height, width, device=device),
            "scatter": torch.zeros(samples, dtype=torch.float64, device=device),
        }

    def on_epoch_end(self, view: ScoringContext) -> None:
        parts = zip(
            self.state["mean"].split(BATCH), self.state["scatter"].split(BATCH), view.batches(BATCH), strict=True
        )
        for mean, scatter, (images, labels) in parts:
            add_map(mean, scatter, input_gradients(view.network, images, labels), view.epoch)

    def compute(self, view: ScoringContext) -> torch.Tensor:
        pixels = self.state["mean"][0].numel()
        return class_standardised(self.state["scatter"] / (pixels * view.epoch), view.labels)


register_score("vog", VoGScore)


@difficulties.register
class VoG(ScoreSelection):
    """The samples whose input gradients vary most while a network trains, within their class."""

    name: Literal["vog"] = "vog"
    min_epochs: ClassVar[int] = 2
    runs: int = Field(default=1, ge=1, le=MAX_RUNS, description="networks whose scores are averaged")
    epoch: int | None = Field(default=None, ge=1, description="epochs that are followed; null: all")
