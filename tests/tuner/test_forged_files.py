"""A file that is not what its name says is said, removed and made again: no wrong result is recorded."""

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
from sparsweep.trainables.storage.store import ArtifactLost, Store
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


def named(beginning: str, number: int = 0) -> str:
    """The id of the run, of those that are called so in their order, with that ``number``."""
    return [run for run, spec in GRAPH.runs.items() if str(spec).startswith(beginning)][number]


def inputs(spec: RunSpec) -> RunInputs:
    images = spec.dataset_spec.load()
    device = torch.device("cpu")
    return RunInputs(
        lambda: images, lambda trial: to_device_data(images, trial.model.channels, trial.model.min_size, device)
    )


def resume(store: Store) -> list[str]:
    """Make what is missing, one run after the other; what runs said that miss something."""
    remove_damaged_results(GRAPH.runs, store)
    todo, said = compute_state(GRAPH, store).todo, []
    for run in [run for run in GRAPH.runs if run in todo]:
        try:
            assert (
                open_run(GRAPH.runs[run], inputs(GRAPH.runs[run]), store, SWEEP.name).run_for(float("inf")).is_finished
            )
        except ArtifactLost as error:
            said.append(str(error))
    return said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The sweep, which nothing happened to."""
    store = Store(str(tmp_path_factory.mktemp("whole")))
    assert resume(store) == []
    return store


@pytest.fixture(scope="module")
def begun(whole: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Checkpoints of all runs that train, after their first epoch."""
    store = Store(str(tmp_path_factory.mktemp("begun")))
    shutil.copytree(Path(whole.root, "artifacts"), Path(store.root, "artifacts"))
    for spec in GRAPH.runs.values():
        if spec.num_epochs > 1:
            for path in output_paths(spec, store):
                store.delete(path)
            open_run(spec, inputs(spec), store, SWEEP.name).run_for(0)
            shutil.copytree(Path(whole.root, "artifacts"), Path(store.root, "artifacts"), dirs_exist_ok=True)
    return store


@dataclass
class Ground:
    """A storage to spoil, and one with a checkpoint of every run."""

    store: Store
    begun: Store

    def path(self, kind: str, run: str) -> Path:
        suffix = {"weights": ".pt", "scores": "-el2n.parquet", "corrupted": ".images"}[kind]
        return Path(self.store.root, "artifacts", kind, run + suffix)

    def checkpoint(self, run: str) -> Any:
        return self.begun.read_checkpoint(run)

    def forget(self, run: str) -> None:
        """Lose what ``run`` and all that need it have left."""
        for other, spec in GRAPH.runs.items():
            if run in closure(GRAPH, [other]):
                for path in (*output_paths(spec, self.store), *(self.store.result_path(t, other) for t in TABLES)):
                    self.store.delete(path)


TABLES = ("trials", "epochs", "layers")
Forgery = Callable[[Ground], str]
"""Spoils a storage; returns a part of what is said of it."""


@pytest.fixture
def ground(whole: Store, begun: Store, tmp_path: Path) -> Ground:
    shutil.copytree(whole.root, tmp_path / "runs")
    return Ground(Store(str(tmp_path / "runs")), begun)


SET, OMP, SCORING = named("set"), named("omp"), named("el2n")


def checkpoint_of(run: str, other: str) -> Forgery:
    def forge(ground: Ground) -> str:
        ground.forget(run)
        ground.store.write(f"checkpoints/{run}.pt", ground.begun.read(f"checkpoints/{other}.pt") or b"")
        return f"it belongs to another run, {other}"

    return forge


def checkpoint_with(change: Callable[[Any], Any], said: str, run: str = SET) -> Forgery:
    def forge(ground: Ground) -> str:
        ground.forget(run)
        ground.store.write_checkpoint(run, {})
        value = change(ground.checkpoint(run))
        Path(ground.store.root, f"checkpoints/{run}.pt").write_bytes(former_files.dumps(value, run))
        return said

    return forge


def training_with(**parts: Any) -> Callable[[Any], Any]:
    """A change of parts of the training, each given as a value or as a function of what was there."""

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


