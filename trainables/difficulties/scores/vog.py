"""Hard samples by the variance of gradients (VoG): the samples whose saliency changes most during training.

Agarwal, D'souza & Hooker, "Estimating Example Difficulty using Variance of Gradients", CVPR 2022. S_t is the gradient
of the label's logit with respect to the image after epoch t, averaged over color channels. Its variance over the
epochs, averaged over pixels, is the raw score. The raw score is standardized within each class (minus the mean of the
class, divided by its standard deviation). A class with large gradients throughout is therefore not hard as a class. One
network, as in the paper. Every epoch of the run is a checkpoint (authors: a few of them).

Departure from the authors' code, as the name of the score says: the authors average the standard deviations of pixels
instead of their variances.

Variances accumulate over epochs by Welford's rule. They need one map per sample in memory and in checkpoints, H x W
float32 numbers (205 MB for CIFAR). Each epoch costs 0.6 to 0.7 times the training of the epoch (ResNet18 at 32 pixels
on a CPU core; not measured on a GPU).
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
"""Images whose gradients are computed at once."""


def input_gradients(network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the gradient of each label's logit with respect to the pixels, averaged over channels.

    Args:
        network: Network in evaluation mode.
        images: float32 ``(B, C, H, W)`` in [0, 1].
        labels: int64 ``(B,)``.

    Returns:
        float32 ``(B, H, W)``.
    """
    images = images.detach().requires_grad_()
    logits = network(images).gather(1, labels[:, None])
    (gradients,) = torch.autograd.grad(logits.sum(), images)
    return gradients.mean(1)


def add_map(mean: torch.Tensor, scatter: torch.Tensor, found: torch.Tensor, count: int) -> None:
    """Update the statistics with the ``count``-th maps, in place.

    Args:
        mean: Mean of the maps so far, ``(B, H, W)``.
        scatter: Sum of squared deviations from the mean over all pixels, ``(B,)``.
        found: New maps, ``(B, H, W)``.
        count: Number of maps, including the new one.
    """
    deviation = found - mean
    mean += deviation / count
    scatter += (deviation * (found - mean)).double().sum((1, 2))


def class_standardised(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Standardize ``values`` within each class (population standard deviation). If the deviation is 0, the result is 0.

    Args:
        values: ``(N,)``.
        labels: int64 ``(N,)``.
    """
    result = torch.zeros_like(values)
    for label in labels.unique():
        in_class = labels == label
        deviation = values[in_class].std(correction=0)
        if deviation > 0:
            result[in_class] = (values[in_class] - values[in_class].mean()) / deviation
    return result


class VoGScore(Score):
    """Variance of every sample's input gradients over the epochs."""

    def __init__(self, data: DeviceData) -> None:
        super().__init__(data)
        samples, _, height, width = data.train_images.shape
        device = data.train_images.device
        self.state = {
            "mean": torch.zeros(samples, height, width, device=device),
            "scatter": torch.zeros(samples, dtype=torch.float64, device=device),
        }

    def on_epoch_end(self, context: ScoringContext) -> None:
        parts = zip(
            self.state["mean"].split(BATCH), self.state["scatter"].split(BATCH), context.batches(BATCH), strict=True
        )
        for mean, scatter, (images, labels) in parts:
            add_map(mean, scatter, input_gradients(context.network, images, labels), context.epoch)

    def compute(self, context: ScoringContext) -> torch.Tensor:
        pixels = self.state["mean"][0].numel()
        return class_standardised(self.state["scatter"] / (pixels * context.epoch), context.labels)


register_score("vog", VoGScore)


@difficulties.register
class VoG(ScoreSelection):
    """Samples whose input gradients vary most during training, within their class."""

    name: Literal["vog"] = "vog"
    min_epochs: ClassVar[int] = 2
    runs: int = Field(default=1, ge=1, le=MAX_RUNS, description="networks whose scores are averaged")
    epoch: int | None = Field(default=None, ge=1, description="epochs of each network; null: all")
