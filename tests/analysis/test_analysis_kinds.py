"""Artists of the other kinds of figure, and the numbers in their tables."""

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
    """Return the containers of markers and error bars by method label."""
    return {box.get_label(): box for box in axes.containers if isinstance(box, ErrorbarContainer)}


# variant_bars --------------------------------------------------------------------------------------------------------


@pytest.fixture
def variants():
    """Dense and two methods at sparsity 0.7 and 0.8. SET gains 3, 4, 5 points (t = 6.9), uniform loses 30 +- 0.1."""
    rows = []
    for seed, dense in enumerate((0.50, 0.52, 0.54)):
        rows.append(make_row("dense", 0.0, seed, dense))
        for sparsity in (0.7, 0.8):
            rows.append(make_row("set", sparsity, seed, dense + 0.03 + 0.01 * seed))
            rows.append(make_row("uniform", sparsity, seed, dense - 0.3 - 0.001 * seed))
    return trials_of(rows)


def bars(axes):
    return [box.patches[0] for box in axes.containers if isinstance(box, BarContainer)]


def test_bars_extend_from_dense_to_the_mean(variants):
    [axes] = BARS.draw(variants).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["SET", "uniform"]
    assert axes.get_title(loc="left") == "data ratio 0.3, sparsity 0.8"
    first, second = bars(axes)
    assert (first.get_y(), first.get_height()) == pytest.approx((52, 4))
    assert (second.get_y(), second.get_height()) == pytest.approx((52, -30.1))
    assert same_color(first.get_facecolor()[:3], style.of("set").color)
    assert axes.get_title(loc="right") == "n = 3"


def test_seeds_are_dots_and_the_standard_deviation_is_a_whisker(variants):
    [axes] = BARS.draw(variants).axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.sort(dots[0].get_ydata()), [53, 56, 59])
    [whisker] = next(box for box in axes.containers if isinstance(box, ErrorbarContainer))[2]
    assert whisker.get_segments()[0][:, 1] == pytest.approx([56 - 3, 56 + 3])


def test_bars_significant_after_holm_have_a_star(variants):
    table = BARS.table(variants).set_index("sparsifier")
    assert table.loc["set", "p"] == pytest.approx(0.0203, abs=1e-4)
    assert table.loc["set", "p_holm"] == table.loc["set", "p"]  # Holm multiplies the larger of two p-values by 1
    assert table.loc["uniform", "p_holm"] == pytest.approx(2 * table.loc["uniform", "p"])
    figure = BARS.draw(variants)
    assert texts(figure.axes[0]) == ["★", "★"]
    assert "differs from dense" in legend_labels(figure)
    assert "paired by seed, t-test, Holm over 2 bars, 0.05" in " ".join(
        figure.legends[0].get_title().get_text().split()
    )
    none = BARS.draw(variants[variants["seed"] < 2]).axes[0]  # two seeds: 3 and 4 points, p = 0.09
    assert texts(none) == ["★"]


def test_nearest_sparsity_of_each_comparison_is_shown(variants):
    assert set(BARS.table(variants, 0.6)["at_sparsity"]) == {0.7}
    assert set(BARS.table(variants, 0.75)["at_sparsity"]) == {0.7}  # of two equally near sparsities the lower one
    reduced = variants[(variants["sparsity"] < 0.8) | (variants["sparsifier"] == "uniform")]
    table = BARS.table(reduced).set_index("sparsifier")
    assert table.loc["set", "n"] == 0 and table.loc["uniform", "n"] == 3


def test_missing_method_is_hatched(variants):
    reduced = variants[(variants["sparsity"] < 0.8) | (variants["sparsifier"] == "uniform")]
    [axes] = BARS.draw(reduced).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["SET", "uniform"]
    assert "missing" in legend_labels(BARS.draw(reduced)) and "missing" not in legend_labels(BARS.draw(variants))
    [patch] = [patch for patch in axes.patches if patch.get_hatch() == style.MISSING["hatch"]]
    assert patch.get_x() + patch.get_width() / 2 == pytest.approx(0)


