"""Artists of accuracy_vs_sparsity and ratio_heatmap, and the numbers in their tables."""

from __future__ import annotations

import itertools
import math

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from sparsweep.analysis import figures
from sparsweep.analysis.figures import labels, ratio_heatmap, style
from sparsweep.analysis.naming import setting_titles
from sparsweep.analysis.results import Results

ACCURACY, HEATMAP = figures.FIGURES["accuracy_vs_sparsity"], figures.FIGURES["ratio_heatmap"]


def all_texts(figure):
    """Return all texts of a figure, including legend and titles."""
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def lines(axes):
    """Return the containers of line, markers and error bars by method label."""
    return {box.get_label(): box for box in axes.containers if isinstance(box, ErrorbarContainer)}


def panels(figure):
    """Return the panels without the color bar and the titles of settings."""
    return [axes for axes in figure.axes if axes.get_label() not in ("<colorbar>", ratio_heatmap.TITLE)]


def legend_labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# accuracy_vs_sparsity ------------------------------------------------------------------------------------------------


def test_one_panel_per_data_ratio(comparison):
    figure = ACCURACY.draw(comparison)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["data ratio 0.3", "all data"]
    assert figure.get_suptitle() == "cifar100 / resnet18, EL2N"
    assert [axes.get_title(loc="right") for axes in figure.axes] == ["n = 3", "n = 3"]
    assert figure.axes[0].get_ylabel() == "test accuracy (%)"
    assert {axes.get_xlabel() for axes in figure.axes} == {"sparsity"}
    assert legend_labels(figure) == ["dense", "SET", "missing"]
    assert all(not axes.get_legend() for axes in figure.axes)


def test_means_error_bars_and_gaps_are_drawn(comparison):
    first, second = ACCURACY.draw(comparison).axes
    line, _, [bars] = lines(first)["SET"]
    np.testing.assert_allclose(line.get_xdata(), [0.5, 0.8, 0.9])
    np.testing.assert_allclose(line.get_ydata(), [64.0, math.nan, 62.0])  # gap: no trial at data ratio 0.3
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((64 - 3, 64 + 3))  # accuracies 0.61, 0.64, 0.67
    np.testing.assert_allclose(lines(second)["SET"][0].get_ydata(), [64.0, 62.0, 62.0])
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["0.5", "0.8", "0.9"]


def test_dense_is_a_horizontal_line_with_a_band(comparison):
    axes = ACCURACY.draw(comparison).axes[0]
    [dense] = [line for line in axes.lines if line.get_label() == "dense"]
    assert list(dense.get_ydata()) == pytest.approx([62, 62])
    assert list(dense.get_xdata()) == [0, 1]  # in units of the panel width
    [band] = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((60, 64))


def test_unfinished_sparsity_is_a_gap_marked_with_a_cross(frame, row):
    rows = [row("set", sparsity, 0, None if sparsity == 0.5 else 0.6) for sparsity in (0.1, 0.5, 0.9)]
    rows += [row("snip", sparsity, 0, 0.5) for sparsity in (0.1, 0.5, 0.9)]
    [axes] = ACCURACY.draw(frame(rows)).axes
    containers = lines(axes)
    assert np.isnan(containers["SET"][0].get_ydata()).tolist() == [False, True, False]
    assert not np.isnan(containers["SNIP"][0].get_ydata()).any()
    [cross] = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert list(cross.get_xdata()) == [containers["SET"][0].get_xdata()[1]]
    assert same_color(cross.get_color(), style.of("set").color)


def test_method_missing_in_one_panel_is_marked_with_crosses(frame, row):
    rows = [row(name, s, 0, 0.6, data_ratio=r) for name in ("set", "snip") for s in (0.5, 0.9) for r in (0.3, 1.0)]
    first, second = ACCURACY.draw(frame(rows[:-2] + rows[-2:-1])).axes
    assert [sum(len(line.get_xdata()) for line in a.lines if line.get_marker() == "x") for a in (first, second)] == [
        0,
        1,
    ]
    reduced = [r for r in rows if r["sparsifier"] == "set" or r["data_ratio"] == 0.3]
    _, second = ACCURACY.draw(frame(reduced)).axes
    assert [list(np.round(line.get_xdata(), 1)) for line in second.lines if line.get_marker() == "x"] == [
        [],
        [0.5, 0.9],
    ]


