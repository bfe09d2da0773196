"""Options of a run of a sweep."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep


Echo = Literal["quiet", "progress", "verbose"]
"""What a run prints beside failures: nothing, its progress, or also the start and the end of every run."""


class Tracker(StrEnum):
    """External experiment trackers."""

    tensorboard = "tensorboard"
    wandb = "wandb"
    mlflow = "mlflow"


@dataclass(frozen=True)
class RunOptions:
    """A sweep and the options of its run.

    Attributes:
        sweep: The sweep.
        store: The storage.
        address: ``local`` for a private cluster on this node, ``auto`` or ``host:port`` for a running cluster.
        trackers: Experiment trackers that also log the sweep.
        profile: Id of the run of which one epoch is profiled.
        options: Command-line options that the resume command repeats.
        fail_fast: Whether the first failed run stops the sweep.
        take_over: Whether to stop another driver of the sweep.
        echo: What the run prints.
    """

    sweep: Sweep
    store: Store
    address: str = "local"
    trackers: Sequence[Tracker] = ()
    profile: str | None = None
    options: Sequence[str] = ()
    fail_fast: bool = False
    take_over: bool = False
    echo: Echo = "progress"

    @property
    def resume_command(self) -> str:
        """Command that resumes the sweep with the same options."""
        return shlex.join(["sparsweep", "resume", self.sweep.name, *self.options])
