"""A sweep and how it is to be run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep


class Tracker(StrEnum):
    """What can follow a sweep beside our own tables."""

    tensorboard = "tensorboard"
    wandb = "wandb"
    mlflow = "mlflow"


@dataclass(frozen=True)
class RunOptions:
    """``sweep`` in ``store``, on the Ray cluster at ``address``.

    ``address``: ``local`` for a private cluster on this machine, ``auto`` or host:port for one that is there;
    ``trackers``: where it is to be seen as well; ``profile``: the run of which one epoch is to be profiled;
    ``options``: those of the call, to be repeated; ``fail_fast``: whether the first run that fails ends it;
    ``take_over``: end another driver of the sweep.
    """

    sweep: Sweep
    store: Store
    address: str = "local"
    trackers: Sequence[Tracker] = ()
    profile: str | None = None
    options: Sequence[str] = ()
    fail_fast: bool = False
    take_over: bool = False

    @property
    def resume_command(self) -> str:
        """The command that goes on with the sweep, with the options of this one."""
        return shlex.join(["sparsweep", "resume", self.sweep.name, *self.options])
