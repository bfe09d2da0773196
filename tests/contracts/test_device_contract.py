"""Contract on a device other than the CPU: equal results, and a number of synchronizations that does not grow.

The tests use a fake device (see ``fake_device``). It computes on the CPU, so that all bits are equal.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.testing import BATCH_SIZE, check_same
from support import fake_device
from support.contract_settings import DIFFICULTIES, DIFFICULTY_NAMES, SPARSIFIER_NAMES, scores_file, small, trial
from support.tiny_trials import TIMES


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    """Start a process in which the fake device is registered."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=fake_device.appear) as pool:
        yield pool


def check_equal_results(spec: TrialSpec, process: ProcessPoolExecutor, folder: Path) -> None:
    """Check that rows and weights of ``spec`` have the same bits on both devices."""
    process.submit(fake_device.complete_elsewhere, spec, folder / "fake").result()
    fake_device.complete(spec, folder / "cpu", "cpu")
    fake, cpu = (Store(str(folder / name)) for name in ("fake", "cpu"))
    check_same(fake.read_weights(spec.id), cpu.read_weights(spec.id))
    for table in ("trials", "epochs", "layers"):
        actual, expected = (pd.read_parquet(Path(store.root, "results", table)) for store in (fake, cpu))
        pd.testing.assert_frame_equal(*(rows.drop(columns=TIMES, errors="ignore") for rows in (actual, expected)))


ATTACKS = {loss: {"name": "adversarial", "steps": 2, "test_steps": 2, "loss": loss} for loss in ("pgd", "trades")}


@pytest.mark.parametrize(
    ("name", "difficulty"),
    [
        *((name, "none") for name in SPARSIFIER_NAMES),
        *((name, attack) for name in ("rigl", "movement", "topkast") for attack in ATTACKS.values()),
    ],
    ids=str,
)
def test_methods_train_on_another_device(
    name: str, difficulty: Any, process: ProcessPoolExecutor, tmp_path: Path
) -> None:
    check_equal_results(trial(name, difficulty=difficulty), process, tmp_path)


@pytest.mark.parametrize("name", DIFFICULTY_NAMES)
def test_difficulties_train_on_another_device(name: str, process: ProcessPoolExecutor, tmp_path: Path) -> None:
    arguments = small(DIFFICULTIES, name)
    if name == "scores":
        arguments["file"] = scores_file(fake_device.few_digits().train_labels)
    check_equal_results(trial("set", difficulty=arguments, data_ratio=0.5), process, tmp_path)


@pytest.mark.parametrize("recipe", [{"rotation": 15.0}, {"flip": True, "drop_last": True}], ids=str)
def test_batches_are_created_on_another_device(
    recipe: dict[str, Any], process: ProcessPoolExecutor, tmp_path: Path
) -> None:
    spec = trial("rigl")
    check_equal_results(spec.replace(recipe={**spec.recipe.model_dump(), **recipe}), process, tmp_path)


STEP_SETTINGS = {
    "plain": "none",
    "pgd": ATTACKS["pgd"],
    "l2": {**ATTACKS["pgd"], "norm": "l2"},
    "batch norms in training mode": {**ATTACKS["pgd"], "batch_norm": "train"},
    "fgsm_rs": {"name": "adversarial", "loss": "fgsm_rs", "steps": 1, "test_steps": 2},
    "trades": ATTACKS["trades"],
}


@pytest.mark.parametrize("difficulty", STEP_SETTINGS.values(), ids=STEP_SETTINGS)
@pytest.mark.parametrize("name", ["dense", "random"])
def test_synchronizations_per_epoch_do_not_depend_on_the_number_of_steps(
    name: str, difficulty: Any, process: ProcessPoolExecutor
) -> None:
    """A step neither synchronizes nor copies between devices. A CUDA graph can capture neither."""
    spec = trial(name, difficulty=difficulty)
    few, many = (
        process.submit(fake_device.stops_of_an_epoch, spec, count).result() for count in (BATCH_SIZE, 2 * BATCH_SIZE)
    )
    assert few == many and 0 < few.total() < 15, (few, many)


@pytest.mark.parametrize("kind", fake_device.MIXING)
def test_fake_device_rejects_mixed_devices(kind: str, process: ProcessPoolExecutor) -> None:
    """The tests above rely on these errors."""
    with pytest.raises((RuntimeError, TypeError)) as caught:
        process.submit(fake_device.stops_of, "MIXING", kind).result()
    assert kind == "array" or type(caught.value) is fake_device.Mixed


@pytest.mark.parametrize("kind", fake_device.WAITING)
def test_fake_device_counts_synchronizations(kind: str, process: ProcessPoolExecutor) -> None:
    assert process.submit(fake_device.stops_of, "WAITING", kind).result() == 1