def test_bars_without_dense_start_at_zero_with_a_note(variants):
    [axes] = BARS.draw(variants[variants["sparsifier"] != "dense"]).axes
    assert bars(axes)[0].get_y() == 0 and bars(axes)[0].get_height() == pytest.approx(56)
    assert axes.get_xlabel() == "no dense trials: bars from 0"


def test_bars_of_one_seed_are_not_tested(variants):
    figure = BARS.draw(variants[variants["seed"] == 0])
    assert "n = 1: no spread" in figure.axes[0].get_title(loc="left") + figure.axes[0].get_title(loc="right")
    assert legend_labels(figure) == ["dense", "a seed"]


# accuracy_vs_flops ---------------------------------------------------------------------------------------------------


def cost_row(sparsifier, sparsity, seed, accuracy, flops, prerequisite_flops=0.0):
    return make_row(
        sparsifier,
        sparsity,
        seed,
        accuracy,
        train_flops=flops * DENSE_FLOPS,
        prerequisite_flops=prerequisite_flops * DENSE_FLOPS,
        parameters=1000,
        nonzero_parameters=round(1000 * (1 - sparsity)),
    )


@pytest.fixture
def costs():
    """Dense, SET at six sparsities, and LTH with the cost of its dense prerequisite."""
    rows = [cost_row("dense", 0.0, seed, 0.60 + 0.02 * seed, 1.0) for seed in (0, 1)]
    for index, sparsity in enumerate((0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):
        rows += [cost_row("set", sparsity, seed, 0.60 + 0.01 * index + 0.02 * seed, 1 - sparsity) for seed in (0, 1)]
    rows += [cost_row("lth", 0.5, seed, 0.70, 0.5, prerequisite_flops=1.0) for seed in (0, 1)]
    return trials_of(rows)


def test_total_flops_include_prerequisites(costs):
    points = FLOPS.table(costs).set_index(["sparsifier", "sparsity"])
    assert points.loc[("lth", 0.5), "total_flops"] == pytest.approx(1.5 * DENSE_FLOPS)
    assert points.loc[("set", 0.9), "total_flops"] == pytest.approx(0.1 * DENSE_FLOPS)
    assert points.loc[("set", 0.9), "parameter_share"] == pytest.approx(0.1)
    assert points.loc[("set", 0.9), "accuracy_percent"] == pytest.approx(66)
    assert points.loc[("set", 0.9), "std_percent"] == pytest.approx(math.sqrt(2))


def test_best_sparsities_of_each_method_are_shown(costs):
    points = FLOPS.table(costs)
    assert sorted(points.loc[points["sparsifier"] == "set", "sparsity"]) == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert len(FLOPS.table(costs, best=1)) == 3


def test_pareto_front_matches_worked_example(costs):
    """SET at 0.9 is the cheapest and beats everything more expensive except LTH, which has the highest accuracy."""
    points = FLOPS.table(costs)
    front = points.loc[points["on_front"], ["sparsifier", "sparsity"]].to_numpy().tolist()
    assert front == [["lth", 0.5], ["set", 0.9]]
    [axes] = FLOPS.draw(costs).axes
    [step_line] = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    np.testing.assert_allclose(step_line.get_xdata(), np.array([0.1, 1.5, 1.5]) * DENSE_FLOPS)
    np.testing.assert_allclose(step_line.get_ydata(), [66, 70, 70])


def test_equal_points_are_on_the_pareto_front_once(costs):
    duplicate = costs[costs["sparsifier"] == "lth"].assign(sparsifier="omp")
    points = FLOPS.table(pd.concat([costs, duplicate.assign(trial="x" + duplicate["trial"])]))
    assert points["on_front"].sum() == 2


def test_marker_size_grows_with_the_number_of_parameters(costs):
    [axes] = FLOPS.draw(costs).axes
    sizes = {box.get_label(): box.get_sizes() for box in axes.collections if box.get_label() in ("dense", "SET")}
    assert (np.diff(sizes["SET"]) < 0).all()  # sizes are in order of ascending sparsity
    assert sizes["dense"][0] > sizes["SET"].max()
    assert axes.get_xscale() == "log"
    assert {"Pareto front", "10 % of the parameters", "LTH"} <= set(legend_labels(FLOPS.draw(costs)))


def test_trials_with_unknown_prerequisite_flops_are_excluded(costs):
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


def test_markers_are_at_clean_and_robust_accuracy(attacked):
    [axes] = ROBUST.draw(attacked).axes
    line, _, [horizontal, vertical] = markers(axes)["SET"]
    assert (line.get_xdata()[0], line.get_ydata()[0]) == pytest.approx((81.5, 46))
    assert np.ptp(horizontal.get_segments()[0][:, 0]) == pytest.approx(2 * math.sqrt(0.5))
    assert np.ptp(vertical.get_segments()[0][:, 1]) == pytest.approx(2 * math.sqrt(2))
    assert same_color(line.get_color(), style.of("set").color)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("clean accuracy (%)", "accuracy under attack (%)")


def test_dense_is_a_horizontal_and_a_vertical_line(attacked):
    [axes] = ROBUST.draw(attacked).axes
    horizontal, vertical = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert list(horizontal.get_ydata()) == pytest.approx([41, 41])
    assert list(vertical.get_xdata()) == pytest.approx([80.5, 80.5])


def test_method_missing_at_this_sparsity_is_named(attacked):
    figure = ROBUST.draw(attacked)
    assert texts(figure.axes[0]) == ["missing: LTH"]
    assert legend_labels(figure) == ["dense", "SET"]
    assert figure.axes[0].get_title(loc="left") == "data ratio 0.3, sparsity 0.9"


def test_trials_without_attack_raise(comparison):
    with pytest.raises(ValueError, match="evaluated under attack"):
        ROBUST.draw(comparison)


# layer_density and density_effect ------------------------------------------------------------------------------------


@pytest.fixture
def layered():
    """Three convolutions and a linear layer. SET has a tilt of 0.4 and gains 4 points. LTH is flat and loses 2."""
    trials, layers = [], []
    for seed in (0, 1):
        trials.append(make_row("dense", 0.0, seed, 0.5 + 0.01 * seed))
        for method, gain, densities in (("set", 0.04, (0.4, 0.2, 0.0)), ("lth", -0.02, (0.2, 0.2, 0.2))):
            row = make_row(method, 0.8, seed, 0.5 + 0.01 * seed + gain)
            trials.append(row)
            layers += [make_layer(row["trial"], index, d + 0.1 * seed) for index, d in enumerate(densities)]
            layers.append(make_layer(row["trial"], 3, 0.9, kind="linear"))
    return trials_of(trials), layers_of(layers)


def test_layer_densities_are_drawn_in_order(layered):
    [axes] = LAYERS.draw(*layered).axes
    line, _, [bars] = markers(axes)["SET"]
    np.testing.assert_allclose(line.get_ydata(), [0.45, 0.25, 0.05, 0.9])
    np.testing.assert_allclose(np.round(line.get_xdata()), [1, 2, 3, 4])
    assert np.ptp(bars.get_segments()[0][:, 1]) == pytest.approx(2 * 0.1 / math.sqrt(2))
    [mean_density] = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert mean_density.get_ydata()[0] == pytest.approx(0.2)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["layer0", "layer1", "layer2", "layer3"]
    table = LAYERS.table(*layered)
    assert list(table["number"].unique()) == [1, 2, 3, 4]
    assert table.loc[table["kind"] == "linear", "convolution"].isna().all()


def test_shortcut_layers_are_not_part_of_the_line(layered):
    trials, layers = layered
    layers = layers.replace({"layer": {"layer1.weight": "layer2.0.shortcut.0.weight"}})
    [axes] = LAYERS.draw(trials, layers).axes
    path = markers(axes)["SET"][0]
    np.testing.assert_allclose(np.round(path.get_xdata()), [1, 3, 4])
    shortcuts = [box.lines[0] for box in axes.containers if box.lines[0].get_linestyle() == "None"]
    assert [list(np.round(line.get_xdata())) for line in shortcuts] == [[2], [2]]
    assert "layer2.0.shortcut.0" in [tick.get_text() for tick in axes.get_xticklabels()]


def test_network_without_convolutions_has_densities_and_a_contrast(layered):
    trials, layers = layered
    layers = layers.assign(kind="linear")
    assert (LAYERS.table(trials, layers)["n"] > 0).all()
    points = EFFECT.table(trials, layers).set_index("sparsifier")
    assert points.loc["set", "contrast"] == pytest.approx(0.4 + 0.05 - 0.9)  # first minus last layer
    first_layers = layers[layers["position"] == 0]
    with pytest.raises(ValueError, match="layers to compare"):
        EFFECT.draw(trials, first_layers)


def test_methods_with_equal_densities_are_shifted_apart(layered):
    trials, layers = layered
    duplicate = trials[trials["sparsifier"] == "set"].assign(sparsifier="random")
    more = layers[layers["trial"].isin(duplicate["trial"])].assign(trial=lambda rows: "x" + rows["trial"])
    both = pd.concat([trials, duplicate.assign(trial="x" + duplicate["trial"])]), pd.concat([layers, more])
    containers = markers(LAYERS.draw(*both).axes[0])
    assert (containers["random (ERK)"][0].get_xdata() > containers["SET"][0].get_xdata()).all()
    np.testing.assert_allclose(containers["random (ERK)"][0].get_ydata(), containers["SET"][0].get_ydata())


def test_method_without_layers_is_named_missing(layered):
    trials, layers = layered
    removed = trials.loc[trials["sparsifier"] == "lth", "trial"]
    figure = LAYERS.draw(trials, layers[~layers["trial"].isin(removed)])
    assert texts(figure.axes[0]) == ["missing: LTH"]
    assert legend_labels(figure) == ["SET"]
    with pytest.raises(ValueError, match=r"results/layers has none of these trials"):
        LAYERS.draw(trials, layers.head(0))


def test_depth_contrast_matches_worked_example():
    densities = {"a": (0.9, 0.7, 0.3, 0.3, 0.2, 0.0), "b": (0.5,), "c": (0.6, 0.1)}
    layers = [make_layer(trial, index, d) for trial, row in densities.items() for index, d in enumerate(row)]
    layers.append(make_layer("a", 6, 1.0, kind="linear"))
    contrasts = shallow_minus_deep_density(layers_of(layers))
    assert contrasts["a"] == pytest.approx(0.8 - 0.1)
    assert math.isnan(contrasts["b"])
    assert contrasts["c"] == pytest.approx(0.5)


def test_two_methods_have_no_depth_slope(layered):
    points = EFFECT.table(*layered).set_index("sparsifier")
    assert points.loc["set", "contrast"] == pytest.approx(0.4)
    assert points.loc["set", "difference_points"] == pytest.approx(4)
    figure = EFFECT.draw(*layered)
    assert texts(figure.axes[0]) == ["no slope: fewer than three methods"]
    assert points["slope"].isna().all()


def test_slope_has_a_student_t_interval(layered):
    """Fit through (0, -2), (0.2, 4) and (0.4, 4): slope 15, residuals -1, 2 and -1, one degree of freedom."""
    trials, layers = layered
    rows = [make_row("omp", 0.8, seed, 0.54 + 0.01 * seed) for seed in (0, 1)]
    more = [make_layer(row["trial"], index, d) for row in rows for index, d in enumerate((0.3, 0.2, 0.1))]
    three_methods = pd.concat([trials, trials_of(rows)]), pd.concat([layers, layers_of(more)])
    half_width = 12.7062 * math.sqrt((1 + 4 + 1) / (0.2**2 + 0.2**2))
    [line] = EFFECT.table(*three_methods)[["slope", "slope_low", "slope_high"]].drop_duplicates().to_numpy()
    assert list(line) == pytest.approx([15, 15 - half_width, 15 + half_width], rel=1e-4)
    [axes] = EFFECT.draw(*three_methods).axes
    assert texts(axes) == ["+1.50 [−9.50, +12.50] points per 0.1 (3 methods)"]
    [fit] = [line for line in axes.lines if same_color(line.get_color(), style.MUTED)]
    assert list(fit.get_ydata()) == pytest.approx([-1, 5])


def test_methods_with_equal_contrasts_have_no_slope(layered):
    trials, layers = layered
    without_lth = trials[trials["sparsifier"] != "lth"]
    more = [make_row(name, 0.8, seed, 0.5) for name in ("omp", "gmp") for seed in (0, 1)]
    tilted_layers = [make_layer(row["trial"], index, d) for row in more for index, d in enumerate((0.4, 0.2, 0.0))]
    figure = EFFECT.draw(pd.concat([without_lth, trials_of(more)]), pd.concat([layers, layers_of(tilted_layers)]))
    assert texts(figure.axes[0]) == ["no slope: methods of one contrast"]


# sample_examples -----------------------------------------------------------------------------------------------------


def test_images_are_in_rows_by_class_with_the_hardest_first():
    figure = EXAMPLES.draw(make_samples(classes=2, each=3))
    [part] = figure.subfigs
    pixel_values = [axes.images[0].get_array()[0, 0] for axes in part.axes]
    assert pixel_values == [0, 25, 51, 255, 230, 204] * 2  # hardest: scores 1, 0.9, 0.8; easiest: 0, 0.1, 0.2
    assert [axes.get_title() for axes in part.axes][:6] == [
        f"{score} ± 0.05" for score in ("1.00", "0.90", "0.80", "0.00", "0.10", "0.20")
    ]
    texts = [text.get_text() for text in part.texts]
    assert part.get_suptitle().count("\n") == 1
    assert {"apple", "aquarium\nfish", "hardest", "easiest"} <= set(texts)
    title = " ".join(part.get_suptitle().split())
    assert title == "digits: training images by EL2N (mean ± standard deviation, n = 4 networks)"


def test_each_ranking_has_its_own_subfigure():
    second_ranking = make_samples().assign(name="grand", n=1, std=math.nan)
    figure = EXAMPLES.draw(pd.concat([make_samples(), second_ranking], ignore_index=True))
    assert figure.subfigs[1].axes[0].get_title() == "1.00"
    assert [" ".join(part.get_suptitle().split()) for part in figure.subfigs] == [
        "digits: training images by EL2N (mean ± standard deviation, n = 4 networks)",
        "digits: training images by GraNd (one network, no spread)",
    ]


def test_color_images_are_shown_in_color():
    samples = make_samples(classes=1, each=1)
    samples["image"] = [np.zeros((4, 4, 3), dtype=np.uint8) + np.array([255, 0, 0], dtype=np.uint8)] * 2
    axes = EXAMPLES.draw(samples).subfigs[0].axes[0]
    assert axes.images[0].get_array().shape == (4, 4, 3)


# Results -------------------------------------------------------------------------------------------------------------


def test_frame_of_trials_is_accepted_as_results(comparison):
    kind = figures.FIGURES["accuracy_vs_sparsity"]
    pd.testing.assert_frame_equal(kind.table(comparison), kind.table(Results(comparison)))
    with pytest.raises(ValueError, match=r"results/layers has none"):
        figures.FIGURES["layer_density"].draw(comparison)


def test_selected_trials_keep_their_layers(everything):
    chosen = everything.where_rows(everything.trials["sparsifier"] == "set")
    assert set(chosen.trials["sparsifier"]) == {"set"}
    assert set(chosen.layers["trial"]) == set(chosen.trials["trial"])
    assert len(chosen.samples) == len(everything.samples)
