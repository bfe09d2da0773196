"""What the other kinds of figure draw, read from their artists, and the numbers behind them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.container import BarContainer, ErrorbarContainer

from sparsweep.analysis import figures
from sparsweep.analysis.figures import style
from sparsweep.analysis.metrics import shallow_minus_deep_density
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.synthetic_tables import ADVERSARIAL, DENSE_FLOPS, make_layer, make_row, make_samples

BARS, FLOPS = figures.variant_bars, figures.accuracy_vs_flops
ROBUST, LAYERS, EFFECT, EXAMPLES = (
    figures.clean_vs_robust,
    figures.layer_density,
    figures.density_effect,
    figures.sample_examples,
)


def trials_of(rows):
    return schemas.build_table("trials", rows).to_pandas()


def layers_of(rows):
    return schemas.build_table("layers", rows).to_pandas()


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend_labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def markers(axes):
    """Label -> container of a method's marker and bars."""
    return {box.get_label(): box for box in axes.containers if isinstance(box, ErrorbarContainer)}


# variant_bars --------------------------------------------------------------------------------------------------------


@pytest.fixture
def variants():
    """Dense and two methods at sparsity .7 and .8; SET gains 3, 4, 5 points (t = 6.9), uniform 30 +- .1."""
    rows = []
    for seed, dense in enumerate((0.50, 0.52, 0.54)):
        rows.append(make_row("dense", 0.0, seed, dense))
        for sparsity in (0.7, 0.8):
            rows.append(make_row("set", sparsity, seed, dense + 0.03 + 0.01 * seed))
            rows.append(make_row("uniform", sparsity, seed, dense - 0.3 - 0.001 * seed))
    return trials_of(rows)


def bars(axes):
    return [box.patches[0] for box in axes.containers if isinstance(box, BarContainer)]


def test_bars_go_from_dense_to_the_mean(variants):
    [axes] = BARS.draw(variants).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["SET", "uniform"]
    assert axes.get_title(loc="left") == "data ratio 0.3, sparsity 0.8"
    first, second = bars(axes)
    assert (first.get_y(), first.get_height()) == pytest.approx((52, 4))
    assert (second.get_y(), second.get_height()) == pytest.approx((52, -30.1))
    assert same_color(first.get_facecolor()[:3], style.of("set").color)
    assert axes.get_title(loc="right") == "n = 3"


def test_seeds_are_dots_and_the_spread_a_whisker(variants):
    [axes] = BARS.draw(variants).axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.sort(dots[0].get_ydata()), [53, 56, 59])
    [whisker] = next(box for box in axes.containers if isinstance(box, ErrorbarContainer))[2]
    assert whisker.get_segments()[0][:, 1] == pytest.approx([56 - 3, 56 + 3])


def test_what_is_significant_after_holm_has_a_star(variants):
    table = BARS.table(variants).set_index("sparsifier")
    assert table.loc["set", "p"] == pytest.approx(0.0203, abs=1e-4)
    assert table.loc["set", "p_holm"] == table.loc["set", "p"]  # the larger of two
    assert table.loc["uniform", "p_holm"] == pytest.approx(2 * table.loc["uniform", "p"])
    figure = BARS.draw(variants)
    assert texts(figure.axes[0]) == ["★", "★"]
    assert "differs from dense" in legend_labels(figure)
    assert "paired by seed, t-test, Holm over 2 bars, 0.05" in " ".join(
        figure.legends[0].get_title().get_text().split()
    )
    none = BARS.draw(variants[variants["seed"] < 2]).axes[0]  # two seeds: 3 and 4 points, p = .09
    assert texts(none) == ["★"]


def test_the_nearest_sparsity_of_each_comparison_is_shown(variants):
    assert set(BARS.table(variants, 0.6)["at_sparsity"]) == {0.7}
    assert set(BARS.table(variants, 0.75)["at_sparsity"]) == {0.7}  # equally near: the lower
    less = variants[(variants["sparsity"] < 0.8) | (variants["sparsifier"] == "uniform")]
    table = BARS.table(less).set_index("sparsifier")
    assert table.loc["set", "n"] == 0 and table.loc["uniform", "n"] == 3


