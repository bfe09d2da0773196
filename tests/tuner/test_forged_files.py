"""A file whose content does not match its name is reported, removed and created again. No wrong result is recorded."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sparsweep.trainables.pipeline.device_data import to_device_data
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import open_run, output_paths
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage import image_file, tensor_file
from sparsweep.trainables.storage.artifacts import ArtifactLost
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.planning.graph import build_graph, closure, compute_state
from sparsweep.tuner.planning.repair import remove_damaged_results
from support import former_files
from support.cli import assert_same_results

SWEEP = parse_sweep(
    """
base:
  dataset: digits
  model: {name: resnet8, width: 0.25}
  recipe: {preset: digits, epochs: 3}
  data_ratio: 0.1
  sparsity: 0.5
  seed: [0, 1]
grids:
  - {sparsifier: {name: set, update_every: 1}, difficulty: {name: el2n, runs: 2, epoch: 2}}
  - {sparsifier: {name: lth, rewind_to: 1}}
  - {sparsifier: omp, difficulty: {name: corruption, severity: [1, 2]}}
""",
    "mine",
)
GRAPH = build_graph(SWEEP.trials)


def run_id(prefix: str, number: int = 0) -> str:
    """Return the id of the run with index ``number`` among those whose description starts with ``beginning``."""
    return [run for run, spec in GRAPH.runs.items() if str(spec).startswith(prefix)][number]


def inputs(spec: RunSpec) -> RunInputs:
    images = spec.dataset_spec.load()
    device = torch.device("cpu")
    return RunInputs(
        lambda: images, lambda trial: to_device_data(images, trial.model.channels, trial.model.min_size, device)
    )


def resume(store: Store) -> list[str]:
    """Run the missing runs sequentially. Return the error messages of runs with lost artifacts."""
    remove_damaged_results(GRAPH.runs, store)
    todo, messages = compute_state(GRAPH, store).todo, []
    for run in [run for run in GRAPH.runs if run in todo]:
        try:
            assert (
                open_run(GRAPH.runs[run], inputs(GRAPH.runs[run]), store, SWEEP.name).run_for(float("inf")).is_finished
            )
        except ArtifactLost as error:
            messages.append(str(error))
    return messages


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Storage of the finished, undamaged sweep."""
    store = Store(str(tmp_path_factory.mktemp("intact")))
    assert resume(store) == []
    return store


