"""The README examples for analysis and the tutorial run on results written by the real store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sparsweep.analysis import load_trials
from sparsweep.analysis.claims.loader import parse
from sparsweep.analysis.groups import paired_differences
from sparsweep.trainables.storage.store import Store
from support.synthetic_tables import GAINS, make_epochs, make_layers, make_sweep

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("### Analyse results")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a storage ``runs`` that holds three sweeps.

    ``quickstart``; ``short``, the same with fewer epochs, where SET is far better than dense; and ``other``, SET with
    another prune rate, which is far worse.
    """
    folder = tmp_path_factory.mktemp("analyst")
    store = Store(str(folder / "runs"))
    digits = {"dataset": "digits", "model": "resnet8"}
    quickstart = make_sweep((*GAINS, "random"), seeds=2, **digits)
    short = make_sweep(epochs=4, **digits)
    short = [{**row, "test_accuracy": 0.9 if row["sparsifier"] == "set" else 0.2} for row in short]
    other = [
        {**row, "test_accuracy": 0.1}
        for row in make_sweep(("set",), seeds=2, sparsifier_parameters='{"prune_rate": 0.9}', **digits)
        if row["sparsifier"] == "set"
    ]
    for name, rows in (("quickstart", quickstart), ("short", short), ("other", other)):
        store.write_membership(name, [row["trial"] for row in rows])
        for row in rows:
            tables = {"trials": [row], "layers": list(make_layers(row, 9)), "epochs": make_epochs(row, 3)}
            store.write_result(row["trial"], tables)
    return folder


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".ci/names")}
    result = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def block(containing: str) -> str:
    [example] = [text for text in BLOCKS if containing in text]
    return example


def test_pandas_example_matches_paired_differences(folder: Path) -> None:
    output = run(folder, "-c", block("import pandas"))
    assert re.search(r"snip +0\.5", output) and "uniform" in output
    pairs = paired_differences(load_trials(folder / "runs", sweep="quickstart"))
    chosen = (pairs["sparsifier"] == "set") & (pairs["sparsity"] == 0.9) & (pairs["data_ratio"] == 0.3)
    [row] = pairs[chosen].itertuples()
    # The first group of SET in the second table has data ratio 0.3.
    mean, n = re.findall(r"set +0\.5 .*\n +0\.8 .*\n +0\.9 +(\S+) +\S+ +(\d+)", output)[0]
    assert float(mean) == pytest.approx(row.mean, abs=1e-6) and n == "2"


def gain_of_set(output: str) -> float:
    """Return the mean gain of SET at sparsity 0.9 and data ratio 0.3 from a printed table."""
    rows = [line for line in output.splitlines() if re.search(r"\bset\b", line) and "0.9" in line and "0.3" in line]
    assert len(rows) == 1
    return float(re.findall(r"-?\d+\.\d+", rows[0])[-1])


@pytest.mark.parametrize("library", ["duckdb", "polars"])
def test_other_libraries_give_the_same_gain(folder: Path, library: str) -> None:
    pytest.importorskip(library)
    assert gain_of_set(run(folder, "-c", block(f"import {library}"))) == pytest.approx(GAINS["set"], abs=0.01)


def test_figures_example_writes_a_pdf(folder: Path) -> None:
    run(folder, "-c", block("from sparsweep.analysis import figures"))
    assert (folder / "accuracy.pdf").read_bytes().startswith(b"%PDF")


def test_user_claim_example_is_valid() -> None:
    [text] = re.findall(r"```yaml\n(# my-claims\.yaml\n.*?)```", SECTION, re.DOTALL)
    assert len(parse(text, "README")) == 1


def test_tutorial_runs_completely(folder: Path) -> None:
    output = run(folder, str(ROOT / "docs" / "tutorial.py"), "runs", "quickstart")
    assert "88 trials of 8 methods" in output
    assert "el2n-third: " in output and "; not tested on its data" in output
    names = {path.name for path in (folder / "runs/figures/tutorial").iterdir()}
    assert names == {"accuracy.png", "heatmap.png", "layers.png"}


def test_tutorial_is_divided_into_cells() -> None:
    text = (ROOT / "docs" / "tutorial.py").read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]") and text.count("\n# %%\n") >= 8
