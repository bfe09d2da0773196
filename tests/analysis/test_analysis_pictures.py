"""Layout of every kind of figure on every kind of result: no overlapping or clipped text, no line outside its axes."""

from __future__ import annotations

import numpy as np
import pytest

from sparsweep.analysis import figures
from sparsweep.analysis.figures import layout, style
from sparsweep.analysis.results import Results
from support.figure_artists import laid_out, lines_outside, outside_the_page, overlapping, texts
from support.gallery import SHOWN

FORMS = {"automatic width": figures.Form(), "column width": figures.Form(width=3.25, spread="interval")}


@pytest.fixture(scope="module", params=SHOWN)
def results(request: pytest.FixtureRequest) -> Results:
    return SHOWN[request.param]()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", figures.FIGURES)
def test_texts_and_lines_stay_inside_the_page(results: Results, name: str, form: str) -> None:
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


def test_many_methods_are_drawn_by_family_with_dense_in_each_panel() -> None:
    figure = laid_out(figures.FIGURES["accuracy_vs_sparsity"].draw(SHOWN["all methods"]()))
    titles = [axes.get_title(loc="left").splitlines()[-1] for axes in figure.axes]
    families = [style.INITIAL, style.DYNAMIC, style.GRADUAL, style.TRAINED, style.CHANCE, "further methods"]
    assert titles == families
    for axes in figure.axes:
        assert any(line.get_label() == "dense" for line in axes.lines)
        ends = [text for text in axes.texts if text.get_gid() == layout.END]
        labels = {label for label in axes.get_legend_handles_labels()[1] if label != "dense"}
        assert {text.get_text() for text in ends} == labels and len(labels) <= 8
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["dense"]


def test_labels_at_line_ends_are_moved_apart() -> None:
    positions = layout.apart(np.array([0.5, 0.5, 0.52, 0.9]), 0.1)
    assert (np.diff(positions) >= 0.1 - 1e-9).all() and positions[0] == 0.5
    assert layout.apart(np.array([0.98, 0.99]), 0.1) == pytest.approx([0.9, 1.0])
    assert layout.apart(np.array([0.2, 0.8]), 0.1) == pytest.approx([0.2, 0.8])


def test_search_has_no_lines_and_no_missing_points() -> None:
    figure = figures.FIGURES["accuracy_vs_sparsity"].draw(SHOWN["a search"]())
    [axes] = figure.axes
    assert {box.lines[0].get_linestyle() for box in axes.containers} == {"None"}
    assert "missing" not in [text.get_text() for text in figure.legends[0].get_texts()]
    positions = np.sort(np.concatenate([box.lines[0].get_xdata() for box in axes.containers]))
    table = figures.FIGURES["accuracy_vs_sparsity"].table(SHOWN["a search"]())
    np.testing.assert_array_equal(positions, np.sort(table["sparsity"]))  # no marker is shifted
