"""Reporting of under-trained networks: counts, marks in figures, verdicts and the report."""

from __future__ import annotations

import json

import matplotlib as mpl
import pandas as pd
import pytest

from sparsweep.analysis import figures
from sparsweep.analysis.claims import as_json, evaluate, format_verdicts, paper_claims
from sparsweep.analysis.claims.evaluate import count_range
from sparsweep.analysis.claims.loader import parse
from sparsweep.analysis.convergence import Convergence
from sparsweep.analysis.figures import style
from sparsweep.trainables.storage import schemas
from support.report_page import page_of
from support.synthetic_tables import ADVERSARIAL, make_results, make_row, make_sweep, results_of

RING = style.UNDERTRAINED["markeredgecolor"]
SHORT = {"undertrained": True, "epochs_to_fit": 400, "fit_accuracy": 0.9, "late_gain": 0.02}
TRAINED = {"undertrained": False, "fit_accuracy": 0.99, "late_gain": 0.001}


def trials_of(rows):
    return schemas.build_table("trials", rows).to_pandas()


def sweep(short=("set",), **changes):
    """Return rows of a sweep. Networks of the methods ``short`` are under-trained if dense or at sparsity 0.9."""
    rows = make_sweep(("set", "snip"), sparsities=(0.5, 0.9), ratios=(0.3,))
    return [{**row, **TRAINED, **(SHORT if is_short(row, short) else {}), **changes} for row in rows]


def is_short(row, short):
    return row["sparsifier"] in short and row["sparsity"] in (0.0, 0.9)


def claim(**part):
    default = {"says": "better", "rule": "difference", "methods": ["set"], "expect": {"above": 0}}
    claims = [{"claim": "mine", "statement": "s", "source": "x", "parts": [{**default, **part}]}]
    return parse(json.dumps(claims), "test")


# Counts --------------------------------------------------------------------------------------------------------------


def test_under_trained_trials_of_a_sweep_are_counted():
    result = Convergence.of(trials_of(sweep()))
    assert result == Convergence(15, 3, 0, 200, 400, False)
    [line] = result.lines()
    assert line.startswith("  under-trained: 3 of 15 finished trials (200 epochs trained, about 400 epochs needed)")


@pytest.mark.parametrize(
    ("needed", "expected"),
    [
        ([400, 600], "about 600 epochs needed"),
        ([400, None], "about 400 epochs or more needed"),
        ([None, None], "epochs needed: unknown"),
    ],
)
def test_required_epochs_are_reported(needed, expected):
    rows = [make_row("set", 0.5, seed, 0.6, **{**SHORT, "epochs_to_fit": n}) for seed, n in enumerate(needed)]
    assert Convergence.of(trials_of(rows)).needed == expected


def test_convergence_is_unknown_for_old_tables():
    rows = make_sweep(("set",), sparsities=(0.5,), ratios=(0.3,))
    old = trials_of(rows)
    assert Convergence.of(old) == Convergence(6, 0, 6)
    assert Convergence.of(old.drop(columns=["undertrained", "epochs_to_fit"])) == Convergence(6, 0, 6)
    assert Convergence.of(old).lines() == ["  convergence unknown: 6 of 6 finished trials"]


def test_converged_networks_print_nothing():
    assert Convergence.of(trials_of(sweep(short=()))).lines() == []


# Figures -------------------------------------------------------------------------------------------------------------


