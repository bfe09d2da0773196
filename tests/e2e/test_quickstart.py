"""The quickstart as a user runs it: the complete sweep, its figures and their data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from support.cli import Call


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_quickstart(sparsweep: Call, tmp_path: Path) -> None:
    run = sparsweep("run", "quickstart", timeout=1000)
    assert run.returncode == 0, run.stderr
    assert "57 trials: 57 done" in run.stdout
    trials = pd.read_parquet(tmp_path / "runs/results/trials")
    dense = trials[trials["sparsifier"] == "dense"]
    assert not dense["undertrained"].any()  # the dense reference trained long enough
    assert 0.8 < dense["test_accuracy"].mean() < 0.95  # the samples that EL2N selects are difficult
    assert sparsweep("figures", "quickstart").returncode == 0
    drawn = {path.name for path in (tmp_path / "runs/figures/quickstart").iterdir()}
    kinds = ("accuracy_vs_sparsity", "ratio_heatmap", "variant_bars", "layer_density", "density_effect")
    assert {f"{name}.{kind}" for name in kinds for kind in ("png", "pdf", "csv")} <= drawn
    assert sparsweep("claims", "quickstart").returncode == 0
    assert sparsweep("report", "quickstart").returncode == 0
    assert (tmp_path / "runs/reports/quickstart.html").stat().st_size > 1_000_000
