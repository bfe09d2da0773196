"""The notebook of the documentation runs from its first to its last cell."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/python.ipynb"


def test_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # committed without outputs
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if output.output_type == "execute_result"]
    assert sum("image/png" in data for data in shown) == 2  # both figures
    texts = [data["text/plain"] for data in shown]
    assert any(text.startswith("SweepResults('smoke', 12 of 12 trials") for text in texts)
    assert any(text.startswith("TrainedTrial(snip 0.9") for text in texts)
    assert len(list((tmp_path / "runs/results/trials").glob("*.parquet"))) >= 1