CHECKPOINTS: dict[str, Forgery] = {
    "another seed": checkpoint_of(SET, named("set", 1)),
    "another difficulty": checkpoint_of(OMP, named("omp", 1)),
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
    "at its end": checkpoint_with(training_with(epoch=3, history=lambda past: past * 3), "training.history"),
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
def test_a_run_starts_again_from_a_checkpoint_that_is_not_its_own(
    ground: Ground, whole: Store, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    said = CHECKPOINTS[kind](ground)
    with caplog.at_level(logging.WARNING):
        assert resume(ground.store) == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert said in line and "The run starts again" in line and "\n" not in line
    assert_the_same(ground.store, whole)


def test_a_run_goes_on_from_its_own_checkpoint(
    ground: Ground, whole: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the test above can fail; also from those of earlier versions, which name no run."""
    for run, spec in GRAPH.runs.items():
        if spec.num_epochs > 1:
            ground.forget(run)
    for number, path in enumerate(sorted(Path(ground.begun.root, "checkpoints").iterdir())):
        state = ground.checkpoint(path.stem)
        content = path.read_bytes() if number % 2 else former_files.dumps(state)
        ground.store.write(f"checkpoints/{path.name}", content)
        assert len(state["training"]["history"]) == 1
    begun = ground.store.checkpoints()
    assert len(begun) > 10
    assert resume(ground.store) == [] and caplog.records == []
    assert_the_same(ground.store, whole)


def assert_the_same(store: Store, whole: Store) -> None:
    """All results and artifacts are those of the sweep that nothing happened to; nothing is left to do."""
    assert_same_results(Path(store.root), Path(whole.root))
    assert store.artifact_paths() == whole.artifact_paths()
    for path in whole.artifact_paths():
        if "/weights/" not in path:  # they also hold the time that training took: none of it is a result
            assert store.read(path) == whole.read(path), path
    for run in whole.artifacts("weights"):
        mine, theirs = store.read_weights(run), whole.read_weights(run)
        assert all(torch.equal(mine["model"][name], value) for name, value in theirs["model"].items())
    assert store.checkpoints() == set() and compute_state(GRAPH, store).todo == set()


DENSE, OTHER_DENSE = named("dense on digits/resnet8 corruption"), named("dense on digits/resnet8 corruption", 1)


def weights_with(change: Callable[[Any], Any], said: str, run: str = DENSE, child: str = OMP) -> Forgery:
    def forge(ground: Ground) -> str:
        ground.forget(child)
        path = ground.path("weights", run)
        path.write_bytes(former_files.dumps(change(tensor_file.loads(path.read_bytes())), run))
        return said

    return forge


def weights_of(run: str, other: str, child: str) -> Forgery:
    def forge(ground: Ground) -> str:
        ground.forget(child)
        shutil.copy(ground.path("weights", other), ground.path("weights", run))
        return f"it belongs to another run, {other}"

    return forge


def model(change: Callable[[torch.Tensor], Any]) -> Callable[[Any], Any]:
    return lambda left: {**left, "model": all_tensors(change)(left["model"])}


SNAPSHOT, LTH = named("weights of"), named("lth")
WEIGHTS: dict[str, Forgery] = {
    "another seed": weights_of(DENSE, OTHER_DENSE, OMP),
    "a snapshot of another seed": weights_of(SNAPSHOT, named("weights of", 1), LTH),
    "NaN": weights_with(model(nan), "is not finite"),
    "NaN in a snapshot": weights_with(model(nan), "is not finite", SNAPSHOT, LTH),
    "one value": weights_with(model(torch.zeros_like), "all values of weights.model are equal"),
    "other shape": weights_with(model(torch.flatten), "is float32 [1], not float32 [1, 1, 1, 1]"),
    "a list": weights_with(lambda left: [left], "weights has an unexpected structure"),
    "no model": weights_with(without("model"), "weights has an unexpected structure"),
    "no lineage": weights_with(without("lineage"), "weights has an unexpected structure"),
    "a text for the model": weights_with(
        lambda left: {**left, "model": "dense"}, "weights.model has an unexpected structure"
    ),
    "a text for the cost": weights_with(lambda left: {**left, "train_flops": "dear"}, "weights.train_flops"),
    "a text in the lineage": weights_with(lambda left: {**left, "lineage": {"a": "b"}}, "weights.lineage.a"),
}


def table_with(change: Callable[[pa.Table], pa.Table], said: str) -> Forgery:
    def forge(ground: Ground) -> str:
        ground.forget(SET)
        path = ground.path("scores", SCORING)
        pq.write_table(change(pq.read_table(path)), path)
        return said

    return forge


def column(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[pa.Table], pa.Table]:
    def edit(table: pa.Table) -> pa.Table:
        values = pa.array(change(table[name].to_numpy().copy()))
        return table.set_column(table.column_names.index(name), name, values)

    return edit


def scores_of(other: str) -> Forgery:
    def forge(ground: Ground) -> str:
        ground.forget(SET)
        shutil.copy(ground.path("scores", other), ground.path("scores", SCORING))
        return f"it belongs to another run, {other}"

    return forge


def some_nan(values: np.ndarray) -> np.ndarray:
    values[3] = np.nan
    return values


SCORES: dict[str, Forgery] = {
    "another run": scores_of(named("el2n", 1)),
    "fewer samples": table_with(
        lambda table: table.slice(0, 1000), "one score per sample (got 1000 scores for 1437 samples)"
    ),
    "none": table_with(lambda table: table.slice(0, 0), "0 scores"),
    "a sample twice": table_with(column("sample", lambda values: values // 2), "one score per sample"),
    "NaN": table_with(column("score", some_nan), "1 of 1437 scores are not finite"),
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


def images_with(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], said: str) -> Forgery:
    def forge(ground: Ground) -> str:
        ground.forget(DENSE)
        path = ground.path("corrupted", CORRUPTION)
        images = {split: part.copy() for split, part in image_file.open_mapped(path).items()}
        path.write_bytes(image_file.dumps(change(images), CORRUPTION))
        return said

    return forge


def images_of(ground: Ground) -> str:
    ground.forget(DENSE)
    shutil.copy(ground.path("corrupted", OTHER_CORRUPTION), ground.path("corrupted", CORRUPTION))
    return f"it belongs to another run, {OTHER_CORRUPTION}"


def resized(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {split: part.repeat(2, axis=2) for split, part in images.items()}


CORRUPTION, OTHER_CORRUPTION = named("digits under"), named("digits under", 1)
IMAGES: dict[str, Forgery] = {
    "another severity": images_of,
    "another shape": images_with(resized, "its images have shapes"),
    "fewer": images_with(lambda images: {split: part[1:] for split, part in images.items()}, "its images have shapes"),
    "no test images": images_with(without("test"), "its images have shapes"),
}
ARTIFACTS = {
    f"{kind}: {name}": forge
    for kind, forgeries in {"weights": WEIGHTS, "scores": SCORES, "images": IMAGES}.items()
    for name, forge in forgeries.items()
}


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_an_artifact_that_is_not_its_own_is_removed_and_made_again(ground: Ground, whole: Store, kind: str) -> None:
    said = ARTIFACTS[kind](ground)
    lines = resume(ground.store)
    assert (
        said in lines[0] and "were removed. Resume the sweep to create them again." in lines[0] and "\n" not in lines[0]
    )
    assert resume(ground.store) == []
    assert_the_same(ground.store, whole)


def test_artifacts_of_earlier_versions_name_no_run_and_are_taken(ground: Ground, whole: Store) -> None:
    for point in GRAPH.trials:
        ground.forget(point)
    for path in map(Path, sorted(Path(ground.store.root, "artifacts").glob("*/*"))):
        if path.suffix == ".pt":
            path.write_bytes(tensor_file.dumps(tensor_file.loads(path.read_bytes())))
        elif path.suffix == ".images":
            path.write_bytes(image_file.dumps(image_file.open_mapped(path)))
        else:
            pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert resume(ground.store) == []
    assert_same_results(Path(ground.store.root), Path(whole.root))


def row_cut(table: str, damage: Callable[[bytes], bytes | None]) -> Forgery:
    def forge(ground: Ground) -> str:
        path = Path(ground.store.root, ground.store.result_path(table, OMP))
        content = damage(path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        return OMP

    return forge


ROWS = {
    f"{table}: {name}": row_cut(table, damage)
    for table in TABLES
    for name, damage in {
        "cut": lambda content: content[:-9],
        "empty": lambda content: b"",
        "altered": lambda content: content[:40] + b"\xff" + content[41:],
        "gone": lambda content: None,
    }.items()
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_that_is_damaged_or_lost_is_made_again(ground: Ground, whole: Store, kind: str) -> None:
    ROWS[kind](ground)
    assert resume(ground.store) == []
    assert_the_same(ground.store, whole)


@pytest.mark.parametrize("table", ["epochs", "layers"])
def test_a_table_with_rows_missing_is_made_again(ground: Ground, whole: Store, table: str) -> None:
    path = Path(ground.store.root, ground.store.result_path(table, OMP))
    rows = pq.read_table(path)
    pq.write_table(rows.slice(0, len(rows) - 1), path)
    assert resume(ground.store) == []
    assert_the_same(ground.store, whole)