def test_methods_at_one_sparsity_are_shifted_apart(frame, row):
    names = [name for name in style.SPARSIFIERS if name != "dense"]
    names = names[:8]
    containers = lines(ACCURACY.draw(frame([row(name, s, 0, 0.6) for name in names for s in (0.5, 0.6)])).axes[0])
    positions = np.array([containers[style.of(name).label][0].get_xdata() for name in names])
    assert (np.diff(positions[:, 0]) > 0).all()
    assert positions[:, 0].mean() == pytest.approx(0.5)
    assert positions[:, 0].max() < positions[:, 1].min()


def test_one_seed_draws_no_error_bar_and_a_note(frame, row):
    rows = [row("dense", 0.0, 0, 0.6), row("set", 0.5, 0, 0.61), row("set", 0.9, 0, 0.62)]
    figure = ACCURACY.draw(frame(rows))
    assert "n = 1: no spread" in all_texts(figure)
    assert not lines(figure.axes[0])["SET"].has_yerr
    assert not figure.axes[0].patches
    assert "standard deviation" not in " ".join(all_texts(figure))


def test_deviating_numbers_of_seeds_are_labeled(frame, row):
    rows = [row("dense", 0.0, seed, 0.6) for seed in range(3)]
    rows += [row("set", 0.5, 0, 0.61), row("set", 0.5, 1, 0.63), row("set", 0.9, 0, 0.62)]
    figure = ACCURACY.draw(frame(rows))
    [axes] = figure.axes
    assert axes.get_title(loc="right") == "n = 3, others numbered"
    # SET has two seeds and one seed. Dense has three, the most frequent number (ties: the larger number).
    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [
        ("2", pytest.approx(62)),
        ("1", pytest.approx(62)),
    ]
    segments = [line for line in lines(axes)["SET"][2][0].get_segments() if len(line)]
    assert len(segments) == 1  # the single seed has no bar
    rows += [row("set", 0.9, seed, 0.62) for seed in (1,)]
    [axes] = ACCURACY.draw(frame(rows)).axes
    assert axes.get_title(loc="right") == "n = 2, others numbered"
    [dense] = axes.texts
    assert (dense.get_text(), dense.xy) == ("3", (1.0, pytest.approx(60)))  # at the right end of the line


def test_missing_dense_is_noted_in_the_panel(comparison):
    figure = ACCURACY.draw(comparison[comparison["sparsifier"] != "dense"])
    assert all("no dense trials" in [text.get_text() for text in axes.texts] for axes in figure.axes)
    assert legend_labels(figure) == ["SET", "missing"]


def test_single_sparsity_has_methods_on_the_x_axis(frame, row):
    rows = [row(name, 0.9, seed, 0.6 + 0.01 * seed) for name in ("dense", "set", "snip") for seed in (0, 1)]
    rows = [{**r, "sparsity": 0.0} if r["sparsifier"] == "dense" else r for r in rows]
    figure = ACCURACY.draw(frame(rows))
    [axes] = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["SNIP", "SET"]
    assert axes.get_xlabel() == "sparsity 0.9"
    positions = [list(box.lines[0].get_xdata()) for box in axes.containers]
    assert sorted(positions) == [[0], [1]]
    assert not any("side by side" in text for text in all_texts(figure))


def test_shift_of_methods_is_noted(comparison, frame, row):
    assert "side by side" not in " ".join(all_texts(ACCURACY.draw(comparison)))  # a single method is not shifted
    rows = [row(name, s, 0, 0.6) for name in ("set", "snip") for s in (0.5, 0.6)]
    assert "methods of one sparsity side by side" in " ".join(all_texts(ACCURACY.draw(frame(rows))))


def test_points_not_requested_are_not_missing(comparison):
    figure = ACCURACY.draw(Results(comparison, asked=comparison))
    assert legend_labels(figure) == ["dense", "SET"]
    [axes] = panels(HEATMAP.draw(Results(comparison, asked=comparison)))
    assert not [patch for patch in axes.patches if patch.get_hatch()]
    assert len(axes.texts) == 5


def test_requested_point_without_trials_is_missing(comparison, frame, row):
    """The requested sparsity has no trial yet."""
    requested = pd.concat([comparison, frame([row("set", 0.7, 0, None)])])
    table = ACCURACY.table(Results(comparison, asked=requested))
    assert list(table.loc[table["n"] == 0, "sparsity"]) == [0.7]