def rings(figure):
    return [
        point
        for axes in figure.axes
        for line in axes.lines
        if line.get_markeredgecolor() == RING
        for point in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_points_of_under_trained_networks_have_a_ring():
    figure = figures.accuracy_vs_sparsity.draw(trials_of(sweep()))
    table = figures.accuracy_vs_sparsity.table(trials_of(sweep()))
    short = table[table["undertrained"] > 0]
    [(x, y)] = rings(figure)
    assert x == pytest.approx(0.9, abs=0.05) and y == pytest.approx(short["accuracy_percent"].item())
    assert "under-trained: 3 of 15" in legend_of(figure)


def test_under_trained_dense_line_ends_in_a_ring():
    [(x, _)] = rings(figures.accuracy_vs_sparsity.draw(trials_of(sweep(short=("dense",)))))
    assert x == 1  # in units of the panel width


WITHOUT_ACCURACY = {"sample_examples", "layer_density", "search_history", "search_importance"}


@pytest.mark.parametrize("kind", sorted({*figures.FIGURES} - WITHOUT_ACCURACY | {"layer_density"}))
def test_figures_do_not_mark_converged_networks(kind):
    results = results_of(sweep(short=(), robust_accuracy=0.3, **ADVERSARIAL))
    assert not any("under-trained" in text for text in all_texts(figures.FIGURES[kind].draw(results)))


@pytest.mark.parametrize("kind", sorted({*figures.FIGURES} - WITHOUT_ACCURACY))
def test_accuracy_figures_state_the_number_of_under_trained_trials(kind):
    results = results_of(sweep(robust_accuracy=0.3, **ADVERSARIAL))
    texts = all_texts(figures.FIGURES[kind].draw(results))
    assert any(text.startswith("under-trained: ") for text in texts)


def all_texts(figure):
    return [result.get_text() for result in figure.findobj(mpl.text.Text) if result.get_text()]


def test_heatmap_cells_of_under_trained_networks_are_marked():
    table = figures.ratio_heatmap.table(trials_of(sweep(short=("dense",))))
    assert (table["undertrained"] == 3).all()
    figure = figures.ratio_heatmap.draw(trials_of(sweep(short=("set",))))
    assert sum(text.endswith(style.DAGGER) for text in all_texts(figure) if text[0] in "(+−0") == 1


# Claims --------------------------------------------------------------------------------------------------------------


def test_claim_on_under_trained_networks_is_not_decided():
    [verdict] = evaluate(results_of(sweep()), claim())
    assert verdict.verdict == "not decided"
    [finding] = verdict.findings
    assert finding.note == "under-trained, 3 of 9 trials; about 400 epochs needed"
    assert finding.effect > 0 and finding.n == 3  # the effect is still reported
    assert "mine: NOT DECIDED on cifar100 / resnet18" in "\n".join(format_verdicts([verdict]))


def test_claim_on_converged_networks_is_decided():
    [verdict] = evaluate(results_of(sweep(short=("snip",))), claim())
    assert verdict.verdict == "supported"


@pytest.mark.parametrize("short", ["dense", "set"])
def test_claim_is_not_decided_if_either_partner_is_under_trained(short):
    [verdict] = evaluate(results_of(sweep(short=(short,))), claim())
    assert verdict.verdict == "not decided"


def test_claims_on_costs_ignore_convergence():
    [verdict] = evaluate(results_of(sweep()), claim(value="nonzero_parameters", rule="ratio", expect={"below": 0}))
    assert verdict.verdict == "supported"


def test_sweep_can_allow_under_trained_networks_and_the_note_states_it():
    rows = sweep()
    results = results_of(rows, allowed=frozenset(row["trial"] for row in rows))
    [verdict] = evaluate(results, claim())
    assert verdict.verdict == "supported"
    [finding] = verdict.findings
    assert finding.note == "judged on under-trained networks, as the sweep allows: 3 of 9 trials"


def test_contradicted_part_has_priority_over_undecided_part():
    parts = [
        {"says": "better", "rule": "difference", "methods": [method], "expect": {"below": 0}}
        for method in ("set", "snip")
    ]
    [parsed_claim] = parse(json.dumps([{"claim": "mine", "statement": "s", "source": "x", "parts": parts}]), "test")
    [verdict] = evaluate(results_of(sweep()), [parsed_claim])
    assert [finding.verdict for finding in verdict.findings] == ["not decided", "contradicted"]
    assert verdict.verdict == "contradicted"


def test_verdict_states_its_basis():
    rows = [{**row, "samples": 431, "steps": 1350, "nonzero_parameters": 4310} for row in sweep(short=())]
    rows = [{**row, "nonzero_parameters": 43100} if row["sparsifier"] == "dense" else row for row in rows]
    [verdict] = evaluate(results_of(rows), claim())
    lines = list(format_verdicts([verdict]))
    assert lines[0] == "mine: SUPPORTED on cifar100 / resnet18 (431 samples, 3 seeds)"
    assert lines[2] == "  rests on 9 trials of 1,350 steps, 10 to 100 parameters per sample"
    [entry] = as_json([verdict])
    assert entry["basis"]["parameters_per_sample"] == (10.0, 100.0)


def test_steps_missing_in_old_tables_are_computed_from_epochs():
    [verdict] = evaluate(results_of(sweep(short=())), claim())
    assert verdict.basis.steps == (118 * 200, 118 * 200)  # 15,000 samples in batches of 128


def test_verdict_on_other_data_states_that_the_own_data_is_not_tested():
    rows = [{**row, "dataset": "digits", "model": "resnet8", "samples": 431} for row in sweep(short=())]
    verdicts = [v for v in evaluate(results_of(rows), paper_claims()) if v.verdict != "not tested"]
    assert verdicts
    for verdict in verdicts:
        assert next(format_verdicts([verdict])).endswith(
            "on digits / resnet8 (431 samples, 3 seeds); not tested on its data"
        )
        [entry] = as_json([verdict])
        assert entry["on_its_own_data"] == "not tested"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (None, "an unknown number of steps"),
        ((1, 1), "1 step"),
        ((1350, 1350), "1,350 steps"),
        ((0.52, 180), "0.52 to 180 steps"),
    ],
)
def test_count_ranges_are_formatted(limits, expected):
    assert count_range(limits, "step") == expected


# Report --------------------------------------------------------------------------------------------------------------


def test_report_has_a_convergence_section():
    page = page_of(results_of(sweep()))
    section = page[page.index('<section id="convergence">') : page.index('<section id="figures">')]
    assert "3 of 15 trials are under-trained; about 400 epochs needed." in section
    assert section.count("<tr>") == 2  # header row, and SET at sparsity 0.9
    assert "not decided" in page


def test_report_of_converged_networks_counts_zero():
    page = page_of(results_of(sweep(short=())))
    assert "0 of 15 trials are under-trained." in page


def test_report_marks_verdicts_on_other_data():
    rows = [{**row, "dataset": "digits", "model": "resnet8", "samples": 431} for row in sweep(short=())]
    page = page_of(results_of(rows))
    assert "on other data</span>" in page
    assert ">contradicted</span>" not in page and ">supported</span>" not in page


def test_old_tables_without_convergence_can_be_drawn():
    results = make_results()
    frame = results.trials.drop(columns=["undertrained"])
    assert isinstance(figures.accuracy_vs_sparsity.table(frame), pd.DataFrame)
