"""User choices for figures: width, methods and panels. Also characters that the default font lacks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from sparsweep.analysis import figures
from sparsweep.analysis.choice import chosen
from sparsweep.analysis.figures import export, fonts
from sparsweep.analysis.figures.form import inches
from sparsweep.analysis.searches import history, importance
from sparsweep.trainables.storage import schemas
from support.synthetic_tables import make_row, make_samples, make_sweep, results_of

# Widths --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width"), [("3.25in", 3.25), ("8.255 cm", 3.25), ("82.55mm", 3.25), ("234pt", 3.25), (" 7 in ", 7.0)]
)
def test_width_is_parsed_with_its_unit(text: str, width: float) -> None:
    assert inches(text) == pytest.approx(width)


@pytest.mark.parametrize("text", ["3.25", "in", "-3in", "3 inches", "wide", ""])
def test_invalid_width_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--width: no length \(got .*\)\. Write it as 3\.25in"):
        inches(text)


@pytest.mark.parametrize("text", ["1in", "900mm"])
def test_width_out_of_range_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--width: from 2\.5in to 24in"):
        inches(text)


# Methods and panels --------------------------------------------------------------------------------------------------


def test_selecting_methods_keeps_dense() -> None:
    selected = chosen(results_of(make_sweep()), ["set", "lth"])
    assert set(selected.trials["sparsifier"]) == {"dense", "set", "lth"}
    assert set(selected.epochs["trial"]) == set(selected.trials["trial"]) == set(selected.layers["trial"])


def test_panels_are_selected_by_field_and_values() -> None:
    results = results_of(make_sweep())
    results = chosen(results, panels=["data_ratio=0.3", "sparsity=0.8", "sparsity=.9"])
    assert set(results.trials["data_ratio"]) == {0.3} and set(results.trials["sparsity"]) == {0.0, 0.8, 0.9}


def test_requested_trials_are_filtered_too() -> None:
    rows = make_sweep(("set", "snip"))
    requested = schemas.build_table("trials", [*rows, make_row("snip", 0.7, 0, None)]).to_pandas()
    results = chosen(results_of(rows, asked=requested), ["set"])
    assert set(results.asked["sparsifier"]) == {"dense", "set"}


@pytest.mark.parametrize(
    ("methods", "panels", "message"),
    [
        (["sett"], [], r"--method: no results \(got 'sett'\)\. Choose from: set, snip\."),
        ([], ["ratio=1"], r"--panel: no FIELD=VALUE \(got 'ratio=1'\)\. Choose FIELD from: dataset, model"),
        ([], ["data_ratio"], r"--panel: no FIELD=VALUE"),
        ([], ["data_ratio=half"], r"--panel data_ratio: no number \(got 'half'\)"),
        ([], ["data_ratio=0.4"], r"--panel data_ratio: no results \(got 0\.4\)\. Choose from: 0\.3, 1\."),
        ([], ["sparsity=0"], r"--panel sparsity: no results \(got 0\)\. Choose from: 0\.5, 0\.8, 0\.9\."),
        ([], ["model=vgg"], r"--panel model: no results \(got 'vgg'\)\. Choose from: resnet18\."),
    ],
)
def test_choice_without_results_raises_one_line(methods: list[str], panels: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        chosen(results_of(make_sweep(("set", "snip"))), methods, panels)


# Characters ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clear_font_caches() -> Iterator[None]:
    """Clear the font caches before and after the test."""
    caches = (fonts._family_of, fonts._installed, fonts._letters, fonts._tell)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def font(tmp_path: Path, clear_font_caches: None) -> Iterator[str]:
    """Family name of an installed font whose only character is U+732B."""
    pen = TTGlyphPen(None)
    for step, point in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        (pen.lineTo if step else pen.moveTo)(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({0x732B: "cat"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Cats Alone", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path = tmp_path / "cats.ttf"
    builder.save(path)
    before = list(fontManager.ttflist)
    fontManager.addfont(path)
    yield "Cats Alone"
    fontManager.ttflist[:] = before


def figure_with_text(text: str) -> Figure:
    figure = Figure()
    figure.text(0.5, 0.5, text)
    return figure


def test_installed_font_with_the_characters_is_used(font: str) -> None:
    figure = figure_with_text("猫 cat")
    fonts.fit(figure)
    assert figure.texts[0].get_fontfamily() == [fonts.USUAL, font]
    assert figure.texts[0].get_text() == "猫 cat" and fonts.lacking("猫 cat") == ""
    plain = figure_with_text("cat †")
    fonts.fit(plain)
    assert plain.texts[0].get_fontfamily() != [fonts.USUAL, font]
    assert b"FontFile2" in export.to_bytes(figure, "pdf")["pdf"]


def test_characters_without_a_font_are_logged_once(clear_font_caches: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="sparsweep.analysis"):
        for _ in range(2):
            figure = figure_with_text("\U0010fffd猫!")  # a private-use character that no font has
            fonts.fit(figure)
    assert figure.texts[0].get_text().startswith("?")
    [record] = caplog.records
    assert "no installed font has U+10FFFD" in record.getMessage()


def test_class_without_a_font_for_its_name_is_shown_by_number(clear_font_caches: None) -> None:
    samples = make_samples(classes=2, each=1)
    names = {0: "\U0010fffd", 1: "$x^2$ & $y$"}
    figure = figures.sample_examples.draw(samples.assign(class_name=samples["label"].map(names)))
    texts = [text.get_text() for text in figure.subfigs[0].texts]
    assert "class 0" in texts
    [formula] = [text for text in figure.subfigs[0].texts if "$" in text.get_text()]
    assert not formula.get_parse_math() and " ".join(formula.get_text().split()) == "$x^2$ & $y$"
    table = figures.sample_examples.table(samples.assign(class_name=samples["label"].map(names)))
    assert set(table["class_name"]) == set(names.values())  # the CSV holds the original names


# Searches ------------------------------------------------------------------------------------------------------------


def test_history_of_a_search(everything) -> None:
    table = history(everything.searches)
    assert len(table) == 24 and set(table["state"]) == {"complete", "pruned"}
    complete = table[table["state"] == "complete"]
    assert table["best"].iloc[-1] == complete["value"].max() and (table["best"].dropna().diff().dropna() >= 0).all()
    assert table.loc[table["state"] == "pruned", "value"].isna().all() and table["trial"].notna().all()


def test_parameter_importance_is_computed_by_optuna(everything) -> None:
    table = importance(everything.searches)
    assert table["importance"].sum() == pytest.approx(1)
    assert table.iloc[0]["parameter"] == "sparsity" and table.iloc[0]["importance"] > 0.5
    assert set(table["suggestions"]) == {20}
