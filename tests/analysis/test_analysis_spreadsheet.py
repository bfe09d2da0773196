"""CSV that a spreadsheet computes nothing of, and numbers that stay numbers in it."""

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


def test_what_begins_like_a_formula_is_text() -> None:
    table = pd.DataFrame({"method": [*FORMULAS, *HARMLESS]})
    back = pd.read_csv(io.BytesIO(to_csv(table)), dtype=str, keep_default_na=False)["method"].tolist()
    assert back == [*(f"'{text}".replace("\r", "\n") for text in FORMULAS), *HARMLESS]


def test_numbers_nulls_and_flags_are_as_pandas_writes_them() -> None:
    table = pd.DataFrame(
        {
            "gain": [-0.5, 1e-9, None],
            "n": pd.array([-3, None, 2], dtype="Int64"),
            "bad": [True, False, True],
            "method": pd.Categorical(["set", "=1", "set"]),
            "text": pd.array(["a", None, "-x"], dtype="string"),
        }
    )
    written = to_csv(table).decode()
    plain = table.to_csv(index=False, lineterminator="\n")
    assert written == plain.replace("=1", "'=1").replace("-x", "'-x")


def test_the_page_knows_the_same_formulas() -> None:
    script = (Path(__file__).parent.parent.parent / "analysis/report/page.js").read_text()
    (pattern,) = re.findall(r"/\^(\[.*?\])/\.test\(value\)", script)
    assert pattern == FORMULA.pattern


@pytest.mark.parametrize(
    ("backend", "left"),
    [
        ("module://nothing_inline.backend_inline", None),
        ("module://matplotlib.backends.backend_svg", "module://matplotlib.backends.backend_svg"),
        ("agg", "agg"),
    ],
)
def test_figures_need_no_backend_that_a_notebook_names(backend: str, left: str | None) -> None:
    code = "import os, sparsweep.analysis.figures; print(os.environ.get('MPLBACKEND'))"
    env = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, str(left)), run.stderr
