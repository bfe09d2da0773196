"""The commands figures, claims and report, on results written without training."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sparsweep.analysis.figures import style
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.storage import schemas
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.cli.result_tables import set_plugin_styles
from sparsweep.tuner.config.sweep import Sweep, parse_sweep, read_sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.trials import score_rankings
from support.fake_results import write_results

SWEEP = """
base:
  dataset: digits
  model: resnet8
  recipe: {preset: digits, epochs: 2}
  difficulty: {name: el2n, runs: 2, epoch: 1}
  data_ratio: [0.3, 1.0]
  seed: [0, 1]
grids:
  - sparsifier: dense
  - {sparsifier: [{name: set, update_every: 0.5}, snip], sparsity: [0.5, 0.8]}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


def write_sweep(store: Store, name: str = "mine", leave_out: int = 0) -> Sweep:
    sweep = parse_sweep(SWEEP, name)
    write_results(store, sweep, leave_out)
    return sweep


def call(*arguments: str, store: Store) -> None:
    cli.app([*arguments, "--storage", store.storage], standalone_mode=False)


def files(store: Store, folder: str) -> set[str]:
    return {path.name for path in Path(store.root, folder).iterdir()}


def test_figures_draws_all_figures_the_results_allow(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(store)
    call("figures", "mine", store=store)
    captured = capsys.readouterr()
    names = {"accuracy_vs_sparsity", "ratio_heatmap", "variant_bars", "accuracy_vs_flops", "layer_density"}
    names |= {"density_effect"}
    assert files(store, "figures/mine") == {f"{name}.{kind}" for name in names for kind in ("png", "pdf", "csv")}
    assert f"{store.root}/figures/mine/variant_bars.png (and .pdf, .csv)" in captured.out
    assert "clean_vs_robust: not drawn: no finished trial was evaluated under attack" in captured.out
    assert "sample_examples: not drawn: no scores with images" in captured.out
    fix = f"sparsweep resume mine --remake scores --storage {store.storage}"
    assert captured.err == f"mine: no sample images: the scores of 2 runs are missing. Fix: {fix}\n"


def test_figures_are_selected_and_have_the_requested_width(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(store)
    options = ("--figure", "accuracy_vs_sparsity", "--method", "set", "--panel", "data_ratio=0.3")
    call("figures", "mine", *options, "--width", "3.25in", "--spread", "interval", store=store)
    assert files(store, "figures/mine") == {f"accuracy_vs_sparsity.{kind}" for kind in ("png", "pdf", "csv")}
    table = pd.read_csv(Path(store.root, "figures/mine/accuracy_vs_sparsity.csv"))
    assert set(table["sparsifier"]) == {"dense", "set"} and set(table["data_ratio"]) == {0.3}
    assert Image.open(Path(store.root, "figures/mine/accuracy_vs_sparsity.png")).width == 650  # 3.25 in at 200 dpi


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--width", "3", "--width: no length (got '3')"),
        ("--figure", "pie", "unknown figure 'pie'; choose from accuracy_vs_sparsity"),
        ("--method", "nope", "--method: no results (got 'nope'). Choose from: set, snip."),
        ("--panel", "x=1", "--panel: no FIELD=VALUE (got 'x=1')"),
    ],
)
def test_invalid_figure_options_raise_one_line(option: str, value: str, message: str, store: Store) -> None:
    write_sweep(store)
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        call("figures", "mine", option, value, store=store)


