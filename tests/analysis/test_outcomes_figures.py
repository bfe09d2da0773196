"""Artists of the figures of per-sample outcomes, and the numbers in their tables."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from sparsweep.analysis import figures
from sparsweep.analysis.example_images import dataset_json, load_test_images
from sparsweep.analysis.figures import fonts, style
from sparsweep.analysis.outcomes import exemplars, flips, hardness
from sparsweep.trainables.data.base import datasets
from support.synthetic_outcomes import make_outcomes
from support.synthetic_tables import make_sweep, results_of

KINDS = ("hardness_deciles", "easy_forgetting", "sample_flips", "class_accuracy", "agreement", "exemplar_images")
RANKS = list(range(1, 11))


@pytest.fixture(scope="module")
def results():
    """Dense, SET and SNIP at two sparsities with three seeds; two seeds of SET are under-trained."""
    rows = make_sweep(("set", "snip"), (0.5, 0.9), (0.3,), seeds=3)
    return results_of([{**row, "undertrained": row["sparsifier"] == "set" and row["seed"] < 2} for row in rows])


def draw(name, results):
    return figures.FIGURES[name].draw(results)


def line_of(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def rings(axes):
    return [line for line in axes.lines if line.get_markeredgecolor() == style.UNDERTRAINED["markeredgecolor"]]


def test_hardness_deciles_are_accuracy_above_and_difference_below(results):
    above, below = draw("hardness_deciles", results).axes
    assert above.get_title(loc="left") == "data ratio 0.3, sparsity 0.9"
    matrix = results.outcomes["test"][0]
    expected = hardness.accuracy_by_decile(matrix, results.trials, hardness.dense_hardness(matrix, results.trials))
    expected = expected[(expected["sparsifier"] == "set") & (expected["sparsity"] == 0.9)]
    for axes, name in ((above, "mean"), (below, "difference")):
        line = line_of(axes, "SET")
        assert list(line.get_xdata()) == RANKS
        np.testing.assert_allclose(line.get_ydata(), 100 * expected[name])
    assert len(above.collections) == 3 and len(below.collections) == 2  # bands: dense has no difference
    assert [len(rings(axes)) for axes in (above, below)] == [1, 1]
    assert below.get_xlabel() and not above.get_xlabel()
    table = figures.FIGURES["hardness_deciles"].table(results)
    assert set(table.loc[table["sparsifier"] == "dense", "pairs"]) == {0}
    assert {"accuracy_percent", "difference_points", "low_points", "high_points"} <= set(table.columns)


def test_flips_are_drawn_over_sparsity_with_the_noise_floor(results):
    above, below = draw("sample_flips", results).axes
    expected = flips.flips(results.outcomes["test"][0], results.trials)
    expected = expected[expected["sparsifier"] == "set"]
    for axes, name in ((above, "lost"), (below, "gained")):
        [box] = [b for b in axes.containers if isinstance(b, ErrorbarContainer) and b.get_label() == "SET"]
        np.testing.assert_allclose(box.lines[0].get_ydata(), 100 * expected[name])
        [floor] = [line for line in axes.lines if line.get_color() == style.MUTED]
        assert floor.get_ydata()[0] == pytest.approx(100 * expected["floor"].iloc[0])
    assert (above.get_ylabel(), below.get_ylabel()) == ("images lost (%)", "images gained (%)")


def test_classes_are_sorted_by_difference_and_the_worst_is_marked(results):
    [axes] = draw("class_accuracy", results).axes
    line = line_of(axes, "SET")
    assert list(line.get_xdata()) == RANKS
    assert (np.diff(line.get_ydata()) >= 0).all()
    table = figures.FIGURES["class_accuracy"].table(results)
    own = table[table["sparsifier"] == "set"]
    [worst] = own[own["worst"]].to_dict("records")
    assert worst["accuracy_percent"] == own["accuracy_percent"].min()
    assert line.get_markevery() == [worst["rank"] - 1]
    assert "dense" not in set(table["sparsifier"])


def test_agreement_is_a_lower_triangle_with_seeds_on_the_diagonal(results):
    axes = draw("agreement", results).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == 3 + 3  # dense, SNIP and SET
    table = figures.FIGURES["agreement"].table(results).set_index(["sparsifier", "other_sparsifier"])
    assert texts[0] == f"{table.loc[('dense', 'dense'), 'kappa']:.2f}"
    assert sum(text.endswith(style.DAGGER) for text in texts) == 3  # SET with dense, SNIP and itself
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["dense", "SNIP", "SET"]
    assert len(table) == 9


def test_one_seed_has_no_baseline_of_agreement():
    axes = draw("agreement", results_of(make_sweep(("set",), (0.9,), (0.3,), seeds=1))).axes[0]
    assert len(axes.texts) == 1


def test_thirds_are_drawn_over_data_ratios_with_their_reference():
    results = results_of(make_sweep(("set",), (0.9,), (0.3, 1.0), seeds=2))
    figure = draw("easy_forgetting", results)
    above, below = figure.axes
    table = figures.FIGURES["easy_forgetting"].table(results)
    for axes, third in ((above, "easiest"), (below, "hardest")):
        [box] = [b for b in axes.containers if isinstance(b, ErrorbarContainer) and b.get_label() == "SET"]
        own = table[(table["sparsifier"] == "set") & (table["third"] == third)]
        np.testing.assert_allclose(box.lines[0].get_ydata(), own["accuracy_percent"])
    title = " ".join(figure.legends[0].get_title().get_text().split())
    assert title.endswith("hardness for dense networks trained on: all data")


def test_exemplars_on_which_seeds_agree_come_first(results):
    table = figures.FIGURES["exemplar_images"].table(results)
    own = table[table["sparsifier"] == "snip"]
    assert set(table["sparsity"]) == {0.9} and list(own["rank"]) == list(range(6))
    assert (np.diff(own["dense_agreement"] + own["sparse_agreement"]) <= 0).all()
    shares = exemplars.exemplar_shares(results.outcomes["test"][0], results.trials)
    [share] = shares.loc[(shares["sparsifier"] == "snip") & (shares["sparsity"] == 0.9), "share"]
    part = draw("exemplar_images", results).subfigs[0]
    assert len(part.axes) == 12
    said = [text.get_text() for text in part.texts if text.get_text() != part.get_suptitle()]
    assert said[0] == f"SNIP\nsparsity 0.9\n{100 * share:.1f} % differ\nn = 3"
    assert said[1].startswith(f"SET{style.DAGGER}\n")
    [images] = results.test_images.values()
    np.testing.assert_array_equal(part.axes[0].images[0].get_array(), images.images[own["sample"].iloc[0]])
    classes = [int(own[name].iloc[0]) for name in ("dense_mode", "sparse_mode")]
    for label, own_class in zip(part.axes[0].get_xlabel().splitlines(), classes, strict=False):
        name = images.class_names[own_class].replace("_", " ")
        assert label == (str(own_class) if fonts.lacking(name) else name)  # fonts without its letters show the number


def test_images_of_the_samples_shown_are_enough(results):
    wanted = figures.exemplar_images.wanted(results.trials, results.outcomes)
    [(key, samples)] = wanted.items()
    whole = results.test_images[key]
    few = replace(whole, samples=samples, images=whole.images[samples])
    pixels = [
        [axes.images[0].get_array().tolist() for axes in draw("exemplar_images", part).subfigs[0].axes]
        for part in (results, replace(results, test_images={key: few}))
    ]
    assert pixels[0] == pixels[1]
    with pytest.raises(ValueError, match=r"^no test images"):
        draw("exemplar_images", replace(results, test_images={}))


def test_test_images_are_loaded_as_stored(caplog):
    key, missing = dataset_json("digits", "{}"), dataset_json("imagefolder", '{"path": "/nowhere"}')
    found = load_test_images({key: np.array([2, 5]), missing: np.array([0])})
    assert list(found) == [key]
    data = datasets.parse(json.loads(key)).load()
    np.testing.assert_array_equal(found[key].images, data.test_images[[2, 5]].transpose(0, 2, 3, 1))
    assert len(found[key].class_names) == 10
    assert "example images are left out" in caplog.text


@pytest.mark.parametrize("name", KINDS)
def test_trials_without_outcomes_raise_with_the_fix(results, name):
    for outcomes in ({}, {"train": results.outcomes["test"]}, {"test": (make_outcomes([]),)}):
        with pytest.raises(
            ValueError, match=r"^no trial has per-sample outcomes: add evaluation: \{outcomes: \[test\]\}"
        ):
            draw(name, replace(results, outcomes=outcomes))


@pytest.mark.parametrize("name", sorted({*KINDS} - {"agreement"}))
def test_missing_dense_raises_with_the_reason(results, name):
    with pytest.raises(ValueError, match=r"^no (dense|sparse) trial .*dense"):
        draw(name, results.where(lambda trials: trials["sparsifier"] != "dense"))


@pytest.mark.parametrize("name", KINDS)
def test_figures_state_under_trained_networks(results, name):
    texts = [t.get_text() for t in draw(name, results).findobj(match=lambda artist: hasattr(artist, "get_text"))]
    assert any(text.startswith("under-trained: ") for text in texts)


def test_one_seed_draws_flips_without_floor():
    results = results_of(make_sweep(("set",), (0.9,), (0.3,), seeds=1))
    assert math.isnan(figures.FIGURES["sample_flips"].table(results)["floor_percent"].item())
    assert not [line for line in draw("sample_flips", results).axes[0].lines if line.get_color() == style.MUTED]