def test_a_missing_method_is_a_hatched_place(variants):
    less = variants[(variants["sparsity"] < 0.8) | (variants["sparsifier"] == "uniform")]
    [axes] = BARS.draw(less).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["SET", "uniform"]
    assert "missing" in legend_labels(BARS.draw(less)) and "missing" not in legend_labels(BARS.draw(variants))
    [place] = [patch for patch in axes.patches if patch.get_hatch() == style.MISSING["hatch"]]
    assert place.get_x() + place.get_width() / 2 == pytest.approx(0)


def test_bars_without_dense_start_at_zero_and_say_so(variants):
    [axes] = BARS.draw(variants[variants["sparsifier"] != "dense"]).axes
    assert bars(axes)[0].get_y() == 0 and bars(axes)[0].get_height() == pytest.approx(56)
    assert axes.get_xlabel() == "no dense trials: bars from 0"


def test_bars_of_one_seed_are_not_tested(variants):
    figure = BARS.draw(variants[variants["seed"] == 0])
    assert "n = 1: no spread" in figure.axes[0].get_title(loc="left") + figure.axes[0].get_title(loc="right")
    assert legend_labels(figure) == ["dense", "a seed"]


# accuracy_vs_flops ---------------------------------------------------------------------------------------------------


def cost_row(sparsifier, sparsity, seed, accuracy, flops, before=0.0):
    return make_row(
        sparsifier,
        sparsity,
        seed,
        accuracy,
        train_flops=flops * DENSE_FLOPS,
        prerequisite_flops=before * DENSE_FLOPS,
        parameters=1000,
        nonzero_parameters=round(1000 * (1 - sparsity)),
    )


