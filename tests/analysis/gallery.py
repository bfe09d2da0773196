"""A page with a picture of every kind, of synthetic results, for a person to look at: ``make gallery``."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from synthetic import GAINS, make_layers, make_results, make_sweep

from analysis import figures
from analysis.figures import rendering, style
from analysis.results import Results
from trainables import records


def crowd() -> Results:
    """All methods that are known by name, and two that are not, at nine sparsities."""
    names = [*(name for name in style.SPARSIFIERS if name != "dense"), "a_plug_in", "another"]
    rows = make_sweep(names, sparsities=[s / 10 for s in range(1, 10)], ratios=(0.3,), seeds=3)
    layers = [layer for row in rows for layer in make_layers(row)]
    return Results(records.build("trials", rows).to_pandas(), records.build("layers", layers).to_pandas())


def gaps() -> Results:
    """One seed, without dense, with trials missing."""
    rows = [row for row in make_sweep(tuple(GAINS), seeds=1) if row["sparsifier"] != "dense"]
    return Results(records.build("trials", rows[::2] + rows[1:4]).to_pandas())


def unequal() -> Results:
    """Six seeds where it is close, three elsewhere, one of uniform masks."""
    close = ("dense", "set", "omp")
    most = {**dict.fromkeys(GAINS, 3), **dict.fromkeys(close, 6), "uniform": 1}
    rows = [row for row in make_sweep(tuple(GAINS), seeds=6) if row["seed"] < most[row["sparsifier"]]]
    rows = [{**row, "robust_accuracy": row["test_accuracy"] / 2 + 0.002 * row["seed"]} for row in rows]
    layers = [layer for row in rows for layer in make_layers(row)]
    return Results(records.build("trials", rows).to_pandas(), records.build("layers", layers).to_pandas())


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    shown = {"a sweep": make_results, "all methods": crowd, "unequal numbers of seeds": unequal, "gaps": gaps}
    for title, results in ((title, make()) for title, make in shown.items()):
        for picture in figures.pictures(results):
            head = f"<h2>{escape(picture.name)}: {title}</h2>"
            try:
                image = rendering.render(picture.draw(), "svg")["svg"].decode()
                parts.append(head + image[image.index("<svg") :])
            except ValueError as error:
                parts.append(f"{head}<p>not drawn: {escape(str(error))}</p>")
    page = folder / "index.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>Gallery</title>{''.join(parts)}", encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/gallery"))