def test_error_bars_are_intervals_on_request(comparison):
    form = figures.Form(spread="interval")
    _, _, [bars] = lines(ACCURACY.draw(comparison, form).axes[0])["SET"]
    table = ACCURACY.table(comparison).query("sparsifier == 'set' and data_ratio == 0.3 and sparsity == 0.5").iloc[0]
    assert np.ptp(bars.get_segments()[0][:, 1]) == pytest.approx(2 * table["interval_percent"])
    assert table["interval_percent"] == pytest.approx(4.3027 * 3 / math.sqrt(3), rel=1e-4)
    assert any("95 % interval" in text for text in all_texts(ACCURACY.draw(comparison, form)))


def test_dense_without_other_methods_is_drawn(comparison):
    figure = ACCURACY.draw(comparison[comparison["sparsifier"] == "dense"])
    assert legend_labels(figure) == ["dense"]


def test_table_holds_the_drawn_numbers(comparison):
    table = ACCURACY.table(comparison)
    assert len(table) == 2 * (1 + 3)
    [missing] = table[table["n"] == 0].to_dict("records")
    assert (missing["sparsifier"], missing["sparsity"], missing["data_ratio"]) == ("set", 0.8, 0.3)
    assert math.isnan(missing["accuracy_percent"])
    [dense] = table[(table["sparsifier"] == "dense") & (table["data_ratio"] == 0.3)].to_dict("records")
    assert (dense["n"], dense["accuracy_percent"], dense["std_percent"]) == (3, pytest.approx(62), pytest.approx(2))


# ratio_heatmap -------------------------------------------------------------------------------------------------------


def test_cells_are_paired_differences_in_percentage_points(comparison):
    figure = HEATMAP.draw(comparison)
    [axes] = panels(figure)
    assert axes.get_title(loc="left") == "SET"
    values = axes.collections[0].get_array()
    np.testing.assert_allclose(values.filled(np.nan), [[2, np.nan, 0], [2, 0, 0]], atol=1e-9)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.5", "0.8", "0.9"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.3", "1"]


def test_cells_that_are_not_significant_are_in_parentheses(frame, row):
    rows = [row("dense", 0.0, seed, 0.6) for seed in range(3)]
    rows += [row("set", 0.5, seed, 0.62 + 0.001 * seed) for seed in range(3)]  # t = 36, p = 0.0008
    rows += [row("set", 0.9, seed, 0.57 + 0.04 * seed) for seed in range(3)]
    rows += [row("set", 0.95, 0, 0.5)]
    figure = HEATMAP.draw(frame(rows))
    [axes] = panels(figure)
    assert [text.get_text() for text in axes.texts] == ["+2.1", "(+1.0)", "(−10.0)", "1"]
    assert legend_labels(figure) == ["not significant"]
    title = " ".join(figure.legends[0].get_title().get_text().split())
    assert "difference, n = 3, others numbered" in title
    assert title.endswith("paired t-test, Holm over 2 of 3 cells, 0.05")  # a single seed cannot be tested
    assert list(HEATMAP.table(frame(rows))["significant"]) == [True, False, False]


def test_missing_cells_are_hatched(comparison):
    figure = HEATMAP.draw(comparison)
    [axes] = panels(figure)
    [patch] = [patch for patch in axes.patches if patch.get_hatch()]
    middle = (patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2)
    assert middle == pytest.approx((1, 0))  # sparsity 0.8 at data ratio 0.3
    assert "missing" in legend_labels(figure)
    assert len(axes.texts) == 5


def test_cell_without_dense_partner_is_missing(comparison):
    unpaired = comparison[(comparison["sparsifier"] != "dense") | (comparison["data_ratio"] == 1.0)]
    table = HEATMAP.table(unpaired)
    assert (table[table["data_ratio"] == 0.3]["n"] == 0).all()
    assert (table[table["data_ratio"] == 1.0]["n"] == 3).all()


def test_panels_share_a_color_scale_centered_at_zero(frame, row):
    rows = [row("dense", 0.0, 0, 0.6), row("set", 0.5, 0, 0.61), row("lth", 0.5, 0, 0.55)]
    meshes = [axes.collections[0] for axes in panels(HEATMAP.draw(frame(rows)))]
    assert len(meshes) == 2
    assert all((mesh.norm.vmin, mesh.norm.vmax) == pytest.approx((-5, 5)) for mesh in meshes)


