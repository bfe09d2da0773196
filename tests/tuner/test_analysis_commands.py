"""The commands figures, claims and report, on results that were written without training."""

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


def written(store: Store, name: str = "mine", leave_out: int = 0) -> Sweep:
    sweep = parse_sweep(SWEEP, name)
    write_results(store, sweep, leave_out)
    return sweep


def call(*arguments: str, store: Store) -> None:
    cli.app([*arguments, "--storage", store.storage], standalone_mode=False)


def files(store: Store, folder: str) -> set[str]:
    return {path.name for path in Path(store.root, folder).iterdir()}


def test_figures_draws_what_the_results_allow(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    written(store)
    call("figures", "mine", store=store)
    said = capsys.readouterr()
    drawn = {"accuracy_vs_sparsity", "ratio_heatmap", "variant_bars", "accuracy_vs_flops", "layer_density"}
    drawn |= {"density_effect"}
    assert files(store, "figures/mine") == {f"{name}.{kind}" for name in drawn for kind in ("png", "pdf", "csv")}
    assert f"{store.root}/figures/mine/variant_bars.png (and .pdf, .csv)" in said.out
    assert "clean_vs_robust: not drawn: no finished trial was evaluated under attack" in said.out
    assert "sample_examples: not drawn: no scores with images" in said.out
    again = f"sparsweep resume mine --remake scores --storage {store.storage}"
    assert said.err == f"mine: no sample images: the scores of 2 runs are missing. Fix: {again}\n"


def test_figures_are_chosen_and_have_the_width_that_was_asked_for(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    written(store)
    chosen = ("--figure", "accuracy_vs_sparsity", "--method", "set", "--panel", "data_ratio=0.3")
    call("figures", "mine", *chosen, "--width", "3.25in", "--spread", "interval", store=store)
    assert files(store, "figures/mine") == {f"accuracy_vs_sparsity.{kind}" for kind in ("png", "pdf", "csv")}
    table = pd.read_csv(Path(store.root, "figures/mine/accuracy_vs_sparsity.csv"))
    assert set(table["sparsifier"]) == {"dense", "set"} and set(table["data_ratio"]) == {0.3}
    assert Image.open(Path(store.root, "figures/mine/accuracy_vs_sparsity.png")).width == 650  # at 200 dpi


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--width", "3", "--width: no length (got '3')"),
        ("--figure", "pie", "unknown figure 'pie'; choose from accuracy_vs_sparsity"),
        ("--method", "nope", "--method: no results (got 'nope'). Choose from: set, snip."),
        ("--panel", "x=1", "--panel: no FIELD=VALUE (got 'x=1')"),
    ],
)
def test_a_choice_of_figures_that_cannot_be_is_one_line(option: str, value: str, why: str, store: Store) -> None:
    written(store)
    with pytest.raises(UsageError, match=f"^{re.escape(why)}"):
        call("figures", "mine", option, value, store=store)


def test_what_a_sweep_asks_for_and_has_not_is_missing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """SET at .5 alone: nobody asks for SET at .8, and the last of SNIP is not finished."""
    text = SWEEP.replace("[{name: set, update_every: 0.5}, snip], sparsity: [0.5, 0.8]", "snip, sparsity: [0.5, 0.8]")
    text += "  - {sparsifier: {name: set, update_every: 0.5}, sparsity: 0.5}\n"
    sweep = parse_sweep(text.replace("seed: [0, 1]", "seed: 0"), "mine")
    lost = next(trial for trial in reversed(sweep.trials.values()) if trial.sparsifier.name == "snip")
    write_results(store, sweep)
    Path(store.root, "results", "trials", f"{lost.id}.parquet").unlink()
    call("figures", "mine", "--figure", "accuracy_vs_sparsity", store=store)
    table = pd.read_csv(Path(store.root, "figures/mine/accuracy_vs_sparsity.csv"))
    missing = table[table["n"] == 0]
    assert missing[["sparsifier", "sparsity", "data_ratio"]].to_numpy().tolist() == [
        ["snip", lost.sparsity, lost.data_ratio]
    ]


