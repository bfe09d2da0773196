"""A sweep from YAML through Ray Tune to Parquet, run as a user runs it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
import yaml

from sparsweep.trainables.data import ImageData
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.app import main
from sparsweep.tuner.config.sweep import read_sweep
from sparsweep.tuner.planning.graph import build_graph
from support.cli import Call, assert_same_results


def test_smoke_runs_once_and_an_extended_sweep_adds_only_new_trials(sparsweep: Call, tmp_path: Path) -> None:
    first = sparsweep("run", "smoke")
    assert first.returncode == 0, first.stderr
    assert "smoke: 12 trials: 12 done" in first.stdout
    storage = tmp_path / "runs"
    graph = build_graph(read_sweep("smoke").trials)
    log = (storage / "sweeps/smoke/log.txt").read_text()
    # Each dense trial runs once: it is a trial of the sweep and the parent of LTH and OMP. Both data ratios share the
    # two scoring runs.
    for run in graph.runs:
        assert log.count(f"started {run} ") == 1
        assert log.count(f"finished {run} ") == 1
    assert log.count("started") == len(graph.runs) == 14

    trials = pd.read_parquet(storage / "results/trials")
    assert set(trials["trial"]) == set(graph.trials)
    assert (trials["test_accuracy"] == trials["clean_accuracy"]).all()
    assert trials["test_accuracy"].between(0.1, 1).all()
    assert trials["robust_accuracy"].isna().all()
    sparse = trials[trials["sparsifier"] != "dense"]
    assert ((sparse["density"] * 77_072).round() == round(0.2 * 77_072)).all()
    layers = pd.read_parquet(storage / "results/layers")
    assert (layers.groupby("trial")["nonzero"].sum() == (trials.set_index("trial")["density"] * 77_072).round()).all()
    assert not Store(str(storage)).checkpoints()
    weights = Store(str(storage)).read_weights(sparse["trial"].iloc[0])
    assert all(torch.all(weights["model"][name][~mask] == 0) for name, mask in weights["masks"].items())

    before = {path: path.stat().st_mtime_ns for path in storage.glob("results/*/*.parquet")}
    start = time.monotonic()
    rerun = sparsweep("run", "smoke")
    assert rerun.returncode == 0
    assert "runs to do" not in rerun.stderr
    assert time.monotonic() - start < 30  # no run starts, so this takes seconds; the sweep takes half a minute
    assert {path: path.stat().st_mtime_ns for path in before} == before

    wider = tmp_path / "wider.yaml"
    content = yaml.safe_load((storage / "sweeps/smoke/sweep.yaml").read_text())
    content["grids"][1] |= {"sparsifier": ["snip", "lth"], "sparsity": [0.8, 0.9]}
    wider.write_text(yaml.safe_dump({**content, "name": "wider"}))
    facts = json.loads(sparsweep("plan", str(wider), "--json").stdout)
    assert (facts["trials"], facts["done"], facts["missing"]) == (10, 6, 4)
    assert facts["hours"] > 0
    extended = sparsweep("run", str(wider))
    assert extended.returncode == 0, extended.stderr
    log = (storage / "sweeps/wider/log.txt").read_text()
    assert log.count("started") == 4
    assert len(pd.read_parquet(storage / "results/trials")) == 16
    assert {path: path.stat().st_mtime_ns for path in before} == before

    trial = list(graph.trials)[3]
    facts = json.loads(sparsweep("show", trial[:8], "--json").stdout)
    assert facts["results"]["trial"] == trial
    assert all(Path(path).is_file() for path in facts["files"].values())

    figures = sparsweep("figures", "smoke")
    assert figures.returncode == 0, figures.stderr
    for name in ("accuracy_vs_sparsity", "ratio_heatmap"):
        for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".csv", b"")):
            figure = (storage / "figures/smoke" / (name + suffix)).read_bytes()
            assert figure.startswith(magic) and len(figure) > 100


def test_ray_and_a_profiler_do_not_change_results(sparsweep: Call, tmp_path: Path) -> None:
    """A sweep in Ray's workers, with a profiler in one of them, gives the results of a plain loop.

    The plain loop executes the same runs one after the other in this process. All bits must agree.
    """
    sweep = tmp_path / "both.yaml"
    sweep.write_text(
        """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 2}, data_ratio: .3}
grids:
  - sparsifier: dense
  - {sparsifier: [omp, {name: set, update_every: .5}], sparsity: .8, difficulty: {name: el2n, runs: 1, epoch: 1}}
"""
    )
    watched = next(run for run, trial in read_sweep(str(sweep)).trials.items() if trial.sparsifier.name == "set")
    run = sparsweep("run", str(sweep), "--profile-trial", watched[:6])
    assert run.returncode == 0 and re.search(r"^one epoch, \d+ steps", run.stderr, re.M) and "backward" in run.stderr
    assert json.loads((tmp_path / f"runs/profiles/{watched}/trace.json").read_text())["traceEvents"]
    loop_store = Store(str(tmp_path / "loop"))
    for spec in build_graph(read_sweep(str(sweep)).trials).runs.values():
        images = spec.dataset_spec.load()

        def device_data(trial: TrialSpec, images: ImageData = images) -> DeviceData:
            return to_device_data(images, trial.model.channels, trial.model.min_size, torch.device("cpu"))

        inputs = RunInputs(lambda images=images: images, device_data)
        assert open_run(spec, inputs, loop_store, "loop").run_for(float("inf")).is_finished
    assert_same_results(tmp_path / "runs", tmp_path / "loop")


def test_a_failed_trial_blocks_only_its_dependents(sparsweep: Call, tmp_path: Path) -> None:
    """One trial cannot write its weights. Its dependents are blocked, all others finish, and a resume repairs it."""
    sweep = tmp_path / "fails.yaml"
    sweep.write_text(
        """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}, data_ratio: .2}