def test_single_data_ratio_has_square_cells(frame, row):
    [axes] = panels(HEATMAP.draw(frame([row("dense", 0.0, 0, 0.6), row("set", 0.5, 0, 0.61)])))
    corners = axes.collections[0].get_coordinates()
    assert np.ptp(corners[..., 0]) == np.ptp(corners[..., 1]) == 1


def test_panels_of_several_settings_have_titles(frame, row):
    rows = [row("dense", 0.0, 0, 0.6), row("set", 0.5, 0, 0.61), row("lth", 0.5, 0, 0.55)]
    rows += [row("dense", 0.0, 0, 0.5, dataset="tiny"), row("set", 0.5, 0, 0.51, dataset="tiny")]
    figure = HEATMAP.draw(frame(rows))
    titles = [
        axes.texts[0].get_text() if axes.get_label() == ratio_heatmap.TITLE else axes.get_title(loc="left")
        for axes in figure.axes
        if axes.get_label() != "<colorbar>"
    ]
    # LTH was not run on the second dataset.
    assert titles == ["cifar100 / resnet18, EL2N", "SET", "LTH", "tiny / resnet18, EL2N", "SET"]


def test_significance_is_corrected_for_the_number_of_cells(frame, row):
    """A single cell with p = 0.02 is significant. Among five equal cells none is."""
    offsets = (0.0, 0.001, 0.003)  # mean difference about 0.0058: t = 6.6 with two degrees of freedom
    rows = [row("dense", 0.0, seed, 0.6) for seed in range(3)]
    rows += [row("set", s / 10, seed, 0.6 + 0.0045 + offsets[seed]) for s in range(1, 6) for seed in range(3)]
    family, alone = frame(rows), frame([r for r in rows if r["sparsity"] <= 0.1])
    table = HEATMAP.table(family)
    np.testing.assert_allclose(table["p"], table["p"].iloc[0])
    assert 0.01 < table["p"].iloc[0] < 0.05
    assert table["p_holm"].iloc[0] == pytest.approx(5 * table["p"].iloc[0])
    assert not table["significant"].any()
    assert HEATMAP.table(alone)["significant"].all()


def test_one_seed_is_not_tested_and_noted_in_the_legend(frame, row):
    figure = HEATMAP.draw(frame([row("dense", 0.0, 0, 0.6), row("set", 0.5, 0, 0.61)]))
    assert "n = 1: not tested" in legend_labels(figure)
    assert panels(figure)[0].texts[0].get_text() == "(+1.0)"


@pytest.mark.parametrize(
    ("value", "text"), [(1.24, "+1.2"), (-0.36, "−0.4"), (0.04, "0.0"), (-0.04, "0.0"), (-12.0, "−12.0")]
)
def test_values_are_formatted_with_a_sign(value, text):
    assert ratio_heatmap.signed(value) == text


# labels and style ----------------------------------------------------------------------------------------------------


def test_setting_titles_name_the_differing_fields(frame, row):
    easiest = '{"keep": "easiest", "runs": 10}'
    rows = [row("set", 0.5, 0, 0.6), row("set", 0.5, 0, 0.6, lr=0.05), row("set", 0.5, 0, 0.6, difficulty="none")]
    rows += [row("set", 0.5, 0, 0.6, difficulty_parameters=easiest)]
    titles = list(setting_titles(frame(rows).reset_index(drop=True)))
    assert titles == [
        "cifar100 / resnet18, EL2N, lr=0.1",
        "cifar100 / resnet18, EL2N, lr=0.05",
        "cifar100 / resnet18, random subset",
        "cifar100 / resnet18, EL2N, easiest kept",
    ]


def test_method_with_two_parameter_values_has_two_lines(frame, row):
    frequent, rare = '{"prune_rate": 0.2, "update_every": 2.0}', '{"prune_rate": 0.2, "update_every": 4.0}'
    rows = [row("set", s, 0, 0.6, sparsifier_parameters=text) for s in (0.5, 0.9) for text in (frequent, rare)]
    containers = lines(ACCURACY.draw(frame(rows)).axes[0])
    first, second = containers["SET (update every 2)"][0], containers["SET (update every 4)"][0]
    assert same_color(first.get_color(), second.get_color())
    assert first.get_markerfacecolor() != second.get_markerfacecolor()


