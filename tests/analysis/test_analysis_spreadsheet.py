"""CSV without formulas for spreadsheets, in which numbers stay numbers."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sparsweep.analysis.spreadsheet import FORMULA, to_csv

FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", '=HYPERLINK("http://x")', "\t=1", "\r=1", "-", "="]
HARMLESS = ["set", "a=b", "-0.5", "+3", "-1e-5", "", " x", "'=1", "0.5", "–", "a\n=1"]


def test_text_that_starts_like_a_formula_is_escaped() -> None:
    table = pd.DataFrame({"method": [*FORMULAS, *HARMLESS]})
    parsed = pd.read_csv(io.BytesIO(to_csv(table)), dtype=str, keep_default_na=False)["method"].tolist()
    assert parsed == [*(f"'{text}".replace("\r", "\n") for text in FORMULAS), *HARMLESS]


def test_numbers_nulls_and_booleans_are_written_as_by_pandas() -> None:
    table = pd.DataFrame(
        {
            "gain": [-0.5, 1e-9, None],
            "n": pd.array([-3, None, 2], dtype="Int64"),
            "bad": [True, False, True],
            "method": pd.Categorical(["set", "=1", "set"]),
            "text": pd.array(["a", None, "-x"], dtype="string"),
        }
    )
    csv_text = to_csv(table).decode()
    plain = table.to_csv(index=False, lineterminator="\n")
    assert csv_text == plain.replace("=1", "'=1").replace("-x", "'-x")


def test_report_page_uses_the_same_formula_pattern() -> None:
    script = (Path(__file__).parent.parent.parent / "analysis/report/page.js").read_text()
    (pattern,) = re.findall(r"/\^(\[.*?\])/\.test\(value\)", script)
    assert pattern == FORMULA.pattern


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("module://nothing_inline.backend_inline", None),
        ("module://matplotlib.backends.backend_svg", "module://matplotlib.backends.backend_svg"),
        ("agg", "agg"),
    ],
)
def test_figures_ignore_an_inline_backend_of_a_notebook(backend: str, expected: str | None) -> None:
    code = "import os, sparsweep.analysis.figures; print(os.environ.get('MPLBACKEND'))"
    env = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, str(expected)), run.stderr
