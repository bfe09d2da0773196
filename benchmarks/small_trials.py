"""The same small trainings as a sweep, one after the other without Ray, and in the authors' way.

Each function measures in this process, which is to be a new one, and returns the wall ``seconds``.
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
    """The trainings of ``chosen``, each made when the one before has ended."""
    import torch

    from sparsweep.trainables.difficulties.base import random_subset
    from sparsweep.trainables.pipeline.device_data import to_device_data
    from sparsweep.trainables.training.trainer import Trainer

    data = None
    for spec in chosen:
        data = data or to_device_data(
            spec.dataset.load(), spec.model.channels, spec.model.min_size, torch.device("cpu")
        )
        yield Trainer(spec, data, random_subset(len(data.train_labels), spec.samples, spec.seed), no_parent)


def no_parent(spec: Any) -> Any:
    raise LookupError(f"a random mask has no prerequisite, asked for {spec}")


def epochs_of(storage: str, trials: int, epochs: int) -> dict[str, Any]:
    """How many epochs take about :data:`TARGET_SECONDS` here, on one thread."""
    return {"epochs": max(1, round(4 * TARGET_SECONDS / loop(storage, 1, 4)["seconds"]))}


def loop(storage: str, trials: int, epochs: int) -> dict[str, Any]:
    """The trainings of this package, one after the other on one thread, with nothing around them."""
    import torch

    torch.set_num_threads(1)
    next(trainings(specs(1, 1))).train_epoch()  # what is only loaded once
    began = time.perf_counter()
    for training in trainings(specs(trials, epochs)):
        for _ in range(epochs):
            training.train_epoch()
    return {"seconds": time.perf_counter() - began}


def authors(storage: str, trials: int, epochs: int) -> dict[str, Any]:
    """The same networks, masks, images and batches through the authors' loop, one after the other on all threads."""
    import torch

    from benchmarks.authors_loop import AuthorsLoop, test_loader, train_loader

    began = time.perf_counter()
    for training in trainings(specs(trials, epochs)):
        data, recipe = training.data, training.spec.recipe
        masks = {name: mask.float() for name, mask in training.masks.items()}
        theirs = AuthorsLoop(training.model, torch.device("cpu"), masks, lr=recipe.lr)
        images, labels = data.train_images.numpy(), data.train_labels.numpy()
        loader = train_loader(images, labels, recipe.batch_size, recipe.crop_padding, recipe.flip, WORKERS)
        tests = test_loader(data.test_images.numpy(), data.test_labels.numpy(), workers=WORKERS)
        for _ in range(epochs):
            theirs.train_epoch(loader)
            theirs.evaluate(tests)
    return {"seconds": time.perf_counter() - began}


MEASURES = {measure.__name__: measure for measure in (epochs_of, loop, authors)}