def test_every_sparsifier_has_its_own_style():
    for first, second in itertools.combinations(style.SPARSIFIERS.values(), 2):
        assert not same_color(first.color, second.color)
        assert first.marker != second.marker
        assert first.linestyle != second.linestyle


def test_style_does_not_depend_on_the_figure(frame, row):
    alone = lines(ACCURACY.draw(frame([row("omp", s, 0, 0.6) for s in (0.5, 0.6)])).axes[0])["OMP"][0]
    rows = [row(name, s, 0, 0.6) for name in style.SPARSIFIERS for s in (0.5, 0.6) if name != "dense"]
    [full] = [containers["OMP"][0] for axes in ACCURACY.draw(frame(rows)).axes if "OMP" in (containers := lines(axes))]
    assert same_color(alone.get_color(), full.get_color())
    assert alone.get_marker() == full.get_marker() == style.SPARSIFIERS["omp"].marker


def test_unknown_method_is_labeled_with_its_name(frame, row):
    assert style.of("my_method") == style.of("my_method")
    assert style.of("my_method").marker not in {other.marker for other in style.SPARSIFIERS.values()}
    figure = ACCURACY.draw(frame([row(name, s, 0, 0.6) for name in ("my_method", "set") for s in (0.5, 0.6)]))
    assert legend_labels(figure) == ["SET", "my_method"]


def test_plugin_method_states_its_label_and_color(monkeypatch):
    monkeypatch.setattr(style, "_stated", {})
    default = style.of("my_method")
    style.state("my_method", "mine", "#123456")
    assert (style.of("my_method").label, style.of("my_method").color) == ("mine", "#123456")
    assert style.of("my_method").marker == default.marker
    style.state("another", "", "")
    assert style.of("another").label == "another"
    with pytest.raises(ValueError, match=r"^my_method.color: no color \(got 'blueish'\)"):
        style.state("my_method", "mine", "blueish")


def test_labels_describe_the_parameters_of_variants(frame, row):
    rows = [
        row("lth", 0.5, 0, 0.6, sparsifier_parameters=f'{{"rounds":{r},"rewind_to":{e}}}')
        for r, e in [(1, 0), (3, 0), (1, 2)]
    ]
    assert {label for label, _ in labels.methods(frame(rows)).values()} == {
        "LTH (from start, 1 round)",
        "LTH (from start, 3 rounds)",
        "LTH (from epoch 2, 1 round)",
    }


def test_many_settings_of_a_search_share_one_legend_entry(frame, row):
    rows = [row("set", 0.5 + k / 100, 0, 0.6, sparsifier_parameters=f'{{"prune_rate":{k}}}') for k in range(9)]
    assert set(labels.few(labels.methods(frame(rows))).values()) == {("SET (9 settings)", 0)}
    assert legend_labels(ACCURACY.draw(frame(rows))) == ["SET (9 settings)"]


@pytest.mark.parametrize(
    "title",
    ["tiny_imagenet / resnet34, EL2N, easiest kept, lr=0.05", "one_word_that_is_far_longer_than_any_line_could_hold"],
)
def test_long_titles_are_wrapped(title):
    wrapped = labels.wrap(title, 2.0).splitlines()
    assert len(wrapped) > 1 and all(labels.inches(line, 10) <= 2.0 for line in wrapped)
    assert "".join(wrapped).replace(" ", "") == title.replace(" ", "")


def test_title_at_data_ratio_1_does_not_name_the_difficulty(frame, row):
    rows = [row("set", 0.5, 0, 0.6, data_ratio=1.0), row("set", 0.5, 0, 0.6, data_ratio=1.0, difficulty="none")]
    assert list(setting_titles(frame(rows[:1]))) == ["cifar100 / resnet18, all data"]
    both = list(setting_titles(frame(rows)))
    assert len(set(both)) == 2 and all("all data" in title for title in both)
    trials = frame([rows[0], row("set", 0.5, 0, 0.6)])
    assert list(setting_titles(trials)) == ["cifar100 / resnet18, EL2N"] * 2
    assert [axes.get_title(loc="left") for axes in ACCURACY.draw(trials).axes] == [
        "data ratio 0.3",
        "all data",
    ]
