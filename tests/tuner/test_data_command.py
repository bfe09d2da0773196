"""``sparsweep data``, and sweeps whose data is missing or damaged, as the command that a user calls."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sparsweep.trainables.data import datasets
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.app import main
from sparsweep.tuner.cli.datasets import read_images
from sparsweep.tuner.config.sweep import parse_sweep, read_sweep
from sparsweep.tuner.execution import driver
from sparsweep.tuner.planning.graph import build_graph, compute_state
from sparsweep.tuner.state import sweep_record
from support.tiny_datasets import Serve, md5, small_cifar, small_imagefolder, small_tinyimagenet


@dataclass
class Said:
    """What a call printed, and the code that it ended with."""

    out: str
    err: str
    code: int


Call = Callable[..., Said]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command in this process, in a folder of its own, where data sets lie in ``data`` unless told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSWEEP_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["sparsweep", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return Said(said.out, said.err, int(ended.value.code or 0))

    return run


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Any:
    """A small CIFAR-10 where its address leads to."""
    cls: Any = datasets["cifar10"]
    small_cifar(monkeypatch, tmp_path / "source", "cifar10")
    archive = tmp_path / "server" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "source" / cls.folder, cls.folder)
    monkeypatch.setattr(cls, "url", f"{serve(archive.parent)}/{archive.name}")
    monkeypatch.setattr(cls, "md5", md5(archive.read_bytes()))
    return cls


def test_get_then_list(call: Call, published: Any, tmp_path: Path) -> None:
    before = json.loads(call("data", "list", "--json").out)
    assert {row["name"]: row["folder"] for row in before} == dict.fromkeys(["cifar10", "cifar100", "tinyimagenet"])
    got = call("data", "get", "cifar10")
    assert (got.code, got.out) == (0, f"cifar10: 200 training and 100 test images in {tmp_path}/data\n")
    assert f"downloading {published.url} to {tmp_path}/data" in got.err
    listed = call("data", "list")
    assert listed.code == 0 and f"cifar10       {tmp_path}/data/cifar-10-batches-py\n" in listed.out
    assert "cifar100      not here\n" in listed.out


def test_get_once(call: Call, published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = call("data", "get", "cifar10")
    monkeypatch.setattr(published, "url", "http://127.0.0.1:9/nowhere")
    again = call("data", "get", "cifar10")
    assert (again.code, again.out) == (0, first.out) and again.err == ""


def test_get_mends_what_is_damaged(call: Call, published: Any, tmp_path: Path) -> None:
    call("data", "get", "cifar10")
    (tmp_path / "data" / published.folder / "data_batch_3").write_bytes(b"torn")
    mended = call("data", "get", "cifar10")
    assert mended.code == 0 and "data_batch_3 is damaged" in mended.err
    assert "downloading" not in call("data", "get", "cifar10").err


def test_get_elsewhere(call: Call, published: Any, tmp_path: Path) -> None:
    assert call("data", "get", "cifar10", "--data", str(tmp_path / "other")).code == 0
    assert (tmp_path / "other" / published.folder).is_dir() and not (tmp_path / "data").exists()
    assert json.loads(call("data", "list", "--json", "--data", str(tmp_path / "other")).out)[0]["folder"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("data", "get", "cifar11"), "NAME: unknown downloadable data set 'cifar11' (did you mean cifar10?)"),
        (("data", "get", "digits"), "choose from cifar10, cifar100, tinyimagenet"),
        (("data", "get"), "NAME"),
        (("data", "gte", "cifar10"), "gte"),
    ],
)
def test_wrong_calls_are_one_line(arguments: tuple[str, ...], named: str, call: Call, tmp_path: Path) -> None:
    said = call(*arguments)
    assert (said.code, said.out) == (2, "") and len(said.err.splitlines()) == 1 and named in said.err
    assert not list(tmp_path.iterdir())


def test_an_address_that_does_not_answer_is_one_line(
    call: Call, monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets["cifar100"], "url", f"{serve(tmp_path)}/nothing.tar.gz")
    said = call("data", "get", "cifar100")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-1].endswith(
        f"nothing.tar.gz cannot be downloaded to {tmp_path}/data: HTTP Error 404: File not found"
    )


# Sweeps --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: Any, **options: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(driver.ray, "init", start)


@pytest.mark.parametrize("command", ["run", "resume"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tinyimagenet"])
def test_a_sweep_whose_data_is_missing_is_refused_before_anything_starts(
    command: str, name: str, call: Call, no_ray: None, tmp_path: Path
) -> None:
    if command == "resume":
        sweep_record.save_sweep(read_sweep("smoke"), Store(str(tmp_path / "runs")))
    before = [path for path in tmp_path.rglob("*") if path.is_file()]
    said = call(command, "smoke", "--set", f"dataset={name}", "--set", "model=resnet18")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"sparsweep: {name}: no {datasets[name].folder} in {tmp_path}/data; "  # type: ignore[attr-defined]
        f"download it with: sparsweep data get {name}\n"
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == before


def test_the_remedy_is_for_the_folder_that_was_given(call: Call, no_ray: None, tmp_path: Path) -> None:
    said = call("run", "smoke", "--set", "dataset=cifar10", "--set", "model=resnet18", "--data", "/nowhere")
    assert said.code == 2 and said.err.endswith("download it with: sparsweep data get cifar10 --data /nowhere\n")


def test_a_sweep_whose_data_is_damaged_is_refused(
    call: Call, no_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_tinyimagenet(monkeypatch, tmp_path / "data")
    image = folder / "val" / "images" / "val_2.JPEG"
    image.write_bytes(image.read_bytes()[:200])
    said = call("run", "smoke", "--set", "dataset=tinyimagenet", "--set", "model=resnet18")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-1].startswith(f"sparsweep: {image} cannot be decoded: ")


def test_a_sweep_can_be_planned_without_its_data(call: Call) -> None:
    planned = call("plan", "smoke", "--set", "dataset=cifar100", "--set", "model=resnet18", "--json")
    assert planned.code == 0 and json.loads(planned.out)["train_flops"] > 1e12


def test_a_folder_that_is_no_data_set_is_a_wrong_sweep(call: Call, tmp_path: Path) -> None:
    dataset = f"{{name: imagefolder, path: {tmp_path}/none, image_size: 32}}"
    said = call("plan", "smoke", "--set", f"dataset={dataset}", "--set", "model=resnet18")
    assert said.code == 2 and said.err.startswith("sparsweep: smoke: grids.0: dataset.path: ")
    assert len(said.err.splitlines()) == 1 and f"{tmp_path}/none/train is not a folder" in said.err


def test_images_are_read_once_for_all_runs_that_use_them(tmp_path: Path) -> None:
    """Two data sets, each with trials and the scoring runs that they need: two loads, by what the worker looks up."""
    folder = small_imagefolder(tmp_path)
    text = f"""
base:
  model: resnet18
  recipe: {{epochs: 1}}
  data_ratio: .5
  difficulty: {{name: el2n, runs: 2, epoch: 1}}
grids:
  - {{sparsifier: dense, dataset: digits}}
  - {{sparsifier: dense, dataset: {{name: imagefolder, path: {folder}, image_size: 32}}, seed: [0, 1]}}
"""
    state = compute_state(build_graph(parse_sweep(text, "two").trials), Store(str(tmp_path / "runs")))
    images = read_images(state, [], str(tmp_path / "data"))
    assert {data.train_images.shape for data in images.values()} == {(1437, 1, 8, 8), (15, 3, 32, 32)}
    used = {state.graph.runs[run].dataset_spec.model_dump_json() for run in state.ready}
    assert images.keys() == used and len(state.ready) == 3 + 2 * 2
