"""What the contract tests run with: small arguments for every registered name, a tiny network, tiny data.

A new method, difficulty, data set or network needs one line in the table of its kind below; without it
``test_every_name_has_settings`` fails.
"""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from trainables.data import Batches, DeviceData, datasets
from trainables.data.base import ImageData, place
from trainables.difficulty import difficulties
from trainables.models import Model, models
from trainables.models.base import Normalize
from trainables.seeds import derive
from trainables.sparsifiers import Start, sparsifiers
from trainables.sparsifiers.base import State
from trainables.spec import TrialSpec
from trainables.training import Training, build_model

SPARSIFIERS: dict[str, dict[str, Any]] = {
    "bayesian_connectivity": {"noise": 0.001, "l1": 0.1},
    "dense": {},
    "dsr": {"update_every": 1, "prune_rate": 0.5, "stop_fraction": 1.0},
    "gmp": {"update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.75},
    "itop": {"update_every": 1, "growth": "gradient", "stop_fraction": 1.0},
    "lth": {},
    "mest": {"update_every": 1, "prune_rate": 0.5, "decay_fraction": 1.0, "stop_fraction": 1.0},
    "movement": {"update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.75},
    "omp": {},
    "omp_erk": {},
    "random": {},
    "rigl": {"update_every": 1, "prune_rate": 0.5, "stop_fraction": 1.0},
    "set": {"update_every": 1, "prune_rate": 0.5, "stop_fraction": 1.0},
    "snfs": {"update_every": 1, "stop_fraction": 1.0},
    "snip": {},
    "topkast": {"update_every": 1, "margin": 0.3},
    "uniform": {},
}
"""Updates at epoch boundaries, so that one is due at the very step where a test stops and resumes."""

SCORES_FOLDER = tempfile.TemporaryDirectory()


def scores_file(labels: np.ndarray) -> str:
    """A user's file of made-up scores for samples of these labels; it goes when the tests end."""
    path = f"{SCORES_FOLDER.name}/{len(labels)}.parquet"
    scores = np.random.default_rng(0).random(len(labels))
    pq.write_table(pa.table({"sample": np.arange(len(labels)), "label": labels, "score": scores}), path)
    return path


DIFFICULTIES: dict[str, dict[str, Any]] = {
    "aum": {"runs": 2, "epoch": 1},
    "adversarial": {"steps": 2, "test_steps": 2},
    "corruption": {"types": "named3"},
    "composed": {
        "selection": {"name": "el2n", "runs": 2, "epoch": 1},
        "labels": {"name": "label_noise", "fraction": 0.4},
        "images": {"name": "corruption", "types": "named3"},
        "attack": {"name": "adversarial", "steps": 2, "test_steps": 2},
    },
    "el2n": {"runs": 2, "epoch": 1},
    "label_noise": {"fraction": 0.4, "kind": "pairwise"},
    "entropy": {"runs": 2, "epoch": 1},
    "forgetting": {"runs": 2, "epoch": 2},
    "grand": {"runs": 2, "epoch": 1},
    "loss": {"runs": 2, "epoch": 1},
    "margin": {"runs": 2, "epoch": 1},
    "none": {},
    "prediction_depth": {"runs": 2},
    "scores": {"file": scores_file(np.arange(30) % 10)},  # the labels of the contract of difficulties
    "vog": {"runs": 2},
}

DATASETS: dict[str, dict[str, Any]] = {
    "cifar10": {},
    "cifar100": {},
    "digits": {},
    "imagefolder": {"path": "pictures", "image_size": 16},
    "tinyimagenet": {},
}
"""What needs files gets small ones from its writer in ``small_datasets.WRITERS``; paths are relative to theirs."""

MODELS: dict[str, dict[str, Any]] = {
    "resnet8": {"width": 0.25},
    "resnet18": {"width": 0.0625},
    "resnet34": {"width": 0.0625, "stem": "7x7"},
    "vgg16": {"width": 0.0625},
    "vgg19": {"width": 0.0625},
}

# Taken when the tests are collected, before any test registers a method of its own.
SPARSIFIER_NAMES = sparsifiers.names()
DIFFICULTY_NAMES = difficulties.names()
DATASET_NAMES = datasets.names()
MODEL_NAMES = models.names()

TABLES = {
    "sparsifier": (SPARSIFIERS, SPARSIFIER_NAMES),
    "difficulty": (DIFFICULTIES, DIFFICULTY_NAMES),
    "dataset": (DATASETS, DATASET_NAMES),
    "model": (MODELS, MODEL_NAMES),
}

EPOCHS = 4
SAMPLES = 24
BATCH = 10  # three batches an epoch, the last of four


class Tiny(Model):
    """A 3x3, a depthwise and a 1x1 convolution and a linear layer with bias. Not registered: no sweep may find it."""

    name: Literal["tiny"] = "tiny"
    channels = 1
    min_size = 6

    def build(self, classes: int, statistics: Any) -> nn.Module:
        return nn.Sequential(
            Normalize(*statistics),
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(12, classes),
        )


LAYERS = {"1.weight": (8, 1, 3, 3), "4.weight": (8, 1, 3, 3), "6.weight": (12, 8, 1, 1), "11.weight": (10, 12)}
"""The maskable weights of :class:`Tiny` at ten classes, in order: 72 + 72 + 96 + 120 = 360 weights."""


@cache
def tiny_data() -> DeviceData:
    """24 training and 20 test images of 6x6 random grey pixels, ten classes."""
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 256, (count, 1, 6, 6), dtype=np.uint8) for count in (SAMPLES, 20))
    labels = [random.integers(0, 10, count) for count in (SAMPLES, 20)]
    return place(ImageData(train, labels[0], test, labels[1], classes=10), 1, 6, torch.device("cpu"))


