"""``sparsweep data``, and sweeps with missing or damaged data, through the command line."""

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
class CallResult:
    """Output and exit code of a call."""

    out: str
    err: str
    code: int


Call = Callable[..., CallResult]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run the command in this process, in an empty folder. Datasets are in ``data`` by default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSWEEP_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> CallResult:
        monkeypatch.setattr("sys.argv", ["sparsweep", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main()
        captured = capfd.readouterr()
        return CallResult(captured.out, captured.err, int(exit_info.value.code or 0))

    return run


@pytest.fixture
def published_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Any:
    """Class of CIFAR-10, whose URL leads to a small archive on a local server."""
    cls: Any = datasets["cifar10"]
    small_cifar(monkeypatch, tmp_path / "source", "cifar10")
    archive = tmp_path / "server" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "source" / cls.folder, cls.folder)
    monkeypatch.setattr(cls, "url", f"{serve(archive.parent)}/{archive.name}")
    monkeypatch.setattr(cls, "md5", md5(archive.read_bytes()))
    return cls


def test_get_downloads_and_list_shows_the_folder(call: Call, published_cifar10: Any, tmp_path: Path) -> None:
    before = json.loads(call("data", "list", "--json").out)
    assert {row["name"]: row["folder"] for row in before} == dict.fromkeys(["cifar10", "cifar100", "tinyimagenet"])
    download = call("data", "get", "cifar10")
    assert (download.code, download.out) == (0, f"cifar10: 200 training and 100 test images in {tmp_path}/data\n")
    assert f"downloading {published_cifar10.url} to {tmp_path}/data" in download.err
    listing = call("data", "list")
    assert listing.code == 0 and f"cifar10       {tmp_path}/data/cifar-10-batches-py\n" in listing.out
    assert "cifar100      not here\n" in listing.out


def test_get_does_not_download_again(call: Call, published_cifar10: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = call("data", "get", "cifar10")
    monkeypatch.setattr(published_cifar10, "url", "http://127.0.0.1:9/nowhere")
    repeated = call("data", "get", "cifar10")
    assert (repeated.code, repeated.out) == (0, first.out) and repeated.err == ""


def test_get_repairs_damaged_data(call: Call, published_cifar10: Any, tmp_path: Path) -> None:
    call("data", "get", "cifar10")
    (tmp_path / "data" / published_cifar10.folder / "data_batch_3").write_bytes(b"torn")
    repaired = call("data", "get", "cifar10")
    assert repaired.code == 0 and "data_batch_3 is damaged" in repaired.err
    assert "downloading" not in call("data", "get", "cifar10").err


def test_get_with_data_option_uses_its_folder(call: Call, published_cifar10: Any, tmp_path: Path) -> None:
    assert call("data", "get", "cifar10", "--data", str(tmp_path / "other")).code == 0
    assert (tmp_path / "other" / published_cifar10.folder).is_dir() and not (tmp_path / "data").exists()
    assert json.loads(call("data", "list", "--json", "--data", str(tmp_path / "other")).out)[0]["folder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data", "get", "cifar11"), "NAME: unknown downloadable data set 'cifar11' (did you mean cifar10?)"),
        (("data", "get", "digits"), "choose from cifar10, cifar100, tinyimagenet"),
        (("data", "get"), "NAME"),
        (("data", "gte", "cifar10"), "gte"),
    ],
)
def test_invalid_calls_print_one_line(arguments: tuple[str, ...], message: str, call: Call, tmp_path: Path) -> None:
    result = call(*arguments)
    assert (result.code, result.out) == (2, "") and len(result.err.splitlines()) == 1 and message in result.err
    assert not list(tmp_path.iterdir())


def test_unreachable_url_prints_one_line(
    call: Call, monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets["cifar100"], "url", f"{serve(tmp_path)}/nothing.tar.gz")
    result = call("data", "get", "cifar100")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1].endswith(
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
def test_sweep_with_missing_data_exits_before_ray_starts(
    command: str, name: str, call: Call, no_ray: None, tmp_path: Path
) -> None:
    if command == "resume":
        sweep_record.save_sweep(read_sweep("smoke"), Store(str(tmp_path / "runs")))
    before = [path for path in tmp_path.rglob("*") if path.is_file()]
    result = call(command, "smoke", "--set", f"dataset={name}", "--set", "model=resnet18")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"sparsweep: {name}: no {datasets[name].folder} in {tmp_path}/data; "  # type: ignore[attr-defined]
        f"download it with: sparsweep data get {name}\n"
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == before


def test_fix_names_the_given_data_folder(call: Call, no_ray: None, tmp_path: Path) -> None:
    result = call("run", "smoke", "--set", "dataset=cifar10", "--set", "model=resnet18", "--data", "/nowhere")
    assert result.code == 2 and result.err.endswith("download it with: sparsweep data get cifar10 --data /nowhere\n")


def test_sweep_with_damaged_data_exits(
    call: Call, no_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_tinyimagenet(monkeypatch, tmp_path / "data")
    image = folder / "val" / "images" / "val_2.JPEG"
    image.write_bytes(image.read_bytes()[:200])
    result = call("run", "smoke", "--set", "dataset=tinyimagenet", "--set", "model=resnet18")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1].startswith(f"sparsweep: {image} cannot be decoded: ")


def test_plan_does_not_need_the_data(call: Call) -> None:
    planned = call("plan", "smoke", "--set", "dataset=cifar100", "--set", "model=resnet18", "--json")
    assert planned.code == 0 and json.loads(planned.out)["train_flops"] > 1e12


def test_folder_without_a_dataset_is_an_invalid_sweep(call: Call, tmp_path: Path) -> None:
    dataset = f"{{name: imagefolder, path: {tmp_path}/none, image_size: 32}}"
    result = call("plan", "smoke", "--set", f"dataset={dataset}", "--set", "model=resnet18")
    assert result.code == 2 and result.err.startswith("sparsweep: smoke: grids.0: dataset.path: ")
    assert len(result.err.splitlines()) == 1 and f"{tmp_path}/none/train is not a folder" in result.err


def test_images_are_loaded_once_per_dataset(tmp_path: Path) -> None:
    """Two datasets with trials and scoring runs are loaded twice in total. Keys are the dataset specs."""
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
