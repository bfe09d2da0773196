"""What holds for every figure: errors, files, and a layout without collisions."""

from __future__ import annotations

import io
import itertools

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import figures
from analysis.figures import style


@pytest.mark.parametrize("name", figures.FIGURES)
def test_nothing_to_draw_is_one_clear_line(frame, row, name):
    nothing_known = frame([row("dense", 0.0, 0, None), row("set", 0.5, 0, None)])
    for trials in (frame([]), nothing_known):
        with pytest.raises(ValueError, match=r"^(there is )?no finished [^\n]+$"):
            figures.FIGURES[name].draw(trials)


def test_a_heatmap_needs_pairs(comparison):
    with pytest.raises(ValueError, match="dense partner"):
        figures.FIGURES["ratio_heatmap"].draw(comparison[comparison["sparsifier"] != "dense"])


@pytest.mark.parametrize("name", figures.FIGURES)
def test_saved_files_are_readable_and_the_same_every_time(comparison, name):
    first: dict[str, bytes] = {}
    second: dict[str, bytes] = {}
    assert figures.save(name, comparison, first.__setitem__) == [f"{name}.png", f"{name}.pdf", f"{name}.csv"]
    figures.save(name, comparison.sample(frac=1, random_state=0), second.__setitem__)
    assert first == second
    assert first[f"{name}.png"].startswith(b"\x89PNG")
    assert b"CreationDate" not in first[f"{name}.pdf"]
    assert b"FontFile2" in first[f"{name}.pdf"]  # TrueType, embedded
    assert b"/Type3" not in first[f"{name}.pdf"]
    read = pd.read_csv(io.BytesIO(first[f"{name}.csv"]))
    pd.testing.assert_frame_equal(read, figures.FIGURES[name].table(comparison), check_dtype=False)


def test_an_unknown_figure_names_the_choices(comparison):
    with pytest.raises(ValueError, match="'fig3'; choose from accuracy_vs_sparsity, ratio_heatmap"):
        figures.save("fig3", comparison, lambda file, content: None)


def test_nothing_is_written_if_a_figure_fails(frame):
    written: list[str] = []
    with pytest.raises(ValueError, match="no finished"):
        figures.save("ratio_heatmap", frame([]), lambda file, content: written.append(file))
    assert not written


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_users_settings_of_matplotlib_neither_show_nor_change(comparison, name):
    plain: dict[str, bytes] = {}
    changed: dict[str, bytes] = {}
    figures.save(name, comparison, plain.__setitem__)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "yellow"}):
        before = dict(mpl.rcParams)
        figures.save(name, comparison, changed.__setitem__)
        assert dict(mpl.rcParams) == before
    assert plain == changed


@pytest.mark.parametrize("name", figures.FIGURES)
def test_texts_do_not_overlap_panels_or_leave_the_page(comparison, name):
    figure = figures.FIGURES[name].draw(comparison)
    with style.context():
        FigureCanvasAgg(figure).draw()  # places everything, as saving does
        page, legend = figure.bbox, figure.legends[0].get_window_extent()
        boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(legend.overlaps(box) for box in boxes)
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    for box in (legend, *boxes):
        assert box.x0 >= page.x0 - 1
        assert box.y0 >= page.y0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y1 <= page.y1 + 1
