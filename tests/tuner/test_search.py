"""Searches without Ray: suggestions, told results and stored suggestions. tests/e2e runs a real search."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.run import refuse_another_search
from sparsweep.tuner.config.space import corners, sample
from sparsweep.tuner.config.sweep import Sweep, SweepError, parse_sweep, read_sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.graph import build_graph
from sparsweep.tuner.planning.trials import current_trials
from sparsweep.tuner.search import export_study
from sparsweep.tuner.search.study import SAMPLERS, OptunaStudy
from sparsweep.tuner.state import sweep_record
from sparsweep.tuner.state.suggestions import num_early_stopped, num_suggestions, suggestions

Runner = Callable[..., list[str]]

SEARCH = """
base:
  dataset: digits
  model: {name: resnet8, width: 0.25}
  recipe: {preset: digits, epochs: 1}
  data_ratio: 0.1
search:
  trials: 6
  objectives: {test_accuracy: maximize}
  space:
    sparsity: {from: 0.1, to: 0.9, step: 0.1}
    sparsifier: [{name: set, update_every: 0.25, prune_rate: {from: 0.1, to: 0.5}}, snip, random]
"""


@pytest.fixture
def search() -> Sweep:
    return parse_sweep(SEARCH, "search")


def finish(spec: TrialSpec, run_here: Runner) -> None:
    """Train a suggestion as a separate sweep in the same storage."""
    run_here(Sweep(name="one", grids=(spec.model_dump(mode="json"),)))


def test_space_is_sampled_field_by_field() -> None:
    space = {
        "sparsity": {"from": 0.1, "to": 0.9, "step": 0.1},
        "seed": {"from": 0, "to": 3},
        "recipe": {"lr": {"from": 0.001, "to": 0.1, "log": True}},
        "sparsifier": [{"name": "set", "prune_rate": {"from": 0.1, "to": 0.5}}, "snip"],
        "model": "resnet8",
    }
    params = {"sparsity": 0.3, "seed": 2, "recipe.lr": 0.01, "sparsifier": "set", "sparsifier.set.prune_rate": 0.25}
    assert sample(space, FixedTrial(params)) == {
        "sparsity": 0.3,
        "seed": 2,
        "recipe": {"lr": 0.01},
        "sparsifier": {"name": "set", "prune_rate": 0.25},
        "model": "resnet8",
    }


def test_nested_fields_are_sampled_only_if_chosen() -> None:
    space = {"sparsifier": [{"name": "set", "prune_rate": {"from": 0.1, "to": 0.5}}, "snip"]}
    trial = FixedTrial({"sparsifier": "snip"})
    assert sample(space, trial) == {"sparsifier": "snip"}
    assert list(trial.params) == ["sparsifier"]


def test_space_with_alternatives_samples_one_of_them() -> None:
    space = [{"sparsifier": "dense"}, {"sparsifier": "snip", "sparsity": [0.5, 0.8]}]
    assert sample(space, FixedTrial({"space": "dense"})) == {"sparsifier": "dense"}
    assert sample(space, FixedTrial({"space": "snip", "snip.sparsity": 0.8})) == {"sparsifier": "snip", "sparsity": 0.8}


def test_list_valued_field_is_not_sampled() -> None:
    assert sample({"recipe": {"milestones": [0.5, 0.75]}}, FixedTrial({})) == {"recipe": {"milestones": [0.5, 0.75]}}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"sparsity": {"from": 0.9, "to": 0.1}}, "search.space.sparsity: .* from <= to"),
        ({"recipe": {"lr": {"from": 0, "to": 0.1, "log": True}}}, "search.space.recipe.lr: .*from > 0"),
        ({"sparsifier": []}, "search.space.sparsifier: empty list"),
        ({"sparsity": {"from": 0.1, "to": 0.95, "step": 0.2}}, r"search\.space\.sparsity: the last step is 0\.9, "),
        (
            {"recipe": {"epochs": {"from": 1, "to": 6, "step": 2}}},
            r"recipe\.epochs: the last step is 5, ",
        ),
    ],
)
def test_invalid_spaces_raise(space: dict[str, object], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        sample(space, optuna.create_study().ask())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("search.trials=0", r"search\.trials"),
        ("search.sampler=bayes", r"search\.sampler.*'tpe'"),
        ("search.objectives={accuracy: maximize}", r"search\.objectives: unknown column 'accuracy'"),
        ("search.objectives={test_accuracy: up}", r"search\.objectives\.test_accuracy.*'maximize'"),
        ("search.objectives={}", r"search\.objectives"),
        ("search.stopping=hyperband", r"search\.stopping"),
    ],
)
def test_invalid_searches_raise_one_line(change: str, message: str) -> None:
    with pytest.raises(SweepError, match=message) as error_info:
        parse_sweep(SEARCH, "search", [change])
    assert "\n" not in str(error_info.value)


def test_interval_accepts_numbers_of_yaml_1_2() -> None:
    sweep = parse_sweep(SEARCH, "search", ["search.space.recipe={lr: {from: 1e-3, to: 1e-1, log: true}}"])
    assert sweep.search is not None and isinstance(sweep.search.space, dict)
    assert sample(sweep.search.space["recipe"], FixedTrial({"lr": 0.01})) == {"lr": 0.01}


def test_stopping_needs_the_objective_test_accuracy() -> None:
    with pytest.raises(SweepError, match=r"stopping: .asha. needs the single objective test_accuracy"):
        parse_sweep(SEARCH, "search", ["search.stopping=asha", "search.objectives={train_flops: minimize}"])


def test_sweep_needs_either_grids_or_a_search() -> None:
    with pytest.raises(SweepError, match="needs either grids"):
        parse_sweep(SEARCH + "grids: [{sparsifier: dense}]\n", "both")
    with pytest.raises(SweepError, match="needs either grids"):
        parse_sweep("base: {}", "neither")


def test_impossible_suggestion_fails_and_the_search_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finished = fake_objective(monkeypatch)
    sweep = parse_sweep(SEARCH, "search", ["search.space.sparsifier=[dense, random]", "search.sampler=random"])
    store = Store(str(tmp_path))
    suggested = suggest(OptunaStudy(sweep, store), finished)
    stored = list(suggestions("search", store))
    impossible = [suggestion for suggestion in stored if suggestion.ended == "impossible"]
    assert impossible and suggested and len(stored) == 6 == num_suggestions("search", store)
    assert all(suggestion.spec is None for suggestion in impossible)
    assert "must be 0 for 'dense'" in caplog.messages[0]
    assert current_trials(sweep, store).keys() == set(suggested) and num_early_stopped("search", store) == 0
    assert OptunaStudy(sweep, store).ask() is None  # the rebuilt study contains all suggestions


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{sparsifier: [rigll, set], sparsity: 0.5}", "invalid corner: .*sparsifier: unknown sparsifier 'rigll'"),
        ("{sparsifier: random, sparsity: {from: 0.9, to: 0.1}}", "search.space.sparsity: .* from <= to"),
        ("{sparsifier: random, sparsity: {from: 0.1, to: 0.9, step: 0}}", "search.space.sparsity: .*step > 0"),
        ("{sparsifier: random, sparsity: {from: 0.1, to: 0.9, step: -0.1}}", "search.space.sparsity: .*step > 0"),
        ("{sparsifier: dense, recipe: {lr: {from: 0.1, to: .inf}}}", "search.space.recipe.lr: .* from <= to"),
        ("{sparsity: {from: 0.1, to: 0.9}}", "invalid corner: .*sparsifier: Field required"),
        ("{sparsifier: [], sparsity: 0.5}", "search.space.sparsifier: empty list"),
        (
            "{sparsifier: random, sparsity: {from: 0.25, to: 1.0, step: 0.25}}",
            "invalid corner: .*sparsity: .*less than 1",
        ),
        ("{sparsifier: [random, dense], sparsity: 0.5}", "invalid corner: .*must be 0 for 'dense'"),
        ("{sparsifier: {name: set, update_every: {from: 1, to: 4}}, sparsity: 0.5}", "never changes its masks"),
    ],
)
def test_corners_of_the_space_are_validated(space: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(re.sub(r"  space:\n(    .*\n)+", f"  space: {space}\n", SEARCH))
    with pytest.raises(SweepError, match=message) as error_info:
        read_sweep(str(file))
    assert "\n" not in str(error_info.value)


@pytest.mark.parametrize(
    ("objective", "fix"),
    [
        ("validation_accuracy", "dataset.validation"),
        ("robust_accuracy", "adversarial"),
        ("autoattack_accuracy", "autoattack: true"),
        ("corrupted_accuracy", "corrupts images"),
    ],
)
def test_objective_that_no_trial_measures_raises(objective: str, fix: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SEARCH.replace("test_accuracy: maximize", f"{objective}: maximize"))
    with pytest.raises(SweepError, match=rf"^search\.objectives: no trial of this search has {objective}\. .*{fix}"):
        read_sweep(str(file))


def test_objective_that_a_trial_measures_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = SEARCH.replace("test_accuracy: maximize", "validation_accuracy: maximize")
    file.write_text(text.replace("dataset: digits", "dataset: {name: digits, validation: 300}"))
    assert read_sweep(str(file)).search


def test_corners_are_interval_ends_and_all_choices() -> None:
    methods = ["snip", {"name": "set", "prune_rate": 0.2}]
    space = {"sparsity": {"from": 0.1, "to": 0.9, "step": 0.1}, "sparsifier": methods}
    cells = [(cell["sparsity"], cell["sparsifier"]) for cell in corners(space)]
    assert cells == [(sparsity, method) for sparsity in (0.1, 0.9) for method in methods]


@pytest.mark.parametrize("change", ["search.space.sparsity=0.5", "recipe.lr=0.5", "search.sampler=random"])
def test_changed_space_with_stored_suggestions_raises(search: Sweep, change: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    sweep_record.save_sweep(search, store)
    OptunaStudy(search, store).ask()
    # More suggestions of the same space.
    refuse_another_search(parse_sweep(SEARCH, "search", ["search.trials=9"]), store)
    with pytest.raises(UsageError, match=r"search: 1 stored suggestions come from another space.*--set name=OTHER"):
        refuse_another_search(parse_sweep(SEARCH, "search", [change]), store)


def fake_objective(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Fake the objective: minus the distance of the sparsity to 0.4. Return the set of finished trials to fill."""
    finished: set[str] = set()

    def values(study: OptunaStudy, spec: TrialSpec) -> list[float] | None:
        return [-abs(spec.sparsity - 0.4)] if spec.id in finished else None

    monkeypatch.setattr(OptunaStudy, "values", values)
    return finished


