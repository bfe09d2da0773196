"""A sweep as a Python value: plan, run, resume, status and results."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import plain_yaml
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.api.driver import run_command
from sparsweep.tuner.api.plain_values import to_plain
from sparsweep.tuner.api.results import SweepResults
from sparsweep.tuner.cli.session import errors_in_sweeps, load_plugins, open_store, refuse_namesake
from sparsweep.tuner.config.sweep import Sweep, checked, parse_sweep, read_sweep
from sparsweep.tuner.errors import DEFAULT_STORAGE, UsageError
from sparsweep.tuner.planning.estimate import estimate
from sparsweep.tuner.planning.status import sweep_status
from sparsweep.tuner.terminal import print_message

Place = str | os.PathLike[str]
"""Storage of results: a folder, or an s3:// or gs:// address."""


@dataclass(frozen=True, repr=False)
class LoadedSweep:
    """A validated sweep. :func:`load_sweep` creates it.

    Attributes:
        definition: The sweep.
        arguments: The arguments that name the sweep for the command. Empty for a sweep written in Python.
        plugins: Names of the imported plug-in modules.
    """

    definition: Sweep
    arguments: tuple[str, ...]
    plugins: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.definition.name

    @property
    def specs(self) -> dict[str, TrialSpec]:
        """Trials of the grids by id. Empty for a search, whose trials depend on results."""
        return dict(self.definition.trials)

    def __repr__(self) -> str:
        search = self.definition.search
        what = f"{len(self.specs)} trials" if search is None else f"search of {search.trials} trials"
        return f"LoadedSweep({self.name!r}, {what})"

    def plan(self, storage: Place = DEFAULT_STORAGE) -> dict[str, Any]:
        """Return the numbers of missing and finished trials, their FLOPs and hours. Start nothing.

        Args:
            storage: The storage.

        Returns:
            The facts of ``sparsweep plan --json``. ``hours`` is None before ``sparsweep calibrate``.
        """
        return estimate(self.definition, self._open(storage))

    def status(self, storage: Place = DEFAULT_STORAGE) -> dict[str, Any]:
        """Return the numbers of done, running, failed, blocked and pending trials, with errors and causes.

        Args:
            storage: The storage.

        Returns:
            The facts of ``sparsweep status --json``.
        """
        return sweep_status(self.definition, self._open(storage))

    def results(self, storage: Place = DEFAULT_STORAGE) -> SweepResults:
        """Return the results that are finished so far.

        Args:
            storage: The storage.
        """
        return SweepResults(self.definition, self._open(storage))

    def run(
        self,
        storage: Place = DEFAULT_STORAGE,
        *,
        address: str = "local",
        data: Place | None = None,
        trackers: Iterable[str] = (),
        fail_fast: bool = False,
        take_over: bool = False,
        progress: bool = True,
    ) -> SweepResults:
        """Run the missing trials, and wait for their end. Skip failed trials, which :meth:`resume` retries.

        An interrupt stops the sweep in order, with KeyboardInterrupt. If this process is killed, the sweep continues.

        Args:
            storage: The storage.
            address: Ray cluster: ``local`` (private, on this node), ``auto``, or ``host:port``.
            data: Folder of data sets. None: ``$SPARSWEEP_DATA``, then ``~/.cache/sparsweep/data``.
            trackers: Experiment trackers that also log the sweep: ``tensorboard``, ``wandb``, ``mlflow``.
            fail_fast: Whether the first trial that fails after all retries stops the sweep.
            take_over: Whether to stop another driver of this sweep.
            progress: Whether to show a progress bar.

        Returns:
            The results. Trials can be missing because they failed: a message says so.

        Raises:
            UsageError: The sweep cannot run. The message is one line with the field, the value and the fix.
        """
        options = _options(storage, address, data, trackers, fail_fast, take_over)
        return self._run("run", storage, options, progress)

    def resume(
        self,
        storage: Place = DEFAULT_STORAGE,
        *,
        address: str = "local",
        data: Place | None = None,
        trackers: Iterable[str] = (),
        fail_fast: bool = False,
        take_over: bool = False,
        progress: bool = True,
    ) -> SweepResults:
        """Run the missing trials and retry failed ones. Arguments, result and errors are those of :meth:`run`."""
        options = _options(storage, address, data, trackers, fail_fast, take_over)
        return self._run("resume", storage, options, progress)

    def _run(self, command: str, storage: Place, options: list[str], progress: bool) -> SweepResults:
        self._open(storage)  # fails here with the same errors, before a child process starts
        plugins = [text for module in self.plugins for text in ("--plugin", module)]
        report = partial(_progress, self.definition, open_store(os.fspath(storage))) if progress else None
        with tempfile.TemporaryDirectory() as folder:
            named = self.arguments or (self._written(Path(folder)),)
            code = run_command([command, *named, "--quiet", *options, *plugins], self.name, report)
        if code:
            print_message(f"{self.name}: some trials are missing. Their errors: results.failures()")
        return self.results(storage)

    def _written(self, folder: Path) -> str:
        """Write the sweep as a file, and return its path."""
        path = folder / f"{self.name}.yaml"
        path.write_text(self.definition.dump(), encoding="utf-8")
        return str(path)

    def _open(self, storage: Place) -> Store:
        store = open_store(os.fspath(storage))
        refuse_namesake(self.definition, store)
        return store


def load_sweep(
    source: Place | Mapping[str, Any], overrides: Mapping[str, Any] | None = None, plugins: Iterable[str] = ()
) -> LoadedSweep:
    """Read and validate a sweep with all its trials.

    Args:
        source: Name of a built-in sweep, path of a YAML file, or the content of such a file as a mapping with ``name``.
            In a mapping, a list, tuple, range or NumPy array stands for each of its values.
        overrides: Values by dotted path of a field, such as ``{"recipe.epochs": 5, "seed": [0, 1]}``.
        plugins: Modules with your own methods, imported first. Workers import them too.

    Raises:
        UsageError: The sweep or one of its trials is invalid, or a plug-in cannot be imported.
    """
    modules = tuple(load_plugins(list(plugins)))
    changed = [f"{path}={json.dumps(to_plain(value, path))}" for path, value in (overrides or {}).items()]
    with errors_in_sweeps():
        if not isinstance(source, Mapping):
            name = os.fspath(source)
            arguments = (name, *(text for change in changed for text in ("--set", change)))
            return LoadedSweep(read_sweep(name, changed), arguments, modules)
        content = to_plain(source)
        if not isinstance(content.get("name"), str):
            raise UsageError("name: a sweep written in Python needs one. Add it, e.g. name: my-sweep")
        text = plain_yaml.dump(content)
        return LoadedSweep(checked(parse_sweep(text, content["name"], changed)), (), modules)


def _options(
    storage: Place, address: str, data: Place | None, trackers: Iterable[str], fail_fast: bool, take_over: bool
) -> list[str]:
    """Return the options of the command."""
    return [
        *("--storage", os.fspath(storage), "--address", address),
        *(() if data is None else ("--data", os.fspath(data))),
        *(text for tracker in trackers for text in ("--track", tracker)),
        *(["--fail-fast"] if fail_fast else []),
        *(["--take-over"] if take_over else []),
    ]


def _progress(sweep: Sweep, store: Store) -> dict[str, Any]:
    """Return the status with the expected number of trials."""
    facts = sweep_status(sweep, store)
    return facts if sweep.search is None else {**facts, "trials": max(facts["trials"], sweep.search.trials)}