def test_requested_but_unfinished_trials_are_missing_in_the_table(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sweep requests SET only at 0.5, so SET at 0.8 is not missing. The last SNIP trial is not finished."""
    text = SWEEP.replace("[{name: set, update_every: 0.5}, snip], sparsity: [0.5, 0.8]", "snip, sparsity: [0.5, 0.8]")
    text += "  - {sparsifier: {name: set, update_every: 0.5}, sparsity: 0.5}\n"
    sweep = parse_sweep(text.replace("seed: [0, 1]", "seed: 0"), "mine")
    unfinished = next(trial for trial in reversed(sweep.trials.values()) if trial.sparsifier.name == "snip")
    write_results(store, sweep)
    Path(store.root, "results", "trials", f"{unfinished.id}.parquet").unlink()
    call("figures", "mine", "--figure", "accuracy_vs_sparsity", store=store)
    table = pd.read_csv(Path(store.root, "figures/mine/accuracy_vs_sparsity.csv"))
    missing = table[table["n"] == 0]
    assert missing[["sparsifier", "sparsity", "data_ratio"]].to_numpy().tolist() == [
        ["snip", unfinished.sparsity, unfinished.data_ratio]
    ]


def test_figure_1_is_drawn_from_the_scores_of_the_sweep(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = write_sweep(store)
    [(dataset, runs)] = score_rankings(sweep.trials.values())
    assert json.loads(dataset)["name"] == "digits" and len(runs) == 2
    expected_runs = {
        need.id for trial in sweep.trials.values() for need in trial.prerequisites() if isinstance(need, ScoringSpec)
    }
    assert set(runs) == expected_runs
    labels = next(iter(sweep.trials.values())).dataset.load().train_labels
    content = {"sample": np.arange(len(labels)), "label": labels, "score": np.linspace(0, 1, len(labels))}
    for run in runs:
        path = Path(store.root, "artifacts", "scores", f"{run}-el2n.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(content), path)
    call("figures", "mine", store=store)
    captured = capsys.readouterr()
    assert "sample_examples.png" in captured.out and captured.err == ""
    table = Path(store.root, "figures/mine/sample_examples.csv").read_text().splitlines()
    assert len(table) == 1 + 10 * 2 * 5 and table[0].startswith("dataset,name,label,class_name,end,rank,sample")


def test_sweep_named_after_a_figure_gets_only_this_figure(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(store, "fig2")
    call("figures", "fig2", store=store)
    assert files(store, "figures/fig2") == {f"fig02_accuracy_vs_sparsity.{kind}" for kind in ("png", "pdf", "csv")}


def test_several_sweeps_are_analyzed_together(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(store)
    write_sweep(store, "fig2")
    call("claims", "mine", "fig2", "--json", store=store)
    assert len(json.loads(capsys.readouterr().out)) == 11
    call("report", "mine", "fig2", store=store)
    assert files(store, "reports") == {"mine+fig2.html"}


def test_number_of_unfinished_trials_is_printed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(store, leave_out=3)
    call("claims", "mine", store=store)
    assert "3 of 20 trials are not finished: excluded" in capsys.readouterr().err


def test_without_results_figures_raises_and_report_shows_the_failures(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(store, leave_out=20)
    failed = next(iter(sweep.trials))
    store.write_failure(failed, "mine", RuntimeError("it broke"))
    with pytest.raises(UsageError, match=r"mine: no trial has finished in .*\. See the reasons: sparsweep status"):
        call("figures", "mine", store=store)
    call("report", "mine", store=store)
    page = Path(store.root, "reports/mine.html").read_text()
    assert "it broke" in page and failed in page and "there is no finished trial to draw" in page


@pytest.mark.parametrize("command", ["figures", "report", "claims"])
def test_storage_without_finished_trials_raises(store: Store, command: str) -> None:
    for recorded in (False, True):
        with pytest.raises(
            UsageError, match=r"^mine: no trial has finished in .*\. See the reasons: sparsweep status$"
        ):
            call(command, "mine" if recorded else str(write_sweep_file(store)), store=store)
        write_sweep(store, leave_out=20)
    assert not Path(store.root, "reports").exists()


def write_sweep_file(store: Store) -> Path:
    path = Path(store.root).parent / "mine.yaml"
    path.write_text(SWEEP)
    return path


def test_claims_are_printed_as_text_and_as_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(store)
    call("claims", "mine", store=store)
    output = capsys.readouterr().out
    assert re.search(
        r"el2n-third: UNDECIDED on digits / resnet8 \(.* samples, 2 seeds\); not tested on its data", output
    )
    assert "all seeds are equal: no spread to judge by" in output
    assert "adversarial-all: NOT TESTED" in output
    call("claims", "mine", "--json", store=store)
    entries = {entry["claim"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"claim", "verdict", "effect", "interval", "n"} <= entries["el2n-third"].keys()
    assert entries["el2n-third"]["effect"] == pytest.approx(0.02) and entries["el2n-third"]["n"] == 2


def test_user_claims_are_evaluated(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(store)
    claims_file = tmp_path / "mine.yaml"
    claims_file.write_text(
        "- claim: no-worse\n  statement: SET loses nothing\n  source: me\n"
        "  parts: [{says: no worse, rule: ratio, value: nonzero_parameters, methods: [set], expect: {below: 0}}]\n"
    )
    call("claims", "mine", "--claims", str(claims_file), store=store)
    assert "no-worse: SUPPORTED on digits / resnet8" in capsys.readouterr().out
    claims_file.write_text("- {claim: x}")
    with pytest.raises(UsageError, match=rf"^--claims {claims_file}: 0\.statement: Field required"):
        call("claims", "mine", "--claims", str(claims_file), store=store)


def test_report_shows_the_status_of_the_sweep(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = write_sweep(store, leave_out=1)
    call("report", "mine", store=store)
    path = Path(store.root, "reports/mine.html")
    assert capsys.readouterr().out.strip() == str(path)
    page = path.read_text()
    assert "19 of 20" in page and "a test" in page
    assert sweep.dump() in html.unescape(page)


def test_tables_of_a_later_version_exit_with_one_line(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trial = next(iter(write_sweep(store).trials))
    store.write_failure(trial, "mine", OSError("full"))
    for name in (f"trials/{trial}", f"failures/{trial}-1"):
        path = Path(store.root, "results", f"{name}.parquet")
        table = pq.read_table(path)
        newer = {**table.schema.metadata, b"sparsweep.tables": str(schemas.TABLES_VERSION + 1).encode()}
        pq.write_table(table.replace_schema_metadata(newer), path)
    for command in (["figures", "mine"], ["claims", "mine"], ["report", "mine"], ["status", "mine"], ["compact"]):
        monkeypatch.setattr("sys.argv", ["sparsweep", *command, "--storage", store.storage])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        lines = capfd.readouterr().err.splitlines()
        assert exit_info.value.code == 2
        newest = schemas.TABLES_VERSION
        expected = f"tables of version {newest + 1}, this sparsweep reads up to {newest}. Update sparsweep."
        assert expected in lines[-1] and len(lines) == 1


def test_unknown_sweep_error_suggests_a_name(store: Store) -> None:
    with pytest.raises(UsageError, match=r"unknown sweep 'quickstrat' .did you mean quickstart"):
        call("report", "quickstrat", store=store)


def test_score_rankings_of_a_sweep() -> None:
    assert len(score_rankings(read_sweep("quickstart").trials.values())) == 1
    assert score_rankings([]) == []


def test_plugin_method_states_its_label_and_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "_stated", {})
    monkeypatch.setitem(sparsifiers._classes, "theirs", SimpleNamespace(label="Their method", color="#123456"))
    set_plugin_styles()
    assert (style.of("theirs").label, style.of("theirs").color) == ("Their method", "#123456")
    assert style.of("set") == style.SPARSIFIERS["set"]
    monkeypatch.setitem(sparsifiers._classes, "theirs", SimpleNamespace(label="", color="blueish"))
    with pytest.raises(UsageError, match=r"^theirs\.color: no color \(got 'blueish'\)\. Write it as #rrggbb\.$"):
        set_plugin_styles()