grids:
  - {sparsifier: dense, seed: [0, 1]}
  - {sparsifier: [lth, snip], sparsity: .5, seed: [0, 1]}
retries: 1
"""
    )
    trials = read_sweep(str(sweep)).trials.values()
    dense = next(trial.id for trial in trials if trial.sparsifier.name == "dense" and trial.seed == 1)
    obstacle = tmp_path / "runs/artifacts/weights" / f"{dense}.pt"
    (obstacle / "full").mkdir(parents=True)

    run = sparsweep("run", str(sweep))
    assert run.returncode == 1, run.stderr
    assert "FAILED" in run.stderr and dense in run.stderr
    assert "4 done, 1 failed, 1 blocked" in run.stdout
    status = sparsweep("status", "fails", "--json")
    facts = json.loads(status.stdout)
    assert [facts[key] for key in ("trials", "done", "running", "failed", "blocked", "pending")] == [6, 4, 0, 1, 1, 0]
    (failure,) = facts["failures"]
    assert (failure["trial"], failure["error"], failure["attempt"]) == (dense, "IsADirectoryError", 2)
    assert facts["blocked_by"][0]["by"] == dense
    assert "IsADirectoryError" in sparsweep("status", "fails").stdout

    assert "Traceback" in sparsweep("show", dense).stdout

    refused = sparsweep("run", str(sweep))
    assert refused.returncode == 1
    assert "sparsweep resume fails" in refused.stderr

    (obstacle / "full").rmdir()
    obstacle.rmdir()
    resumed = sparsweep("resume", "fails")
    assert resumed.returncode == 0, resumed.stderr
    assert "6 trials: 6 done" in resumed.stdout
    assert json.loads(sparsweep("status", "fails", "--json").stdout)["failures"] == []


BAD_CALLS = {
    ("run", "smoek"): "smoek",
    ("run", "smoke", "--set", "sparsifier=sett"): "sett",
    ("run", "smoke", "--set", "dataset=mnist"): "mnist",
    ("run", "smoke", "--set", "model=resnet9"): "resnet9",
    ("run", "smoke", "--set", "difficulty=hard"): "hard",
    ("run", "smoke", "--set", "recipe.epocs=3"): "epocs",
    ("run", "smoke", "--set", "sparsity=1.0"): "1.0",
    ("run", "smoke", "--set", "sparsity=-.1"): "-0.1",
    ("run", "smoke", "--set", "data_ratio=0"): "data_ratio",
    ("run", "smoke", "--set", "nosuch.path=1"): "nosuch",
    ("run", "broken.yaml"): "YAML",
    ("run", "smoke", "--storage", "file"): "file",
    ("run", "smoke", "--storage", "s4://bucket"): "s4",
    ("run", "smoke", "--stoarge", "runs"): "--stoarge",
    ("run",): "SWEEP",
    ("resume", "nosuch"): "nosuch",
    ("figures", "smoke"): "no trial",
    ("show", "0123"): "0123",
    ("list", "colours"): "sparsifiers",
    ("status",): "no sweep",
    ("stauts",): "status",
}


@pytest.mark.parametrize("call", BAD_CALLS, ids=" ".join)
def test_bad_calls_print_one_line_and_write_nothing(
    call: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.yaml").write_text("grids: [")
    (tmp_path / "file").write_text("a file is no folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sparsweep", *call])
    with pytest.raises(SystemExit) as exit_info:
        main()
    output = capfd.readouterr()
    assert exit_info.value.code == 2
    assert output.out == ""
    assert len(output.err.splitlines()) == 1, output.err
    assert BAD_CALLS[call] in output.err
    assert {path.name for path in tmp_path.iterdir()} == {"broken.yaml", "file"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--address", "127.0.0.1:9"), "--address 127.0.0.1:9: no Ray cluster found"),
        (("--address", "auto"), "--address auto: "),
        (("--set", "resources.cpus=9999"), "resources: a trial needs more than this node has (got {'cpu': 9999.0}"),
    ],
)
def test_an_unsuitable_cluster_is_a_usage_error(
    arguments: tuple[str, ...], named: str, sparsweep: Call, tmp_path: Path
) -> None:
    if "auto" in arguments and any(process.name() == "raylet" for process in psutil.process_iter()):
        pytest.skip("a Ray cluster runs on this machine, and auto finds it")
    process = sparsweep("run", "smoke", *arguments)
    assert process.returncode == 2, process.stderr
    assert f"sparsweep: {named}" in process.stderr.replace("smoke: ", "")
    assert not Store(str(tmp_path / "runs")).finished()


def test_a_bad_call_exits_with_code_2(sparsweep: Call) -> None:
    process = sparsweep("run", "smoke", "--set", "recipe.epochs=0")
    assert process.returncode == 2
    assert (
        process.stderr
        == "sparsweep: smoke: grids.0: recipe.epochs: Input should be greater than or equal to 1 (got 0)\n"
    )
