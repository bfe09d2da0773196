"""A run from its first epoch to its rows in storage: resumed from its checkpoint, advanced, finished.

Two kinds, one life: a trial leaves rows and weights, a scoring run leaves scores. Nothing here knows of Ray.
"""

from __future__ import annotations

import json
import platform
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainables.data import DeviceData
from trainables.difficulty.scores import el2n
from trainables.flops import forward_flops
from trainables.spec import ScoringSpec, Spec, TrialSpec, dump
from trainables.store import Store
from trainables.training import Epoch, Training


@dataclass(frozen=True)
class Progress:
    """How far a run is; ``last`` is its newest epoch."""

    epoch: int
    epochs: int
    last: Epoch | None

    @property
    def done(self) -> bool:
        return self.epoch >= self.epochs


class Run(ABC):
    """One run in one storage. Making it continues from the newest checkpoint there is."""

    def __init__(self, spec: Spec, training: Training, store: Store, sweep: str) -> None:
        self.spec, self.training, self.store, self.sweep = spec, training, store, sweep
        self.seconds = 0.0
        self.started_at = datetime.now(UTC)
        state = store.read_checkpoint(spec.id)
        if state is not None:
            self.seconds = state["seconds"]
            training.restore(state["training"])

    @property
    def progress(self) -> Progress:
        history = self.training.history
        return Progress(self.training.epoch, self.spec.length, history[-1] if history else None)

    def advance(self, seconds: float) -> Progress:
        """Train whole epochs for at least ``seconds``, then leave a checkpoint or, at the end, the results."""
        began = time.perf_counter()
        while not self.progress.done:
            self.training.train_epoch()
            if time.perf_counter() - began >= seconds:
                break
        self.seconds += time.perf_counter() - began
        if self.progress.done:
            self.finish()
            self.store.delete_checkpoint(self.spec.id)
        else:
            state = {"seconds": self.seconds, "training": self.training.state()}
            self.store.write_checkpoint(self.spec.id, state)
        return self.progress

    @staticmethod
    @abstractmethod
    def is_finished(spec: Any, store: Store) -> bool:
        """Whether everything that a run of ``spec`` leaves behind is there."""

    @abstractmethod
    def finish(self) -> None:
        """Write what the run leaves behind."""


