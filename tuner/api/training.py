"""Training of one trial in the calling process, without Ray: for a debugger, a profiler or a notebook."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sparsweep.analysis.load import load_epochs, load_layers, load_trials
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.pipeline.device_data import DeviceDataCache
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.execution import StepRunnerCache
from sparsweep.tuner.api.plain_values import to_plain
from sparsweep.tuner.cli.datasets import read_images
from sparsweep.tuner.cli.session import load_plugins, open_store
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.graph import build_graph, compute_state

if TYPE_CHECKING:
    import pandas as pd

SWEEP = "train"
"""Name in the column ``sweep`` of trials that were trained in process."""


@dataclass(frozen=True)
class TrainedTrial:
    """A finished trial.

    Attributes:
        spec: The trial.
        row: Its row of the table ``trials``.
        epochs: Its rows of the table ``epochs``.
        layers: Its rows of the table ``layers``.
        network: The trained network on the CPU, in evaluation mode. It maps float32 images ``(N, C, H, W)`` in [0, 1]
            to logits ``(N, classes)``. Masked weights are zero.
    """

    spec: TrialSpec
    row: pd.Series
    epochs: pd.DataFrame
    layers: pd.DataFrame
    network: nn.Module

    def __repr__(self) -> str:
        return f"TrainedTrial({self.spec}, test accuracy {self.row['test_accuracy']:.4f})"


def train(
    spec: TrialSpec | Mapping[str, Any],
    storage: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    threads: int = 1,
    plugins: Iterable[str] = (),
) -> TrainedTrial:
    """Train a trial and its missing prerequisites in this process.

    A trial of a sweep with the same number of threads on the same machine has the same bits. Errors are raised as they
    are, so a debugger stops at their cause.

    Args:
        spec: The trial, or its fields as in a sweep file.
        storage: Folder or address that keeps the results, as a sweep does. None: a temporary folder.
        data: Folder of data sets. None: ``$SPARSWEEP_DATA``, then ``~/.cache/sparsweep/data``.
        device: PyTorch device, such as ``cpu`` or ``cuda``.
        threads: Number of CPU threads.
        plugins: Modules with your own methods, imported first.

    Raises:
        UsageError: A field is invalid, or the data is missing. The message is one line.
    """
    load_plugins(list(plugins))
    trial = _parse(spec)
    place = tempfile.TemporaryDirectory() if storage is None else nullcontext(os.fspath(storage))
    with place as folder, _threads(threads):
        store = open_store(folder)
        state = compute_state(build_graph({trial.id: trial}), store).retried()
        images = read_images(state, [], None if data is None else os.fspath(data))
        cache, runners = DeviceDataCache(torch.device(device)), StepRunnerCache()
        for run in (each for name, each in state.graph.runs.items() if name in state.todo):
            open_run(run, _inputs(run, images, cache, runners), store, SWEEP).run_for(math.inf)
        return _finished(trial, store)


def _parse(spec: TrialSpec | Mapping[str, Any]) -> TrialSpec:
    if isinstance(spec, TrialSpec):
        return spec
    try:
        return TrialSpec.model_validate(to_plain(spec))
    except ValidationError as error:
        raise UsageError(format_error(error)) from None


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Use ``number`` CPU threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _inputs(
    run: RunSpec, images: Mapping[str, ImageData], cache: DeviceDataCache, runners: StepRunnerCache
) -> RunInputs:
    dataset = run.dataset_spec.model_dump_json()

    def load_images() -> ImageData:
        return images[dataset]

    return RunInputs(load_images, lambda trial: cache.get(dataset, trial.model, load_images), runners)


def _finished(trial: TrialSpec, store: Store) -> TrainedTrial:
    from sparsweep.trainables.export import export, network

    tables = (load(store.storage, trial.id) for load in (load_trials, load_epochs, load_layers))
    rows, epochs, layers = tables
    return TrainedTrial(trial, rows.iloc[0], epochs, layers, network(export(store, trial.id)))