def suggest(study: OptunaStudy, finished: set[str], limit: int = 1000) -> list[str]:
    """Ask for up to ``limit`` trials and finish each at once. Return their ids."""
    suggested: list[str] = []
    while len(suggested) < limit and (spec := study.ask()) is not None:
        suggested.append(spec.id)
        finished.add(spec.id)
        study.tell_finished(spec)
    return suggested


# Random start: ten suggestions of tpe and gp, one of qmc, and the first generation of nsga2, which has size ten here.
CONTINUOUS = ["search.trials=24", "search.population=10", "search.space.sparsity={from: 0.1, to: 0.9}"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_finishes_a_search(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = fake_objective(monkeypatch)
    study = OptunaStudy(parse_sweep(SEARCH, "search", [*CONTINUOUS, f"search.sampler={name}"]), Store(str(tmp_path)))
    suggest(study, finished)
    assert {trial.state for trial in study.study.trials} == {TrialState.COMPLETE}
    assert len(study.study.trials) == 24 and not study.open_trials
    assert study.best()[0].values == [max(trial.values[0] for trial in study.study.trials)]
    if name in {"tpe", "gp", "nsga2"}:  # adaptive samplers: the second half is better than the first
        distances = [-trial.values[0] for trial in study.study.trials]
        assert sum(distances[12:]) < sum(distances[:12])


@pytest.mark.parametrize("name", SAMPLERS)
def test_rebuilt_study_continues_the_same_sequence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study stops during the random start and again later. The suggestions are the same, without repetition."""
    finished = fake_objective(monkeypatch)
    sweep = parse_sweep(SEARCH, "search", [*CONTINUOUS, "search.trials=16", f"search.sampler={name}"])
    uninterrupted = suggest(OptunaStudy(sweep, Store(str(tmp_path / "one"))), finished)
    finished.clear()
    store = Store(str(tmp_path / "other"))
    parts = [suggest(OptunaStudy(sweep, store), finished, limit) for limit in (4, 9, 1000)]
    assert [run for part in parts for run in part] == uninterrupted


def test_several_objectives_have_a_pareto_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = "search.objectives={test_accuracy: maximize, train_flops: minimize}"
    monkeypatch.setattr(OptunaStudy, "values", lambda study, spec: [spec.sparsity, spec.sparsity])
    study = OptunaStudy(parse_sweep(SEARCH, "search", [change, "search.sampler=nsga2"]), Store(str(tmp_path)))
    assert study.ask() is None  # all trials are finished, so their values are told without training
    all_values = {trial.values[0] for trial in study.study.trials}
    # Both objectives are equal, one to maximize and one to minimize, so all values are on the front.
    assert {trial.values[0] for trial in study.best()} == all_values


def test_finished_suggestion_is_told_without_training(search: Sweep, run_here: Runner, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = OptunaStudy(search, store)
    spec = first.ask()
    assert spec is not None
    finish(spec, run_here)
    second_study = OptunaStudy(search.model_copy(update={"name": "again"}), store)
    suggested = second_study.ask()  # the first suggestion is finished, so ask returns the next one
    assert suggested is not None and suggested.id != spec.id
    assert [trial.state for trial in second_study.study.trials][:1] == [TrialState.COMPLETE]
    assert set(current_trials(search.model_copy(update={"name": "again"}), store)) == {spec.id, suggested.id}


def test_no_suggestion_is_lost_or_repeated(search: Sweep, run_here: Runner, tmp_path: Path) -> None:
    """A driver dies with one finished and two started suggestions. The next driver runs these two, then new ones."""
    store = Store(str(tmp_path))
    first = OptunaStudy(search, store)
    started = [first.ask() for _ in range(3)]
    assert all(started)
    finish(started[0], run_here)
    second = OptunaStudy(search, store)
    resumed = [second.ask(), second.ask()]
    assert [spec.id for spec in resumed if spec] == [spec.id for spec in started[1:] if spec]
    assert [trial.params for trial in second.study.trials] == [s.params for s in suggestions("search", store)]
    later = []
    while (spec := second.ask()) is not None:
        later.append(spec.id)
    stored = list(suggestions("search", store))
    assert len(stored) == 6 and [suggestion.number for suggestion in stored] == list(range(6))
    assert not set(later) & {spec.id for spec in started if spec}


def test_nan_is_told_as_failed(search: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = OptunaStudy(search, Store(str(tmp_path)))
    spec = study.ask()
    assert spec is not None
    monkeypatch.setattr(OptunaStudy, "values", lambda study, spec: [math.nan])
    study.tell_finished(spec)
    assert [trial.state for trial in study.study.trials] == [TrialState.FAIL] and not study.open_trials


def test_pruned_suggestion_does_not_run_again(search: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    study = OptunaStudy(search, store)
    spec = study.ask()
    assert spec is not None
    study.tell_failed(spec, "pruned")
    resumed = OptunaStudy(search, store)
    assert resumed.study.trials[0].state is TrialState.PRUNED and not resumed.pending
    assert current_trials(search, store) == {} and (
        num_suggestions("search", store),
        num_early_stopped("search", store),
    ) == (1, 1)


def test_next_driver_reruns_a_failed_suggestion(search: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    study = OptunaStudy(search, store)
    spec = study.ask()
    assert spec is not None
    study.tell_failed(spec, "failed")
    assert [pending.id for pending in OptunaStudy(search, store).pending] == [spec.id]


def test_graph_of_a_search_contains_its_suggestions(search: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert current_trials(search, store) == {}
    study = OptunaStudy(search, store)
    suggested = {spec.id for spec in (study.ask(), study.ask()) if spec}
    assert set(build_graph(current_trials(search, store)).trials) == suggested


def test_study_is_exported_for_the_dashboard(search: Sweep, run_here: Runner, tmp_path: Path) -> None:
    """The study contains open and finished trials and the name of the objective. A second write changes nothing."""
    store = Store(str(tmp_path))
    study = OptunaStudy(search, store)
    suggested = [study.ask(), study.ask()]
    assert suggested[0]
    finish(suggested[0], run_here)
    for _ in range(2):
        address = export_study.write(search, store, str(tmp_path / "study.db"))
    exported = optuna.load_study(study_name="search", storage=address)
    assert optuna.get_all_study_names(address) == ["search"] and exported.metric_names == ["test_accuracy"]
    assert [trial.state for trial in exported.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.user_attrs["trial"] for trial in exported.trials] == [spec.id for spec in suggested if spec]
    assert exported.best_trial.params == study.study.trials[0].params
