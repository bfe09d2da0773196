"""``import sparsweep``: sweeps, results and single trainings from Python."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import sparsweep
from sparsweep.trainables.sparsifiers.snip import SNIP
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.api import driver
from sparsweep.tuner.api.plain_values import to_plain
from sparsweep.tuner.config.sweep import Sweep, parse_sweep

SHORT = {"dataset": "digits", "model": "resnet8", "recipe": {"preset": "digits", "epochs": 1}, "data_ratio": 0.1}


def own(**changes: Any) -> dict[str, Any]:
    """Return a sweep of dense and SNIP as a mapping."""
    grids = [{"sparsifier": "dense"}, {"sparsifier": "snip", "sparsity": 0.5}]
    return {"name": "own", "base": SHORT, "grids": grids, **changes}


# Import --------------------------------------------------------------------------------------------------------------


def test_import_loads_nothing_heavy() -> None:
    heavy = ("torch", "ray", "pandas", "pyarrow", "pydantic", "numpy")
    code = f"import sys, sparsweep; dir(sparsweep); print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    for name in sparsweep.__all__:
        assert getattr(sparsweep, name).__doc__
    assert sparsweep.__version__ == sys.modules["importlib.metadata"].version("sparsweep")
    assert set(sparsweep.__all__) < set(dir(sparsweep))


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'launch'\. It has: LoadedSweep, SweepResults"):
        sparsweep.launch  # noqa: B018


# Sweeps --------------------------------------------------------------------------------------------------------------


def test_python_values_become_plain_values() -> None:
    given = {"a": range(2), "b": (1, "x"), "c": np.arange(0.1, 0.35, 0.1), "d": np.float64(0.5), "e": iter([None])}
    assert to_plain(given) == {"a": [0, 1], "b": [1, "x"], "c": [0.1, 0.2, 0.3], "d": 0.5, "e": [None]}
    assert to_plain({"sparsifier": SNIP()})["sparsifier"]["name"] == "snip"


def test_other_values_are_refused() -> None:
    with pytest.raises(sparsweep.UsageError, match=r"base\.model: must be a mapping, .* \(got <object"):
        to_plain({"base": {"model": object()}})


def test_mapping_is_the_sweep_of_the_same_file() -> None:
    python = sparsweep.load_sweep(own(grids=[{"sparsifier": "snip", "sparsity": np.arange(0.1, 0.95, 0.1)}]))
    text = "name: own\nbase: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}\n"
    file = parse_sweep(text + "grids: [{sparsifier: snip, sparsity: {from: 0.1, to: 0.9, step: 0.1}}]", "own")
    assert python.specs == dict(file.trials)
    assert len(python.specs) == 9
    assert repr(python) == "LoadedSweep('own', 9 trials)"


def test_built_in_sweep_with_overrides() -> None:
    sweep = sparsweep.load_sweep("smoke", {"recipe.epochs": 3, "seed": range(2)})
    assert {(spec.recipe.epochs, spec.seed) for spec in sweep.specs.values()} == {(3, 0), (3, 1)}
    assert sweep.arguments == ("smoke", "--set", "recipe.epochs=3", "--set", "seed=[0, 1]")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("smok", "unknown sweep 'smok' (did you mean smoke?)"),
        ({"grids": []}, "name: a sweep written in Python needs one"),
        ({"name": "own", "grids": [{**SHORT, "sparsifier": "snap"}]}, "grids.0: sparsifier: unknown sparsifier 'snap'"),
        ({"name": "own", "base": SHORT}, "own: grids: needs either grids"),
    ],
)
def test_invalid_sweeps_are_one_line(source: Any, reason: str) -> None:
    with pytest.raises(sparsweep.UsageError, match=re.escape(reason)) as error:
        sparsweep.load_sweep(source)
    assert "\n" not in str(error.value)


def test_missing_plugin_is_one_line() -> None:
    with pytest.raises(sparsweep.UsageError, match="--plugin no_such_module"):
        sparsweep.load_sweep("smoke", plugins=["no_such_module"])


def test_plan_and_status_before_a_run(tmp_path: Path) -> None:
    sweep = sparsweep.load_sweep(own())
    assert sweep.plan(tmp_path)["missing"] == 2
    assert sweep.status(tmp_path)["pending"] == 2
    assert sweep.results(tmp_path).trials().empty
    with pytest.raises(sparsweep.UsageError, match="own: no trial has finished in"):
        sweep.results(tmp_path).figures()


# Results -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sweep() -> Sweep:
    return sparsweep.load_sweep(own(base={**SHORT, "seed": [0, 1]})).definition


@pytest.fixture
def results(sweep: Sweep, run_here: Callable[..., list[str]], tmp_path: Path) -> sparsweep.SweepResults:
    run_here(sweep)
    return sparsweep.SweepResults(sweep, Store(str(tmp_path)))


def test_results_are_tables_figures_and_verdicts(results: sparsweep.SweepResults, sweep: Sweep) -> None:
    trials = results.trials()
    assert set(trials["trial"]) == set(sweep.trials)
    assert list(results.trials(["trial", "sparsity"])) == ["trial", "sparsity"]
    for frame in (results.epochs(), results.layers(), results.outcomes()):
        assert set(frame["trial"]) == set(trials["trial"])
    assert (results.planned()["state"] == "done").all()
    assert results.shifts().empty and results.failures().empty
    figures = results.figures(["accuracy_vs_sparsity"], methods=["snip"])
    assert list(figures) == ["accuracy_vs_sparsity"]
    assert figures["accuracy_vs_sparsity"]._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]
    claims = results.claims()
    assert {"claim", "statement", "verdict", "effect", "interval", "n"} <= set(claims)
    assert b"<html" in Path(results.report()).read_bytes()
    assert repr(results).startswith("SweepResults('own', 4 of 4 trials")
    with pytest.raises(sparsweep.UsageError, match="unknown figure 'pie'"):
        results.figures(["pie"])


# The command as a child process --------------------------------------------------------------------------------------


def fake_command(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Replace the command by a Python program."""
    monkeypatch.setattr(driver, "COMMAND", (sys.executable, "-c", code))


