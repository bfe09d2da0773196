"""Every kind of figure of every kind of result: no text lies on another or is cut, no line leaves its axes."""

from __future__ import annotations

import numpy as np
import pytest

from sparsweep.analysis import figures
from sparsweep.analysis.figures import layout, style
from sparsweep.analysis.results import Results
from support.figure_artists import laid_out, lines_outside, outside_the_page, overlapping, texts
from support.gallery import SHOWN

FORMS = {"as wide as it needs": figures.Form(), "a column": figures.Form(width=3.25, spread="interval")}


@pytest.fixture(scope="module", params=SHOWN)
def results(request: pytest.FixtureRequest) -> Results:
    return SHOWN[request.param]()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", figures.FIGURES)
def test_everything_stands_at_its_place(results: Results, name: str, form: str) -> None:
    try:
        figure = laid_out(figures.FIGURES[name].draw(results, FORMS[form]))
    except ValueError as error:
        assert str(error).startswith(("no ", "there is no "))
        return
    assert overlapping(figure) == []
    assert outside_the_page(figure) == []
    assert lines_outside(figure) == []
    if FORMS[form].width:
        assert figure.get_figwidth() == FORMS[form].width
    for text, _ in texts(figure):
        assert "nan" not in text.get_text().lower().split()


def test_a_crowd_is_drawn_by_family_with_dense_in_each() -> None:
    figure = laid_out(figures.FIGURES["accuracy_vs_sparsity"].draw(SHOWN["all methods"]()))
    heads = [axes.get_title(loc="left").splitlines()[-1] for axes in figure.axes]
    families = [style.INITIAL, style.DYNAMIC, style.GRADUAL, style.TRAINED, style.CHANCE, "further methods"]
    assert heads == families
    for axes in figure.axes:
        assert any(line.get_label() == "dense" for line in axes.lines)
        ends = [text for text in axes.texts if text.get_gid() == layout.END]
        drawn = {label for label in axes.get_legend_handles_labels()[1] if label != "dense"}
        assert {text.get_text() for text in ends} == drawn and len(drawn) <= 8
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["dense"]


def test_names_at_the_ends_of_lines_are_moved_apart() -> None:
    found = layout.apart(np.array([0.5, 0.5, 0.52, 0.9]), 0.1)
    assert (np.diff(found) >= 0.1 - 1e-9).all() and found[0] == 0.5
    assert layout.apart(np.array([0.98, 0.99]), 0.1) == pytest.approx([0.9, 1.0])
    assert layout.apart(np.array([0.2, 0.8]), 0.1) == pytest.approx([0.2, 0.8])


def test_a_search_has_no_curves_and_nothing_missing() -> None:
    figure = figures.FIGURES["accuracy_vs_sparsity"].draw(SHOWN["a search"]())
    [axes] = figure.axes
    assert {box.lines[0].get_linestyle() for box in axes.containers} == {"None"}
    assert "missing" not in [text.get_text() for text in figure.legends[0].get_texts()]
    places = np.sort(np.concatenate([box.lines[0].get_xdata() for box in axes.containers]))
    table = figures.FIGURES["accuracy_vs_sparsity"].table(SHOWN["a search"]())
    np.testing.assert_array_equal(places, np.sort(table["sparsity"]))  # none is moved
