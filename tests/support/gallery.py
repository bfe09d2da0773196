"""Write a page with figures of all kinds from synthetic results, for visual inspection: ``make gallery``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sparsweep.analysis import figures
from sparsweep.analysis.figures import export, style
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.synthetic_tables import GAINS, digest, make_results, make_samples, make_study, make_sweep, results_of


def crowd() -> Results:
    """Return all known methods and two unknown ones at nine sparsities."""
    names = [*(name for name in style.SPARSIFIERS if name != "dense"), "a_plug_in", "another"]
    rows = make_sweep(names, sparsities=[s / 10 for s in range(1, 10)], ratios=(0.3,), seeds=3)
    return results_of([attacked(row) for row in rows])


def attacked(row: dict[str, Any]) -> dict[str, Any]:
    """Return ``row`` with an accuracy under attack."""
    return {**row, "robust_accuracy": row["test_accuracy"] / 2 + 0.002 * row["seed"]}


def gaps() -> Results:
    """Return one seed without dense trials and with missing trials."""
    rows = [row for row in make_sweep(tuple(GAINS), seeds=1) if row["sparsifier"] != "dense"]
    return Results(schemas.build_table("trials", rows[::2] + rows[1:4]).to_pandas())


def unequal() -> Results:
    """Return six seeds of similar methods, three of the others, and one of uniform masks."""
    close = ("dense", "set", "omp")
    most = {**dict.fromkeys(GAINS, 3), **dict.fromkeys(close, 6), "uniform": 1}
    rows = [row for row in make_sweep(tuple(GAINS), seeds=6) if row["seed"] < most[row["sparsifier"]]]
    return results_of([attacked(row) for row in rows])


def one_sparsity() -> Results:
    return results_of([attacked(row) for row in make_sweep(sparsities=(0.9,))])


def one_method() -> Results:
    return results_of([attacked(row) for row in make_sweep(("set",))])


def two_seeds() -> Results:
    return results_of([attacked(row) for row in make_sweep(seeds=2)])


def one_seed() -> Results:
    return results_of([attacked(row) for row in make_sweep(seeds=1)])


def search() -> Results:
    """Return forty suggestions of a continuous search without dense trials, and studies with one and two objectives."""
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        method, sparsity = ("set", "gmp", "snip", "random")[generator.integers(4)], generator.uniform(0.1, 0.9)
        [row] = [row for row in make_sweep((method,), (sparsity,), (0.3,), 1) if row["sparsifier"] == method]
        rate = {"sparsifier_parameters": f'{{"prune_rate":{generator.uniform(0.1, 0.5)}}}'} if method == "set" else {}
        rows.append({**row, **rate, "trial": digest({"suggestion": len(rows)})})
    studies = {"my-search": make_study(), "front": make_study(("validation_accuracy", "train_flops"))}
    return results_of(rows, searches=studies, asked=schemas.build_table("trials", rows).to_pandas())


def nm() -> Results:
    """Return N:M masks at one sparsity and other methods at three."""
    rows = [row for row in make_sweep(("set", "snip", "nm")) if row["sparsifier"] != "nm" or row["sparsity"] == 0.5]
    return results_of([{**row, "sparsifier_parameters": NM[row["sparsifier"] == "nm"]} for row in map(attacked, rows)])


NM = ("{}", '{"n":2,"m":4}')


def scripts() -> Results:
    """Return names in other scripts, names with formula signs, and a name longer than a line."""
    long = "a_model_whose_name_goes_on_for_longer_than_a_figure_is_wide"
    rows = [attacked(row) for row in make_sweep(("set", "snip", "плагин"), dataset="猫 $x^2$ العربية", model=long)]
    names = {0: "猫", 1: "$犬$ and $cat$"}
    samples = make_samples(classes=2, each=1).assign(class_name=lambda found: found["label"].map(names))
    return results_of(rows, samples=samples)


SHOWN: dict[str, Callable[[], Results]] = {
    "a sweep": make_results,
    "all methods": crowd,
    "unequal numbers of seeds": unequal,
    "gaps": gaps,
    "one sparsity": one_sparsity,
    "one method": one_method,
    "two seeds": two_seeds,
    "one seed": one_seed,
    "a search": search,
    "an N:M mask": nm,
    "other scripts": scripts,
}
"""Cases of the gallery: constructors of results by title."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for title, results in ((title, make()) for title, make in SHOWN.items()):
        for picture in figures.pictures(results):
            head = f"<h2>{escape(picture.name)}: {title}</h2>"
            try:
                image = export.to_bytes(picture.draw(), "svg")["svg"].decode()
                parts.append(head + image[image.index("<svg") :])
            except ValueError as error:
                parts.append(f"{head}<p>not drawn: {escape(str(error))}</p>")
    page = folder / "index.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>Gallery</title>{''.join(parts)}", encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/gallery"))