def test_error_of_the_command_is_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_command(monkeypatch, "import sys; print('sparsweep: --data X: no folder. Create it.'); sys.exit(2)")
    with pytest.raises(sparsweep.UsageError, match=r"^--data X: no folder. Create it.$"):
        sparsweep.load_sweep(own()).run(tmp_path, progress=False)


def test_missing_trials_are_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(monkeypatch, "import sys; print(' '.join(sys.argv[1:])); sys.exit(1)")
    results = sparsweep.load_sweep(own()).resume(tmp_path, data="images", trackers=["wandb"], fail_fast=True)
    output, messages = capsys.readouterr()
    arguments = f"--quiet --storage {tmp_path} --address local --data images --track wandb --fail-fast"
    assert re.search(rf"resume \S+/own\.yaml {arguments}", output)
    assert "own: some trials are missing. Their errors: results.failures()" in messages
    assert "own:   0%" in messages  # the progress bar
    assert results.trials().empty


@pytest.fixture
def default_interrupt() -> Iterator[None]:
    """Handle SIGINT as Python does by default: Ray replaces the handler of a process that it ran in."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before or signal.default_int_handler)  # None: a handler that is not Python's


@pytest.mark.usefixtures("default_interrupt")
def test_interrupt_stops_the_command_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ready, stopped = tmp_path / "ready", tmp_path / "stopped"
    code = (
        "import pathlib, time\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "try:\n    time.sleep(60)\n"
        f"except KeyboardInterrupt:\n    pathlib.Path({str(stopped)!r}).touch()\n"
    )
    fake_command(monkeypatch, code)

    def interrupt() -> None:
        while not ready.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        sparsweep.load_sweep(own()).run(tmp_path / "runs")
    assert stopped.exists()


# One trial in this process -------------------------------------------------------------------------------------------


def test_trained_trial_has_the_bits_of_the_sweep(results: sparsweep.SweepResults, sweep: Sweep) -> None:
    threads = torch.get_num_threads()
    spec = next(spec for spec in sweep.trials.values() if spec.sparsifier.name == "snip")
    trained = sparsweep.train(spec, threads=threads)
    stored = results.trials().set_index("trial").loc[spec.id]
    assert trained.row["test_accuracy"] == stored["test_accuracy"]
    assert trained.row["train_flops"] == stored["train_flops"]
    assert list(trained.epochs["train_loss"]) == list(results.epochs().query("trial == @spec.id")["train_loss"])
    assert len(trained.layers) == len(results.layers().query("trial == @spec.id"))
    images = torch.zeros(2, 1, 8, 8)
    assert trained.network(images).shape == (2, 10)
    assert repr(trained).startswith("TrainedTrial(snip 0.5 on digits/resnet8 none 0.1 seed 0, test accuracy 0.")
    assert torch.get_num_threads() == threads


def test_trained_trial_can_be_kept(tmp_path: Path) -> None:
    trained = sparsweep.train({**SHORT, "sparsifier": "snip", "sparsity": 0.5}, tmp_path)
    kept = sparsweep.load_trials(tmp_path)
    assert list(kept["trial"]) == [trained.spec.id]
    again = sparsweep.train(trained.spec, tmp_path)  # nothing is trained twice
    pd.testing.assert_series_equal(again.row, trained.row)


def test_invalid_trial_is_one_line() -> None:
    with pytest.raises(sparsweep.UsageError, match=r"^sparsifier: unknown sparsifier 'snap'"):
        sparsweep.train({**SHORT, "sparsifier": "snap"})


def test_errors_of_a_method_reach_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("in the method")

    monkeypatch.setattr(SNIP, "initialize", fail)
    with pytest.raises(ZeroDivisionError, match="in the method"):
        sparsweep.train({**SHORT, "sparsifier": "snip", "sparsity": 0.5})
