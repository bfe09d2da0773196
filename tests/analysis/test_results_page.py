"""Scripts next to ``docs/results.md``: tables from a storage, and an image folder for a sweep."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sparsweep.trainables.storage.store import Store
from support.synthetic_tables import make_sweep

DOCS = Path(__file__).parents[2] / "docs"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_sweep(store: Store, sweep: str, **changes: object) -> None:
    rows = [{**row, "fit_accuracy": 0.99, "steps": 1080, **changes} for row in make_sweep(("set", "snip"), seeds=3)]
    for row in rows:
        store.write_result(row["trial"], {"trials": [row], "layers": [], "epochs": []})
    store.write_membership(sweep, [row["trial"] for row in rows])


@pytest.mark.parametrize("sweep", sorted(load_script("results").TABLES))
def test_every_table_is_printed(sweep: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path))
    write_sweep(store, sweep)
    load_script("results").main(store.storage, sweep)
    output = capsys.readouterr().out
    assert output.startswith(f"## {sweep}\n") and "42 trials, 0 of them under-trained" in output
    rows = [line for line in output.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows if "±" in row}) == 1


def test_table_marks_under_trained_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path))
    write_sweep(store, "quickstart", undertrained=True)
    load_script("results").main(store.storage, "quickstart")
    output = capsys.readouterr().out
    assert "42 of them under-trained" in output and " †" in output


def test_gains_match_the_planted_gains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path))
    write_sweep(store, "quickstart")
    load_script("results").main(store.storage, "quickstart")
    table = capsys.readouterr().out.split("Data ratio 0.3: points")[1].partition("Data ratio")[0]
    [line] = [line for line in table.splitlines() if "| SET" in line]
    assert float(line.split("|")[-2].split()[0]) == pytest.approx(3.0, abs=0.6)


def test_page_names_every_sweep_with_a_table() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    for sweep in load_script("results").TABLES:
        assert f"sparsweep run {sweep}`" in page
    assert "@@" not in page


def test_cifar100_folder_writes_the_first_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(12) % 3
    data = SimpleNamespace(train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    dataset = SimpleNamespace(load=lambda: data, class_names=lambda: ("cat", "ant", "bee"))
    module = load_script("cifar100_folder")
    monkeypatch.setattr(module, "datasets", SimpleNamespace(parse=lambda name: dataset))
    module.write(tmp_path / "images", classes=2)
    assert sorted(path.name for path in (tmp_path / "images/train").iterdir()) == ["ant", "bee"]
    files = sorted((tmp_path / "images/test/bee").iterdir())
    assert len(files) == 4
    assert np.array_equal(np.moveaxis(np.asarray(Image.open(files[1])), -1, 0), images[5])  # the second bee image