class TrialRun(Run):
    """A trial: it leaves its weights, and its rows in the tables ``epochs``, ``layers`` and ``trials``."""

    spec: TrialSpec

    def __init__(self, spec: TrialSpec, data: DeviceData, store: Store, sweep: str) -> None:
        def scores(run: ScoringSpec) -> torch.Tensor:
            return torch.from_numpy(store.read_scores(run.id, "el2n").copy())

        def trained(trial: TrialSpec) -> dict[str, torch.Tensor]:
            return store.read_weights(trial.id)["model"]

        indices = spec.difficulty.select(spec, data.train_labels.cpu(), scores)
        super().__init__(spec, Training(spec, data, indices, trained), store, sweep)

    @staticmethod
    def is_finished(spec: TrialSpec, store: Store) -> bool:
        paths = store.artifact_path("weights", spec.id), store.result_path("trials", spec.id)
        return all(store.exists(path) for path in paths)

    def finish(self) -> None:
        training = self.training
        masked = [(weight * (1 - factor)).abs().max() for weight, factor in self._masked_weights()]
        if torch.stack(masked).max() != 0:
            raise AssertionError("a masked weight is not zero at the end of training")
        self.store.write_weights(self.spec.id, {"model": training.model.state_dict(), "masks": dict(training.masks)})
        tables = {"epochs": self._epochs(), "layers": self._layers(), "trials": [self._trial()]}
        self.store.write_result(self.spec.id, tables)

    def _masked_weights(self) -> Any:
        weights = [weight.detach() for weight in self.training.weights.values()]
        return zip(weights, self.training.factors, strict=True)

    def _epochs(self) -> list[dict[str, Any]]:
        return [{"trial": self.spec.id, "robust_accuracy": None, **vars(epoch)} for epoch in self.training.history]

    def _layers(self) -> list[dict[str, Any]]:
        training, rows = self.training, []
        for position, (name, mask) in enumerate(training.masks.items()):
            layer = training.model.get_submodule(name.removesuffix(".weight"))
            density = training.counts[name] / mask.numel()
            rows.append(
                {
                    "trial": self.spec.id,
                    "layer": name,
                    "position": position,
                    "kind": "conv" if isinstance(layer, nn.Conv2d) else "linear",
                    "weights": mask.numel(),
                    "nonzero": training.counts[name],
                    "density": density,
                    "flops": forward_flops({name: training.layer_flops[name]}, {name: density}),
                }
            )
        return rows

    def _trial(self) -> dict[str, Any]:
        spec, training = self.spec, self.training
        last = training.history[-1]
        parameters = sum(parameter.numel() for parameter in training.model.parameters())
        kept = sum(training.counts.values())
        recipe = spec.recipe.model_dump(mode="json", exclude={"epochs", "milestones"})
        return {
            "trial": spec.id,
            "sweep": self.sweep,
            "dataset": spec.dataset.name,
            "model": spec.model.name,
            "sparsifier": spec.sparsifier.name,
            "sparsity": spec.sparsity,
            "density": training.density,
            "difficulty": spec.difficulty.name,
            "data_ratio": spec.data_ratio,
            "seed": spec.seed,
            "profile": spec.profile,
            "epochs": spec.recipe.epochs,
            "test_accuracy": last.test_accuracy,
            "clean_accuracy": last.test_accuracy,
            "corrupted_accuracy": None,
            "robust_accuracy": None,
            "train_accuracy": last.train_accuracy,
            "train_loss": last.train_loss,
            "parameters": parameters,
            "nonzero_parameters": parameters - training.masks.size + kept,
            "train_flops": training.train_flops,
            "inference_flops": training.forward_flops,
            "seconds": self.seconds,
            "images_per_second": training.batches.epoch_samples * training.epoch / training.train_seconds,
            "device": device_name(training.device),
            "started_at": self.started_at,
            "finished_at": datetime.now(UTC),
            "commit": commit(),
            "versions": versions(),
            "samples": len(training.batches.indices),
            "model_parameters": spec.model.model_dump_json(exclude={"name"}),
            "sparsifier_parameters": spec.sparsifier.model_dump_json(exclude={"name"}),
            "difficulty_parameters": spec.difficulty.model_dump_json(exclude={"name"}),
            "milestones": json.dumps(spec.recipe.milestones),
            "evaluation_every": spec.evaluation.every,
            "spec": dump(spec),
            **recipe,
        }


class ScoringRun(Run):
    """The first epochs of a dense trial, then the scores of every training sample."""

    spec: ScoringSpec

    def __init__(self, spec: ScoringSpec, data: DeviceData, store: Store, sweep: str) -> None:
        def nothing(trial: TrialSpec) -> dict[str, torch.Tensor]:
            raise LookupError(f"a dense trial has no prerequisite, asked for {trial}")

        indices = torch.arange(len(data.train_labels))
        super().__init__(spec, Training(spec.trial, data, indices, nothing), store, sweep)

    @staticmethod
    def is_finished(spec: ScoringSpec, store: Store) -> bool:
        return store.exists(store.artifact_path("scores", spec.id))

    def finish(self) -> None:
        data = self.training.data
        scores = el2n(self.training.logits(data.train_images), data.train_labels)
        self.store.write_scores(self.spec.id, data.train_labels.cpu().numpy(), {"el2n": scores.cpu().numpy()})


KINDS: dict[type[Spec], type[TrialRun] | type[ScoringRun]] = {TrialSpec: TrialRun, ScoringSpec: ScoringRun}


def is_finished(spec: Spec, store: Store) -> bool:
    """Whether ``spec`` was run to its end in this storage, by whomever."""
    return KINDS[type(spec)].is_finished(spec, store)  # type: ignore[arg-type]


def open_run(spec: Spec, data: DeviceData, store: Store, sweep: str) -> Run:
    """The run of ``spec``, continued from its checkpoint if it has one."""
    return KINDS[type(spec)](spec, data, store, sweep)  # type: ignore[arg-type]


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


@cache
def commit() -> str | None:
    """The git commit of this code, with ``+`` if files have changed since; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def versions() -> str:
    """JSON: versions of everything that computed the result."""
    libraries = {name: version(name) for name in ("sparsweep", "torch", "numpy")}
    return json.dumps({"python": platform.python_version(), **libraries})