@pytest.fixture(scope="module")
def started(intact: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Storage with checkpoints of all training runs after their first epoch."""
    store = Store(str(tmp_path_factory.mktemp("started")))
    shutil.copytree(Path(intact.root, "artifacts"), Path(store.root, "artifacts"))
    for spec in GRAPH.runs.values():
        if spec.num_epochs > 1:
            for path in output_paths(spec, store):
                store.delete(path)
            open_run(spec, inputs(spec), store, SWEEP.name).run_for(0)
            shutil.copytree(Path(intact.root, "artifacts"), Path(store.root, "artifacts"), dirs_exist_ok=True)
    return store


@dataclass
class DamagedStorage:
    """A storage to damage, and one with a checkpoint of every run."""

    store: Store
    started: Store

    def path(self, kind: str, run: str) -> Path:
        suffix = {"weights": ".pt", "scores": "-el2n.parquet", "corrupted": ".images"}[kind]
        return Path(self.store.root, "artifacts", kind, run + suffix)

    def checkpoint(self, run: str) -> Any:
        return self.started.read_checkpoint(run)

    def forget(self, run: str) -> None:
        """Delete the results and outputs of ``run`` and of all runs that depend on it."""
        for other, spec in GRAPH.runs.items():
            if run in closure(GRAPH, [other]):
                for path in (*output_paths(spec, self.store), *(self.store.result_path(t, other) for t in TABLES)):
                    self.store.delete(path)


TABLES = ("trials", "epochs", "layers")
Damage = Callable[[DamagedStorage], str]
"""Function that damages a storage and returns a part of the expected message."""


@pytest.fixture
def damaged(intact: Store, started: Store, tmp_path: Path) -> DamagedStorage:
    shutil.copytree(intact.root, tmp_path / "runs")
    return DamagedStorage(Store(str(tmp_path / "runs")), started)


SET, OMP, SCORING = run_id("set"), run_id("omp"), run_id("el2n")


def checkpoint_of(run: str, other: str) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        damaged.forget(run)
        damaged.store.write(f"checkpoints/{run}.pt", damaged.started.read(f"checkpoints/{other}.pt") or b"")
        return f"it belongs to another run, {other}"

    return damage


def checkpoint_with(change: Callable[[Any], Any], message: str, run: str = SET) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        damaged.forget(run)
        damaged.store.write_checkpoint(run, {})
        value = change(damaged.checkpoint(run))
        Path(damaged.store.root, f"checkpoints/{run}.pt").write_bytes(former_files.dumps(value, run))
        return message

    return damage


def training_with(**parts: Any) -> Callable[[Any], Any]:
    """Return a change of training fields. Each field is given as a value or as a function of the old value."""

    def change(state: Any) -> Any:
        new = {name: part(state["training"][name]) if callable(part) else part for name, part in parts.items()}
        return {**state, "training": {**state["training"], **new}}

    return change


def all_tensors(change: Callable[[torch.Tensor], Any]) -> Callable[[Mapping[str, torch.Tensor]], dict[str, Any]]:
    return lambda tensors: {name: change(value) for name, value in tensors.items()}


def nan(value: torch.Tensor) -> torch.Tensor:
    return value * float("nan") if value.is_floating_point() else value


def without(name: str) -> Callable[[Any], Any]:
    return lambda parts: {key: value for key, value in parts.items() if key != name}


CHECKPOINTS: dict[str, Damage] = {
    "another seed": checkpoint_of(SET, run_id("set", 1)),
    "another difficulty": checkpoint_of(OMP, run_id("omp", 1)),
    "a list": checkpoint_with(lambda state: [1, 2, 3], "it has an unexpected structure"),
    "a list within": checkpoint_with(
        lambda state: {**state, "training": [1]}, "the training has an unexpected structure"
    ),
    "no seconds": checkpoint_with(without("seconds"), "it has an unexpected structure"),
    "text for seconds": checkpoint_with(lambda state: {**state, "seconds": "2"}, "seconds is not a finite float"),
    "no masks": checkpoint_with(
        training_with(topology=without("masks")), "training.topology has an unexpected structure"
    ),
    "no model": checkpoint_with(lambda state: {**state, "training": without("model")(state["training"])}, "training"),
    "NaN": checkpoint_with(training_with(model=all_tensors(nan)), "is not finite"),
    "other shape": checkpoint_with(
        training_with(model=all_tensors(torch.flatten)), "is float32 [1], not float32 [1, 1, 1, 1]"
    ),
    "other type": checkpoint_with(training_with(model=all_tensors(torch.Tensor.half)), "is float16"),
    "sparse": checkpoint_with(training_with(model=all_tensors(torch.Tensor.to_sparse)), "training.model."),
    "no data": checkpoint_with(training_with(model=all_tensors(lambda value: value.to("meta"))), "training.model."),
    "no optimizer": checkpoint_with(training_with(optimizer=[]), "the training has an unexpected structure"),
    "text": checkpoint_with(training_with(train_flops="many"), "training.train_flops is not a finite float"),
    "at its end": checkpoint_with(training_with(epoch=3, history=lambda history: history * 3), "training.history"),
    "no history": checkpoint_with(training_with(history=[]), "training.history"),
    "other epoch": checkpoint_with(training_with(epoch=2), "training.epoch is not the last epoch of training.history"),
    "dense": checkpoint_with(
        training_with(topology=lambda parts: {"masks": all_tensors(torch.ones_like)(parts["masks"])}), "masks before"
    ),
    "scoring without a model": checkpoint_with(
        training_with(model={}), "training.model has an unexpected structure", run=SCORING
    ),
    "scores of text": checkpoint_with(lambda state: {**state, "scores": "el2n"}, "its scores", run=SCORING),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_invalid_checkpoint_restarts_the_run(
    damaged: DamagedStorage, intact: Store, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    message = CHECKPOINTS[kind](damaged)
    with caplog.at_level(logging.WARNING):
        assert resume(damaged.store) == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert message in line and "The run starts again" in line and "\n" not in line
    assert_equal_to(damaged.store, intact)


def test_run_continues_from_its_own_checkpoint(
    damaged: DamagedStorage, intact: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Valid checkpoints are accepted, also from earlier versions without a run id. So the test above can fail."""
    for run, spec in GRAPH.runs.items():
        if spec.num_epochs > 1:
            damaged.forget(run)
    for number, path in enumerate(sorted(Path(damaged.started.root, "checkpoints").iterdir())):
        state = damaged.checkpoint(path.stem)
        content = path.read_bytes() if number % 2 else former_files.dumps(state)
        damaged.store.write(f"checkpoints/{path.name}", content)
        assert len(state["training"]["history"]) == 1
    assert len(damaged.store.checkpoints()) > 10
    assert resume(damaged.store) == [] and caplog.records == []
    assert_equal_to(damaged.store, intact)


def assert_equal_to(store: Store, intact: Store) -> None:
    """Assert that results and artifacts equal those of the undamaged sweep and that no run is left to do."""
    assert_same_results(Path(store.root), Path(intact.root))
    assert store.artifact_paths() == intact.artifact_paths()
    for path in intact.artifact_paths():
        if "/weights/" not in path:  # weight files also hold the training time, which differs
            assert store.read(path) == intact.read(path), path
    for run in intact.artifacts("weights"):
        actual, expected = store.read_weights(run), intact.read_weights(run)
        assert all(torch.equal(actual["model"][name], value) for name, value in expected["model"].items())
    assert store.checkpoints() == set() and compute_state(GRAPH, store).todo == set()


DENSE, OTHER_DENSE = run_id("dense on digits/resnet8 corruption"), run_id("dense on digits/resnet8 corruption", 1)


def weights_with(change: Callable[[Any], Any], message: str, run: str = DENSE, child: str = OMP) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        damaged.forget(child)
        path = damaged.path("weights", run)
        path.write_bytes(former_files.dumps(change(tensor_file.loads(path.read_bytes())), run))
        return message

    return damage


def weights_of(run: str, other: str, child: str) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        damaged.forget(child)
        shutil.copy(damaged.path("weights", other), damaged.path("weights", run))
        return f"it belongs to another run, {other}"

    return damage


def model(change: Callable[[torch.Tensor], Any]) -> Callable[[Any], Any]:
    return lambda weights: {**weights, "model": all_tensors(change)(weights["model"])}


SNAPSHOT, LTH = run_id("weights of"), run_id("lth")
WEIGHTS: dict[str, Damage] = {
    "another seed": weights_of(DENSE, OTHER_DENSE, OMP),
    "a snapshot of another seed": weights_of(SNAPSHOT, run_id("weights of", 1), LTH),
    "NaN": weights_with(model(nan), "is not finite"),
    "NaN in a snapshot": weights_with(model(nan), "is not finite", SNAPSHOT, LTH),
    "one value": weights_with(model(torch.zeros_like), "all values of weights.model are equal"),
    "other shape": weights_with(model(torch.flatten), "is float32 [1], not float32 [1, 1, 1, 1]"),
    "a list": weights_with(lambda weights: [weights], "weights has an unexpected structure"),
    "no model": weights_with(without("model"), "weights has an unexpected structure"),
    "no lineage": weights_with(without("lineage"), "weights has an unexpected structure"),
    "a text for the model": weights_with(
        lambda weights: {**weights, "model": "dense"}, "weights.model has an unexpected structure"
    ),
    "a text for the cost": weights_with(lambda weights: {**weights, "train_flops": "dear"}, "weights.train_flops"),
    "a text in the lineage": weights_with(lambda weights: {**weights, "lineage": {"a": "b"}}, "weights.lineage.a"),
}


def table_with(change: Callable[[pa.Table], pa.Table], message: str) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        damaged.forget(SET)
        path = damaged.path("scores", SCORING)
        pq.write_table(change(pq.read_table(path)), path)
        return message

    return damage


def column(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[pa.Table], pa.Table]:
    def edit(table: pa.Table) -> pa.Table:
        values = pa.array(change(table[name].to_numpy().copy()))
        return table.set_column(table.column_names.index(name), name, values)

    return edit


def scores_of(other: str) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        damaged.forget(SET)
        shutil.copy(damaged.path("scores", other), damaged.path("scores", SCORING))
        return f"it belongs to another run, {other}"

    return damage


def with_one_nan(values: np.ndarray) -> np.ndarray:
    values[3] = np.nan
    return values


SCORES: dict[str, Damage] = {
    "another run": scores_of(run_id("el2n", 1)),
    "fewer samples": table_with(
        lambda table: table.slice(0, 1000), "one score per sample (got 1000 scores for 1437 samples)"
    ),
    "none": table_with(lambda table: table.slice(0, 0), "0 scores"),
    "a sample twice": table_with(column("sample", lambda values: values // 2), "one score per sample"),
    "NaN": table_with(column("score", with_one_nan), "1 of 1437 scores are not finite"),
    "null": table_with(column("score", lambda values: [None, *values[1:]]), "not finite"),
    "infinite": table_with(column("score", lambda values: values / 0.0), "scores are not finite"),
    "all equal": table_with(column("score", np.ones_like), "all 1437 scores are equal"),
    "text": table_with(column("score", lambda values: [str(value) for value in values]), "the columns must be"),
    "whole numbers": table_with(column("score", lambda values: values.astype(int)), "the columns must be"),
    "no samples": table_with(lambda table: table.drop_columns(["sample"]), "the columns must be"),
    "other labels": table_with(
        column("label", lambda values: values[::-1].copy()), "its labels differ from those of the data set"
    ),
}


def images_with(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], message: str) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        damaged.forget(DENSE)
        path = damaged.path("corrupted", CORRUPTION)
        images = {split: part.copy() for split, part in image_file.open_mapped(path).items()}
        path.write_bytes(image_file.dumps(change(images), CORRUPTION))
        return message

    return damage


def images_of(damaged: DamagedStorage) -> str:
    damaged.forget(DENSE)
    shutil.copy(damaged.path("corrupted", OTHER_CORRUPTION), damaged.path("corrupted", CORRUPTION))
    return f"it belongs to another run, {OTHER_CORRUPTION}"


def resized(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {split: part.repeat(2, axis=2) for split, part in images.items()}


CORRUPTION, OTHER_CORRUPTION = run_id("digits under"), run_id("digits under", 1)
IMAGES: dict[str, Damage] = {
    "another severity": images_of,
    "another shape": images_with(resized, "its images have shapes"),
    "fewer": images_with(lambda images: {split: part[1:] for split, part in images.items()}, "its images have shapes"),
    "no test images": images_with(without("test"), "its images have shapes"),
}
ARTIFACTS = {
    f"{kind}: {name}": damage
    for kind, damages in {"weights": WEIGHTS, "scores": SCORES, "images": IMAGES}.items()
    for name, damage in damages.items()
}


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_invalid_artifact_is_removed_and_created_again(damaged: DamagedStorage, intact: Store, kind: str) -> None:
    message = ARTIFACTS[kind](damaged)
    lines = resume(damaged.store)
    assert (
        message in lines[0]
        and "were removed. Resume the sweep to create them again." in lines[0]
        and "\n" not in lines[0]
    )
    assert resume(damaged.store) == []
    assert_equal_to(damaged.store, intact)


def test_artifacts_of_earlier_versions_without_run_id_are_accepted(damaged: DamagedStorage, intact: Store) -> None:
    for point in GRAPH.trials:
        damaged.forget(point)
    for path in map(Path, sorted(Path(damaged.store.root, "artifacts").glob("*/*"))):
        if path.suffix == ".pt":
            path.write_bytes(tensor_file.dumps(tensor_file.loads(path.read_bytes())))
        elif path.suffix == ".images":
            path.write_bytes(image_file.dumps(image_file.open_mapped(path)))
        else:
            pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert resume(damaged.store) == []
    assert_same_results(Path(damaged.store.root), Path(intact.root))


def damaged_row(table: str, change: Callable[[bytes], bytes | None]) -> Damage:
    def damage(damaged: DamagedStorage) -> str:
        path = Path(damaged.store.root, damaged.store.result_path(table, OMP))
        content = change(path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        return OMP

    return damage


ROWS = {
    f"{table}: {name}": damaged_row(table, change)
    for table in TABLES
    for name, change in {
        "cut": lambda content: content[:-9],
        "empty": lambda content: b"",
        "altered": lambda content: content[:40] + b"\xff" + content[41:],
        "gone": lambda content: None,
    }.items()
}


@pytest.mark.parametrize("kind", ROWS)
def test_damaged_or_lost_row_is_created_again(damaged: DamagedStorage, intact: Store, kind: str) -> None:
    ROWS[kind](damaged)
    assert resume(damaged.store) == []
    assert_equal_to(damaged.store, intact)


@pytest.mark.parametrize("table", ["epochs", "layers"])
def test_table_with_missing_rows_is_created_again(damaged: DamagedStorage, intact: Store, table: str) -> None:
    path = Path(damaged.store.root, damaged.store.result_path(table, OMP))
    rows = pq.read_table(path)
    pq.write_table(rows.slice(0, len(rows) - 1), path)
    assert resume(damaged.store) == []
    assert_equal_to(damaged.store, intact)