def small(registry_table: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The registered ``name`` with its small arguments; with its defaults where the table has none."""
    return {"name": name, **registry_table.get(name, {})}


def trial(sparsifier: str, sparsity: float = 0.8, seed: int = 0, **changes: Any) -> TrialSpec:
    """A trial of four epochs on the tiny network; dense is given its only sparsity."""
    recipe = {"epochs": EPOCHS, "batch_size": BATCH, "crop_padding": 1, "lr": 0.05}
    fields = {
        "dataset": "digits",
        "model": Tiny(),
        "sparsifier": small(SPARSIFIERS, sparsifier),
        "sparsity": 0.0 if sparsifier == "dense" else sparsity,
        "recipe": recipe,
        "seed": seed,
    }
    return TrialSpec(**{**fields, **changes})


def trained(spec: TrialSpec) -> State:
    """Stands for the final state of a prerequisite: other weights than the initial ones, moved batch-norm buffers."""
    model = build_model(spec.replace(seed=spec.seed + 1), tiny_data())
    generator = derive(spec.seed, "stand-in")
    state = dict(model.state_dict())
    for name, value in state.items():
        if name.endswith(("running_mean", "running_var")):
            state[name] = torch.rand(value.shape, generator=generator) + 0.5
    return state


def start(spec: TrialSpec) -> Start:
    """What ``spec``'s sparsifier sees before training, at its starting state."""
    data, recipe = tiny_data(), spec.recipe
    samples = torch.arange(SAMPLES)
    batches = Batches(
        data.train_images, data.train_labels, samples, recipe.batch_size, recipe.crop_padding, recipe.flip
    )
    model = build_model(spec, data)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        return next(batches.epoch(derive(spec.seed, "mask batch")))

    begin = Start(spec, model, derive(spec.seed, "masks"), batch, trained)
    state = spec.sparsifier.starting_state(begin)
    if state is not None:
        model.load_state_dict(state)
    return begin


def training(spec: TrialSpec, kind: type[Training] = Training) -> Training:
    return kind(spec, tiny_data(), torch.arange(SAMPLES), trained)


class Listening(Training):
    """A training that keeps every batch it is given, and the state of the attack's generator."""

    heard: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]

    def train_step(
        self, images: torch.Tensor, labels: torch.Tensor, attack: torch.Generator, step: int
    ) -> torch.Tensor:
        self.heard = [*getattr(self, "heard", []), (images.clone(), labels.clone(), attack.get_state())]
        return super().train_step(images, labels, attack, step)


def comparable(run: Training) -> dict[str, object]:
    """The state of a run without the times it took."""
    state = run.state()
    del state["train_seconds"]
    state["history"] = [{**epoch, "seconds": None} for epoch in state["history"]]
    return state


def assert_same(left: object, right: object, path: str = "state") -> None:
    """Equal in structure, type and every bit."""
    assert type(left) is type(right), path
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        assert left.dtype == right.dtype and left.shape == right.shape, path
        assert left.numpy().tobytes() == right.numpy().tobytes(), path
    elif isinstance(left, dict) and isinstance(right, dict):
        assert list(left) == list(right), path
        for key in left:
            assert_same(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        assert len(left) == len(right), path
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_same(one, other, f"{path}.{place}")
    else:
        assert left == right, path