def test_figure_1_is_drawn_from_the_scores_of_the_sweep(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = written(store)
    [(dataset, runs)] = score_rankings(sweep.trials.values())
    assert json.loads(dataset)["name"] == "digits" and len(runs) == 2
    needed = {
        need.id for trial in sweep.trials.values() for need in trial.prerequisites() if isinstance(need, ScoringSpec)
    }
    assert set(runs) == needed
    labels = next(iter(sweep.trials.values())).dataset.load().train_labels
    content = {"sample": np.arange(len(labels)), "label": labels, "score": np.linspace(0, 1, len(labels))}
    for run in runs:
        path = Path(store.root, "artifacts", "scores", f"{run}-el2n.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(content), path)
    call("figures", "mine", store=store)
    said = capsys.readouterr()
    assert "sample_examples.png" in said.out and said.err == ""
    table = Path(store.root, "figures/mine/sample_examples.csv").read_text().splitlines()
    assert len(table) == 1 + 10 * 2 * 5 and table[0].startswith("dataset,name,label,class_name,end,rank,sample")


def test_a_sweep_named_after_a_figure_gets_it(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    written(store, "fig2")
    call("figures", "fig2", store=store)
    assert files(store, "figures/fig2") == {f"fig02_accuracy_vs_sparsity.{kind}" for kind in ("png", "pdf", "csv")}


def test_several_sweeps_are_taken_together(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    written(store)
    written(store, "fig2")
    call("claims", "mine", "fig2", "--json", store=store)
    assert len(json.loads(capsys.readouterr().out)) == 11
    call("report", "mine", "fig2", store=store)
    assert files(store, "reports") == {"mine+fig2.html"}


def test_what_is_not_done_is_said(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    written(store, leave_out=3)
    call("claims", "mine", store=store)
    assert "3 of 20 trials are not finished: excluded" in capsys.readouterr().err


def test_without_any_result_figures_says_so_and_report_still_tells_why(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = written(store, leave_out=20)
    failed = next(iter(sweep.trials))
    store.write_failure(failed, "mine", RuntimeError("it broke"))
    with pytest.raises(UsageError, match=r"mine: no trial has finished in .*\. See the reasons: sparsweep status"):
        call("figures", "mine", store=store)
    call("report", "mine", store=store)
    page = Path(store.root, "reports/mine.html").read_text()
    assert "it broke" in page and failed in page and "there is no finished trial to draw" in page


@pytest.mark.parametrize("command", ["figures", "report", "claims"])
def test_an_empty_storage_is_refused(store: Store, command: str) -> None:
    for recorded in (False, True):
        with pytest.raises(
            UsageError, match=r"^mine: no trial has finished in .*\. See the reasons: sparsweep status$"
        ):
            call(command, "mine" if recorded else str(path_of_mine(store)), store=store)
        written(store, leave_out=20)
    assert not Path(store.root, "reports").exists()


def path_of_mine(store: Store) -> Path:
    path = Path(store.root).parent / "mine.yaml"
    path.write_text(SWEEP)
    return path


def test_claims_in_words_and_as_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    written(store)
    call("claims", "mine", store=store)
    said = capsys.readouterr().out
    assert re.search(r"el2n-third: UNDECIDED on digits / resnet8 \(.* samples, 2 seeds\); not tested on its data", said)
    assert "all seeds are equal: no spread to judge by" in said
    assert "adversarial-all: NOT TESTED" in said
    call("claims", "mine", "--json", store=store)
    found = {entry["claim"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"claim", "verdict", "effect", "interval", "n"} <= found["el2n-third"].keys()
    assert found["el2n-third"]["effect"] == pytest.approx(0.02) and found["el2n-third"]["n"] == 2


def test_a_claim_of_ones_own(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(store)
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "- claim: no-worse\n  statement: SET loses nothing\n  source: me\n"
        "  parts: [{says: no worse, rule: ratio, value: nonzero_parameters, methods: [set], expect: {below: 0}}]\n"
    )
    call("claims", "mine", "--claims", str(mine), store=store)
    assert "no-worse: SUPPORTED on digits / resnet8" in capsys.readouterr().out
    mine.write_text("- {claim: x}")
    with pytest.raises(UsageError, match=rf"^--claims {mine}: 0\.statement: Field required"):
        call("claims", "mine", "--claims", str(mine), store=store)


def test_the_report_says_how_the_sweep_stands(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = written(store, leave_out=1)
    call("report", "mine", store=store)
    path = Path(store.root, "reports/mine.html")
    assert capsys.readouterr().out.strip() == str(path)
    page = path.read_text()
    assert "19 of 20" in page and "a test" in page
    assert sweep.dump() in html.unescape(page)


def test_tables_of_a_later_version_are_refused_in_one_line(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trial = next(iter(written(store).trials))
    store.write_failure(trial, "mine", OSError("full"))
    for name in (f"trials/{trial}", f"failures/{trial}-1"):
        path = Path(store.root, "results", f"{name}.parquet")
        table = pq.read_table(path)
        newer = {**table.schema.metadata, b"sparsweep.tables": str(schemas.TABLES_VERSION + 1).encode()}
        pq.write_table(table.replace_schema_metadata(newer), path)
    for command in (["figures", "mine"], ["claims", "mine"], ["report", "mine"], ["status", "mine"], ["compact"]):
        monkeypatch.setattr("sys.argv", ["sparsweep", *command, "--storage", store.storage])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr().err.splitlines()
        assert ended.value.code == 2
        newest = schemas.TABLES_VERSION
        wanted = f"tables of version {newest + 1}, this sparsweep reads up to {newest}. Update sparsweep."
        assert wanted in said[-1] and len(said) == 1


def test_an_unknown_sweep_names_the_choices(store: Store) -> None:
    with pytest.raises(UsageError, match=r"unknown sweep 'quickstrat' .did you mean quickstart"):
        call("report", "quickstrat", store=store)


def test_every_trial_of_a_sweep_has_the_runs_that_ranked_it() -> None:
    assert len(score_rankings(read_sweep("quickstart").trials.values())) == 1
    assert score_rankings([]) == []


def test_a_method_of_ones_own_states_its_label_and_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "_stated", {})
    monkeypatch.setitem(sparsifiers._classes, "theirs", SimpleNamespace(label="Their method", color="#123456"))
    set_plugin_styles()
    assert (style.of("theirs").label, style.of("theirs").color) == ("Their method", "#123456")
    assert style.of("set") == style.SPARSIFIERS["set"]
    monkeypatch.setitem(sparsifiers._classes, "theirs", SimpleNamespace(label="", color="blueish"))
    with pytest.raises(UsageError, match=r"^theirs\.color: no color \(got 'blueish'\)\. Write it as #rrggbb\.$"):
        set_plugin_styles()
