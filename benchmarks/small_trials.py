"""The same small trainings in a plain loop without Ray and in the authors' loop, for comparison with a sweep.

Each function measures the current process, which must be a new one, and returns the wall time ``seconds``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

SWEEP = """
description: "Small trials of equal length, for a benchmark."
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: EPOCHS}, seed: {from: 1, to: TRIALS, step: 1}}
grids: [{sparsifier: random, sparsity: 0.8}]
"""
TARGET_SECONDS = 5.0
WORKERS = 2


def sweep_file(trials: int, epochs: int) -> str:
    return SWEEP.replace("EPOCHS", str(epochs)).replace("TRIALS", str(trials))


def specs(trials: int, epochs: int) -> list[Any]:
    from sparsweep.tuner.config.sweep import parse_sweep

    return list(parse_sweep(sweep_file(trials, epochs), "small").trials.values())


def trainings(chosen: Iterable[Any]) -> Iterator[Any]:
    """Yield the trainings of ``chosen``. Each is created after the previous one has finished."""
    import torch

    from sparsweep.trainables.difficulties.base import random_subset
    from sparsweep.trainables.pipeline.device_data import to_device_data
    from sparsweep.trainables.training.trainer import Trainer

    data = None
    for spec in chosen:
        data = data or to_device_data(
            spec.dataset.load(), spec.model.channels, spec.model.min_size, torch.device("cpu")
        )
        indices = random_subset(len(data.train_labels), spec.num_samples, spec.seed)
        yield Trainer(spec, data, indices, raise_no_prerequisite)


def raise_no_prerequisite(spec: Any) -> Any:
    raise LookupError(f"a random mask has no prerequisite (got {spec})")


def epochs_of(storage: str, trials: int, epochs: int) -> dict[str, Any]:
    """Return the number of epochs that take about :data:`TARGET_SECONDS` on one thread of this machine."""
    return {"epochs": max(1, round(4 * TARGET_SECONDS / loop(storage, 1, 4)["seconds"]))}


def loop(storage: str, trials: int, epochs: int) -> dict[str, Any]:
    """Run the trainings of this package one after the other on one thread, without Ray."""
    import torch

    torch.set_num_threads(1)
    next(trainings(specs(1, 1))).train_epoch()  # warm-up: imports and data are loaded once
    start = time.perf_counter()
    for training in trainings(specs(trials, epochs)):
        for _ in range(epochs):
            training.train_epoch()
    return {"seconds": time.perf_counter() - start}


def authors(storage: str, trials: int, epochs: int) -> dict[str, Any]:
    """Train the same networks, masks, images and batches in the authors' loop, one after the other on all threads."""
    import torch

    from benchmarks.authors_loop import AuthorsLoop, test_loader, train_loader

    start = time.perf_counter()
    for training in trainings(specs(trials, epochs)):
        data, recipe = training.data, training.spec.recipe
        masks = {name: mask.float() for name, mask in training.masks.items()}
        authors_loop = AuthorsLoop(training.model, torch.device("cpu"), masks, lr=recipe.lr)
        images, labels = data.train_images.numpy(), data.train_labels.numpy()
        loader = train_loader(images, labels, recipe.batch_size, recipe.crop_padding, recipe.flip, WORKERS)
        tests = test_loader(data.test_images.numpy(), data.test_labels.numpy(), workers=WORKERS)
        for _ in range(epochs):
            authors_loop.train_epoch(loader)
            authors_loop.evaluate(tests)
    return {"seconds": time.perf_counter() - start}


MEASURES = {measure.__name__: measure for measure in (epochs_of, loop, authors)}
