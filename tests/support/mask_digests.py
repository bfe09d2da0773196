"""Digests of the masks of every sparsifier. As a program it prints them, for a test in another process.

``python mask_digests.py SEED [draw]``: with ``draw``, it first draws from the global random generators.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys

import numpy as np
import torch

from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.training.trainer import Trainer
from support.contract_settings import SPARSIFIER_NAMES, training, trial


def digest(masks: Masks) -> str:
    parts = [name.encode() + mask.numpy().tobytes() for name, mask in masks.items()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


class Recorded(Trainer):
    """Trainer that records the digest of its masks at every step."""

    digests: list[str]

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        self.digests.append(digest(self.masks))
        return super().train_step(images, labels, noise, step)


def digests(name: str, seed: int) -> list[str]:
    """Return the digests of the distinct masks of a training, in order."""
    run = training(trial(name, seed=seed), Recorded)
    assert isinstance(run, Recorded)
    run.digests = []
    for _ in range(run.spec.recipe.epochs):
        run.train_epoch()
    return list(dict.fromkeys(run.digests))


def main() -> None:
    torch.set_num_threads(1)
    if "draw" in sys.argv[2:]:
        torch.manual_seed(99), torch.rand(1000), np.random.rand(1000), random.random()
    print(json.dumps({name: digests(name, int(sys.argv[1])) for name in SPARSIFIER_NAMES}))


if __name__ == "__main__":
    main()