@pytest.fixture
def costs():
    """Dense, SET at six sparsities, and LTH that pays for its dense parent."""
    rows = [cost_row("dense", 0.0, seed, 0.60 + 0.02 * seed, 1.0) for seed in (0, 1)]
    for place, sparsity in enumerate((0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):
        rows += [cost_row("set", sparsity, seed, 0.60 + 0.01 * place + 0.02 * seed, 1 - sparsity) for seed in (0, 1)]
    rows += [cost_row("lth", 0.5, seed, 0.70, 0.5, before=1.0) for seed in (0, 1)]
    return trials_of(rows)


def test_flops_are_all_that_a_result_took(costs):
    points = FLOPS.table(costs).set_index(["sparsifier", "sparsity"])
    assert points.loc[("lth", 0.5), "total_flops"] == pytest.approx(1.5 * DENSE_FLOPS)
    assert points.loc[("set", 0.9), "total_flops"] == pytest.approx(0.1 * DENSE_FLOPS)
    assert points.loc[("set", 0.9), "parameter_share"] == pytest.approx(0.1)
    assert points.loc[("set", 0.9), "accuracy_percent"] == pytest.approx(66)
    assert points.loc[("set", 0.9), "std_percent"] == pytest.approx(math.sqrt(2))


def test_the_best_sparsities_of_each_method_are_shown(costs):
    points = FLOPS.table(costs)
    assert sorted(points.loc[points["sparsifier"] == "set", "sparsity"]) == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert len(FLOPS.table(costs, best=1)) == 3


def test_the_front_by_hand(costs):
    """SET .9 is cheapest and better than all that cost more, but for LTH, which is the most accurate of all."""
    points = FLOPS.table(costs)
    front = points.loc[points["on_front"], ["sparsifier", "sparsity"]].to_numpy().tolist()
    assert front == [["lth", 0.5], ["set", 0.9]]
    [axes] = FLOPS.draw(costs).axes
    [stairs] = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    np.testing.assert_allclose(stairs.get_xdata(), np.array([0.1, 1.5, 1.5]) * DENSE_FLOPS)
    np.testing.assert_allclose(stairs.get_ydata(), [66, 70, 70])


def test_equal_points_are_on_the_front_once(costs):
    twin = costs[costs["sparsifier"] == "lth"].assign(sparsifier="omp")
    points = FLOPS.table(pd.concat([costs, twin.assign(trial="x" + twin["trial"])]))
    assert points["on_front"].sum() == 2


def test_markers_grow_with_the_parameters(costs):
    [axes] = FLOPS.draw(costs).axes
    sizes = {box.get_label(): box.get_sizes() for box in axes.collections if box.get_label() in ("dense", "SET")}
    assert (np.diff(sizes["SET"]) < 0).all()  # ascending sparsity
    assert sizes["dense"][0] > sizes["SET"].max()
    assert axes.get_xscale() == "log"
    assert {"Pareto front", "10 % of the parameters", "LTH"} <= set(legend_labels(FLOPS.draw(costs)))


def test_flops_of_unknown_prerequisites_are_not_guessed(costs):
    costs.loc[costs["sparsifier"] == "lth", "prerequisite_flops"] = math.nan
    assert "lth" not in set(FLOPS.table(costs)["sparsifier"])
    costs["prerequisite_flops"] = math.nan
    with pytest.raises(ValueError, match=r"FLOPs of its prerequisites \(tables of version 1 do not have them\)"):
        FLOPS.table(costs)


# clean_vs_robust -----------------------------------------------------------------------------------------------------


@pytest.fixture
def attacked():
    rows = []
    arms = (("dense", 0.0, 0.8, 0.4), ("set", 0.9, 0.81, 0.45), ("lth", 0.8, 0.7, 0.3))
    for seed in (0, 1):
        for method, sparsity, clean, robust in arms:
            row = make_row(method, sparsity, seed, robust + 0.02 * seed, **ADVERSARIAL)
            rows.append({**row, "clean_accuracy": clean + 0.01 * seed, "robust_accuracy": robust + 0.02 * seed})
    return trials_of(rows)


def test_markers_stand_at_clean_and_robust_accuracy(attacked):
    [axes] = ROBUST.draw(attacked).axes
    line, _, [across, upright] = markers(axes)["SET"]
    assert (line.get_xdata()[0], line.get_ydata()[0]) == pytest.approx((81.5, 46))
    assert np.ptp(across.get_segments()[0][:, 0]) == pytest.approx(2 * math.sqrt(0.5))
    assert np.ptp(upright.get_segments()[0][:, 1]) == pytest.approx(2 * math.sqrt(2))
    assert same_color(line.get_color(), style.of("set").color)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("clean accuracy (%)", "accuracy under attack (%)")


def test_dense_is_a_cross_of_lines(attacked):
    [axes] = ROBUST.draw(attacked).axes
    across, upright = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert list(across.get_ydata()) == pytest.approx([41, 41])
    assert list(upright.get_xdata()) == pytest.approx([80.5, 80.5])


def test_a_method_that_was_not_run_at_this_sparsity_is_named(attacked):
    figure = ROBUST.draw(attacked)
    assert texts(figure.axes[0]) == ["missing: LTH"]
    assert legend_labels(figure) == ["dense", "SET"]
    assert figure.axes[0].get_title(loc="left") == "data ratio 0.3, sparsity 0.9"


def test_without_attack_there_is_nothing_to_draw(comparison):
    with pytest.raises(ValueError, match="evaluated under attack"):
        ROBUST.draw(comparison)


# layer_density and density_effect ------------------------------------------------------------------------------------


@pytest.fixture
def layered():
    """SET tilted by .4, LTH flat; three convolutions and a linear layer; SET gains 4 points and LTH loses 2."""
    trials, layers = [], []
    for seed in (0, 1):
        trials.append(make_row("dense", 0.0, seed, 0.5 + 0.01 * seed))
        for method, gain, densities in (("set", 0.04, (0.4, 0.2, 0.0)), ("lth", -0.02, (0.2, 0.2, 0.2))):
            row = make_row(method, 0.8, seed, 0.5 + 0.01 * seed + gain)
            trials.append(row)
            layers += [make_layer(row["trial"], place, d + 0.1 * seed) for place, d in enumerate(densities)]
            layers.append(make_layer(row["trial"], 3, 0.9, kind="linear"))
    return trials_of(trials), layers_of(layers)


def test_densities_of_the_layers_are_drawn_in_order(layered):
    [axes] = LAYERS.draw(*layered).axes
    line, _, [bars] = markers(axes)["SET"]
    np.testing.assert_allclose(line.get_ydata(), [0.45, 0.25, 0.05, 0.9])
    np.testing.assert_allclose(np.round(line.get_xdata()), [1, 2, 3, 4])
    assert np.ptp(bars.get_segments()[0][:, 1]) == pytest.approx(2 * 0.1 / math.sqrt(2))
    [whole] = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert whole.get_ydata()[0] == pytest.approx(0.2)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["layer0", "layer1", "layer2", "layer3"]
    table = LAYERS.table(*layered)
    assert list(table["number"].unique()) == [1, 2, 3, 4]
    assert table.loc[table["kind"] == "linear", "convolution"].isna().all()


def test_shortcuts_are_not_joined_into_the_line(layered):
    trials, layers = layered
    layers = layers.replace({"layer": {"layer1.weight": "layer2.0.shortcut.0.weight"}})
    [axes] = LAYERS.draw(trials, layers).axes
    path = markers(axes)["SET"][0]
    np.testing.assert_allclose(np.round(path.get_xdata()), [1, 3, 4])
    beside = [box.lines[0] for box in axes.containers if box.lines[0].get_linestyle() == "None"]
    assert [list(np.round(line.get_xdata())) for line in beside] == [[2], [2]]
    assert "layer2.0.shortcut.0" in [tick.get_text() for tick in axes.get_xticklabels()]


def test_a_network_without_convolutions_has_layers_and_a_contrast(layered):
    trials, layers = layered
    layers = layers.assign(kind="linear")
    assert (LAYERS.table(trials, layers)["n"] > 0).all()
    points = EFFECT.table(trials, layers).set_index("sparsifier")
    assert points.loc["set", "contrast"] == pytest.approx(0.4 + 0.05 - 0.9)  # the first and the last of four
    one = layers[layers["position"] == 0]
    with pytest.raises(ValueError, match="layers to compare"):
        EFFECT.draw(trials, one)


def test_equal_densities_do_not_hide_each_other(layered):
    trials, layers = layered
    twin = trials[trials["sparsifier"] == "set"].assign(sparsifier="random")
    more = layers[layers["trial"].isin(twin["trial"])].assign(trial=lambda rows: "x" + rows["trial"])
    both = pd.concat([trials, twin.assign(trial="x" + twin["trial"])]), pd.concat([layers, more])
    found = markers(LAYERS.draw(*both).axes[0])
    assert (found["random (ERK)"][0].get_xdata() > found["SET"][0].get_xdata()).all()
    np.testing.assert_allclose(found["random (ERK)"][0].get_ydata(), found["SET"][0].get_ydata())


def test_a_method_without_layers_is_named_missing(layered):
    trials, layers = layered
    lost = trials.loc[trials["sparsifier"] == "lth", "trial"]
    figure = LAYERS.draw(trials, layers[~layers["trial"].isin(lost)])
    assert texts(figure.axes[0]) == ["missing: LTH"]
    assert legend_labels(figure) == ["SET"]
    with pytest.raises(ValueError, match=r"results/layers has none of these trials"):
        LAYERS.draw(trials, layers.head(0))


def test_depth_contrast_by_hand():
    densities = {"a": (0.9, 0.7, 0.3, 0.3, 0.2, 0.0), "b": (0.5,), "c": (0.6, 0.1)}
    layers = [make_layer(trial, place, d) for trial, row in densities.items() for place, d in enumerate(row)]
    layers.append(make_layer("a", 6, 1.0, kind="linear"))
    found = shallow_minus_deep_density(layers_of(layers))
    assert found["a"] == pytest.approx(0.8 - 0.1)
    assert math.isnan(found["b"])
    assert found["c"] == pytest.approx(0.5)


def test_the_effect_of_depth_is_a_line_through_the_methods(layered):
    points = EFFECT.table(*layered).set_index("sparsifier")
    assert points.loc["set", "contrast"] == pytest.approx(0.4)
    assert points.loc["set", "difference_points"] == pytest.approx(4)
    figure = EFFECT.draw(*layered)
    assert texts(figure.axes[0]) == ["no slope: fewer than three methods"]
    assert points["slope"].isna().all()


def test_the_slope_has_students_interval(layered):
    """Through (0, -2), (.2, 4) and (.4, 4): 15 points a unit, off by -1, 2 and -1, with one degree of freedom."""
    trials, layers = layered
    rows = [make_row("omp", 0.8, seed, 0.54 + 0.01 * seed) for seed in (0, 1)]
    more = [make_layer(row["trial"], place, d) for row in rows for place, d in enumerate((0.3, 0.2, 0.1))]
    three = pd.concat([trials, trials_of(rows)]), pd.concat([layers, layers_of(more)])
    half = 12.7062 * math.sqrt((1 + 4 + 1) / (0.2**2 + 0.2**2))
    [line] = EFFECT.table(*three)[["slope", "slope_low", "slope_high"]].drop_duplicates().to_numpy()
    assert list(line) == pytest.approx([15, 15 - half, 15 + half], rel=1e-4)
    [axes] = EFFECT.draw(*three).axes
    assert texts(axes) == ["+1.50 [−9.50, +12.50] points per 0.1 (3 methods)"]
    [drawn] = [found for found in axes.lines if same_color(found.get_color(), style.MUTED)]
    assert list(drawn.get_ydata()) == pytest.approx([-1, 5])


def test_methods_of_one_contrast_have_no_slope(layered):
    trials, layers = layered
    ours = trials[trials["sparsifier"] != "lth"]
    more = [make_row(name, 0.8, seed, 0.5) for name in ("omp", "gmp") for seed in (0, 1)]
    tilted = [make_layer(row["trial"], place, d) for row in more for place, d in enumerate((0.4, 0.2, 0.0))]
    figure = EFFECT.draw(pd.concat([ours, trials_of(more)]), pd.concat([layers, layers_of(tilted)]))
    assert texts(figure.axes[0]) == ["no slope: methods of one contrast"]


# sample_examples -----------------------------------------------------------------------------------------------------


def test_images_stand_in_rows_of_classes_the_hardest_first():
    figure = EXAMPLES.draw(make_samples(classes=2, each=3))
    [part] = figure.subfigs
    shades = [axes.images[0].get_array()[0, 0] for axes in part.axes]
    assert shades == [0, 25, 51, 255, 230, 204] * 2  # hardest: scores 1, .9, .8; easiest: 0, .1, .2
    assert [axes.get_title() for axes in part.axes][:6] == [
        f"{score} ± 0.05" for score in ("1.00", "0.90", "0.80", "0.00", "0.10", "0.20")
    ]
    said = [text.get_text() for text in part.texts]
    assert part.get_suptitle().count("\n") == 1
    assert {"apple", "aquarium\nfish", "hardest", "easiest"} <= set(said)
    told = " ".join(part.get_suptitle().split())
    assert told == "digits: training images by EL2N (mean ± standard deviation, n = 4 networks)"


def test_each_ranking_has_its_own_part():
    other = make_samples().assign(name="grand", n=1, std=math.nan)
    figure = EXAMPLES.draw(pd.concat([make_samples(), other], ignore_index=True))
    assert figure.subfigs[1].axes[0].get_title() == "1.00"
    assert [" ".join(part.get_suptitle().split()) for part in figure.subfigs] == [
        "digits: training images by EL2N (mean ± standard deviation, n = 4 networks)",
        "digits: training images by GraNd (one network, no spread)",
    ]


def test_colour_images_are_shown_in_colour():
    samples = make_samples(classes=1, each=1)
    samples["image"] = [np.zeros((4, 4, 3), dtype=np.uint8) + np.array([255, 0, 0], dtype=np.uint8)] * 2
    axes = EXAMPLES.draw(samples).subfigs[0].axes[0]
    assert axes.images[0].get_array().shape == (4, 4, 3)


# Results -------------------------------------------------------------------------------------------------------------


def test_a_frame_of_trials_stands_for_results(comparison):
    kind = figures.FIGURES["accuracy_vs_sparsity"]
    pd.testing.assert_frame_equal(kind.table(comparison), kind.table(Results(comparison)))
    with pytest.raises(ValueError, match=r"results/layers has none"):
        figures.FIGURES["layer_density"].draw(comparison)


def test_a_choice_of_trials_takes_their_layers_along(everything):
    chosen = everything.where_rows(everything.trials["sparsifier"] == "set")
    assert set(chosen.trials["sparsifier"]) == {"set"}
    assert set(chosen.layers["trial"]) == set(chosen.trials["trial"])
    assert len(chosen.samples) == len(everything.samples)
