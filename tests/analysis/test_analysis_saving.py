"""Properties of every figure: errors, files, and a layout without overlaps."""

from __future__ import annotations

import io
import itertools

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sparsweep.analysis import figures
from sparsweep.analysis.figures import ratio_heatmap, style
from sparsweep.analysis.results import Results
from support.gallery import gaps, unequal
from support.synthetic_tables import make_sweep, results_of

WITH_TRIALS = [name for name, kind in figures.FIGURES.items() if "trials" in kind.inputs]

WITH_IMAGES = {"sample_examples", "exemplar_images"}


@pytest.mark.parametrize("name", figures.FIGURES)
def test_nothing_to_draw_raises_one_line(frame, row, name):
    unfinished = frame([row("dense", 0.0, 0, None), row("set", 0.5, 0, None)])
    for trials in (frame([]), unfinished):
        with pytest.raises(ValueError, match=r"^(there is )?no [^\n]+$"):
            figures.FIGURES[name].draw(trials)


def test_heatmap_without_pairs_raises(comparison):
    with pytest.raises(ValueError, match="dense partner"):
        figures.FIGURES["ratio_heatmap"].draw(comparison[comparison["sparsifier"] != "dense"])


@pytest.mark.parametrize("name", figures.FIGURES)
def test_saved_files_are_readable_and_deterministic(everything, name):
    first: dict[str, bytes] = {}
    second: dict[str, bytes] = {}
    picture = figures.picture(name, everything)
    assert figures.save(picture, first.__setitem__) == [f"{name}.csv", f"{name}.png", f"{name}.pdf"]
    shuffled = Results(
        everything.trials.sample(frac=1, random_state=0),
        everything.layers.sample(frac=1, random_state=0),
        epochs=everything.epochs.sample(frac=1, random_state=0),
        samples=everything.samples,
        searches=everything.searches,
        outcomes=everything.outcomes,
        test_images=everything.test_images,
    )
    figures.save(figures.picture(name, shuffled), second.__setitem__)
    assert first == second
    assert first[f"{name}.png"].startswith(b"\x89PNG")
    assert b"CreationDate" not in first[f"{name}.pdf"]
    assert b"FontFile2" in first[f"{name}.pdf"]  # embedded TrueType font
    assert b"/Type3" not in first[f"{name}.pdf"]
    assert (b"/Subtype /Image" in first[f"{name}.pdf"]) == (name in WITH_IMAGES)  # others are vector graphics
    read = pd.read_csv(io.BytesIO(first[f"{name}.csv"]))
    pd.testing.assert_frame_equal(read, picture.table(), check_dtype=False)


def test_unknown_figure_error_lists_the_choices(comparison):
    with pytest.raises(ValueError, match="'fig3'; choose from accuracy_vs_sparsity, ratio_heatmap"):
        figures.picture("fig3", comparison)


def test_failing_figure_writes_no_file(frame):
    written: list[str] = []
    with pytest.raises(ValueError, match="no finished"):
        figures.save(figures.picture("ratio_heatmap", frame([])), lambda file, content: written.append(file))
    assert not written


def test_inputs_are_not_modified(everything):
    before = everything.trials.copy()
    for kind in figures.FIGURES.values():
        kind.draw(everything)
    pd.testing.assert_frame_equal(everything.trials, before)


@pytest.mark.parametrize("name", ["variant_bars"])
def test_user_matplotlib_settings_have_no_effect_and_are_kept(comparison, name):
    plain: dict[str, bytes] = {}
    changed: dict[str, bytes] = {}
    figures.save(figures.picture(name, comparison), plain.__setitem__)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "yellow"}):
        before = dict(mpl.rcParams)
        figures.save(figures.picture(name, comparison), changed.__setitem__)
        assert dict(mpl.rcParams) == before
    assert plain == changed


def boxes(figure):
    """Return the bounding boxes of the panels with their texts, of the page and of the legends, after layout."""
    with style.context():
        FigureCanvasAgg(figure).draw()  # drawing computes the layout, as saving does
        panels_of_figure = [axes.get_tightbbox() for axes in figure.axes if axes.get_label() != ratio_heatmap.TITLE]
        return panels_of_figure, figure.bbox, [legend.get_window_extent() for legend in figure.legends]


@pytest.mark.parametrize("name", WITH_TRIALS)
def test_texts_do_not_overlap_and_stay_inside_the_page(everything, name):
    panels, page, legends = boxes(figures.FIGURES[name].draw(everything))
    assert not any(legend.overlaps(box) for box in panels for legend in legends)
    assert not any(first.overlaps(second) for first, second in itertools.combinations(panels, 2))
    for box in (*legends, *panels):
        assert box.x0 >= page.x0 - 1
        assert box.y0 >= page.y0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y1 <= page.y1 + 1


def title_boxes(axes):
    """Return the bounding boxes of the left and the right title of a panel."""
    titles = {axes.get_title(loc="left"), axes.get_title(loc="right")} - {""}
    return [text.get_window_extent() for text in axes.findobj(mpl.text.Text) if text.get_text() in titles]


@pytest.mark.parametrize("name", WITH_TRIALS)
def test_notes_do_not_overlap_titles(name):
    """The longest notes occur with unequal numbers of seeds and without dense trials."""
    for results in (unequal(), gaps()):
        try:
            figure = figures.FIGURES[name].draw(results)
        except ValueError:
            continue  # this figure has nothing to draw for results with gaps
        boxes(figure)
        pairs = [pair for axes in figure.axes for pair in itertools.combinations(title_boxes(axes), 2)]
        assert pairs or name in ("ratio_heatmap", "exemplar_images")
        assert not any(first.overlaps(second) for first, second in pairs)


@pytest.mark.parametrize("name", WITH_TRIALS)
def test_all_methods_fit_into_a_figure(name):
    """Legends and labels of 22 methods stay inside the page."""
    names = [name for name in style.SPARSIFIERS if name != "dense"]
    rows = [{**r, "robust_accuracy": r["test_accuracy"] / 2} for r in make_sweep(names, seeds=2)]
    results = results_of(rows)
    panels, page, legends = boxes(figures.FIGURES[name].draw(results))
    assert not any(legend.overlaps(box) for box in panels for legend in legends)
    assert all(page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1 for box in (*panels, *legends))
