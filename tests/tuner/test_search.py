"""Searches: what is suggested, told and kept, without Ray; a real one runs in tests/e2e."""

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
    """Train a suggestion as a sweep of its own in the same storage."""
    run_here(Sweep(name="one", grids=(spec.model_dump(mode="json"),)))


def test_a_space_is_drawn_cell_by_cell() -> None:
    space = {
        "sparsity": {"from": 0.1, "to": 0.9, "step": 0.1},
        "seed": {"from": 0, "to": 3},
        "recipe": {"lr": {"from": 0.001, "to": 0.1, "log": True}},
        "sparsifier": [{"name": "set", "prune_rate": {"from": 0.1, "to": 0.5}}, "snip"],
        "model": "resnet8",
    }
    given = {"sparsity": 0.3, "seed": 2, "recipe.lr": 0.01, "sparsifier": "set", "sparsifier.set.prune_rate": 0.25}
    assert sample(space, FixedTrial(given)) == {
        "sparsity": 0.3,
        "seed": 2,
        "recipe": {"lr": 0.01},
        "sparsifier": {"name": "set", "prune_rate": 0.25},
        "model": "resnet8",
    }


def test_what_a_choice_holds_is_drawn_only_if_it_is_chosen() -> None:
    space = {"sparsifier": [{"name": "set", "prune_rate": {"from": 0.1, "to": 0.5}}, "snip"]}
    trial = FixedTrial({"sparsifier": "snip"})
    assert sample(space, trial) == {"sparsifier": "snip"}
    assert list(trial.params) == ["sparsifier"]


def test_a_space_of_mappings_chooses_one_first() -> None:
    space = [{"sparsifier": "dense"}, {"sparsifier": "snip", "sparsity": [0.5, 0.8]}]
    assert sample(space, FixedTrial({"space": "dense"})) == {"sparsifier": "dense"}
    assert sample(space, FixedTrial({"space": "snip", "snip.sparsity": 0.8})) == {"sparsifier": "snip", "sparsity": 0.8}


def test_a_list_valued_field_is_a_value() -> None:
    assert sample({"recipe": {"milestones": [0.5, 0.75]}}, FixedTrial({})) == {"recipe": {"milestones": [0.5, 0.75]}}


@pytest.mark.parametrize(
    ("space", "why"),
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
def test_bad_spaces_are_one_clear_line(space: dict[str, object], why: str) -> None:
    with pytest.raises(SweepError, match=why):
        sample(space, optuna.create_study().ask())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("search.trials=0", r"search\.trials"),
        ("search.sampler=bayes", r"search\.sampler.*'tpe'"),
        ("search.objectives={accuracy: maximize}", r"search\.objectives: unknown column 'accuracy'"),
        ("search.objectives={test_accuracy: up}", r"search\.objectives\.test_accuracy.*'maximize'"),
        ("search.objectives={}", r"search\.objectives"),
        ("search.stopping=hyperband", r"search\.stopping"),
    ],
)
def test_bad_searches_are_one_clear_line(change: str, why: str) -> None:
    with pytest.raises(SweepError, match=why) as caught:
        parse_sweep(SEARCH, "search", [change])
    assert "\n" not in str(caught.value)


def test_an_interval_takes_numbers_of_yaml_1_2() -> None:
    sweep = parse_sweep(SEARCH, "search", ["search.space.recipe={lr: {from: 1e-3, to: 1e-1, log: true}}"])
    assert sweep.search is not None and isinstance(sweep.search.space, dict)
    assert sample(sweep.search.space["recipe"], FixedTrial({"lr": 0.01})) == {"lr": 0.01}


def test_stopping_compares_accuracies_alone() -> None:
    with pytest.raises(SweepError, match=r"stopping: .asha. needs the single objective test_accuracy"):
        parse_sweep(SEARCH, "search", ["search.stopping=asha", "search.objectives={train_flops: minimize}"])


def test_a_sweep_has_grids_or_a_search() -> None:
    with pytest.raises(SweepError, match="needs either grids"):
        parse_sweep(SEARCH + "grids: [{sparsifier: dense}]\n", "both")
    with pytest.raises(SweepError, match="needs either grids"):
        parse_sweep("base: {}", "neither")


def test_an_impossible_suggestion_has_failed_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finished = nearer_to_two_fifths(monkeypatch)
    sweep = parse_sweep(SEARCH, "search", ["search.space.sparsifier=[dense, random]", "search.sampler=random"])
    store = Store(str(tmp_path))
    asked = suggest(OptunaStudy(sweep, store), finished)
    kept = list(suggestions("search", store))
    left_out = [suggestion for suggestion in kept if suggestion.ended == "impossible"]
    assert left_out and asked and len(kept) == 6 == num_suggestions("search", store)
    assert all(suggestion.spec is None for suggestion in left_out)
    assert "must be 0 for 'dense'" in caplog.messages[0]
    assert current_trials(sweep, store).keys() == set(asked) and num_early_stopped("search", store) == 0
    assert OptunaStudy(sweep, store).ask() is None  # made anew, it knows them all


@pytest.mark.parametrize(
    ("space", "why"),
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
def test_a_space_is_checked_to_its_corners_before_anything_runs(space: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(re.sub(r"  space:\n(    .*\n)+", f"  space: {space}\n", SEARCH))
    with pytest.raises(SweepError, match=why) as caught:
        read_sweep(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("objective", "remedy"),
    [
        ("validation_accuracy", "dataset.validation"),
        ("robust_accuracy", "adversarial"),
        ("autoattack_accuracy", "autoattack: true"),
        ("corrupted_accuracy", "corrupts images"),
    ],
)
def test_an_objective_that_no_trial_has_is_refused(objective: str, remedy: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SEARCH.replace("test_accuracy: maximize", f"{objective}: maximize"))
    with pytest.raises(SweepError, match=rf"^search\.objectives: no trial of this search has {objective}\. .*{remedy}"):
        read_sweep(str(file))


def test_an_objective_that_some_trial_has_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = SEARCH.replace("test_accuracy: maximize", "validation_accuracy: maximize")
    file.write_text(text.replace("dataset: digits", "dataset: {name: digits, validation: 300}"))
    assert read_sweep(str(file)).search


def test_corners_are_the_ends_of_intervals_and_every_choice() -> None:
    methods = ["snip", {"name": "set", "prune_rate": 0.2}]
    space = {"sparsity": {"from": 0.1, "to": 0.9, "step": 0.1}, "sparsifier": methods}
    found = [(cell["sparsity"], cell["sparsifier"]) for cell in corners(space)]
    assert found == [(sparsity, method) for sparsity in (0.1, 0.9) for method in methods]


@pytest.mark.parametrize("change", ["search.space.sparsity=0.5", "recipe.lr=0.5", "search.sampler=random"])
def test_suggestions_of_another_space_are_not_mixed(search: Sweep, change: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    sweep_record.save_sweep(search, store)
    OptunaStudy(search, store).ask()
    refuse_another_search(parse_sweep(SEARCH, "search", ["search.trials=9"]), store)  # more of the same
    with pytest.raises(UsageError, match=r"search: 1 stored suggestions come from another space.*--set name=OTHER"):
        refuse_another_search(parse_sweep(SEARCH, "search", [change]), store)


def nearer_to_two_fifths(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Made-up values of the trials whose ids are in the set that is returned: the nearer to .4, the better."""
    finished: set[str] = set()

    def values(study: OptunaStudy, spec: TrialSpec) -> list[float] | None:
        return [-abs(spec.sparsity - 0.4)] if spec.id in finished else None

    monkeypatch.setattr(OptunaStudy, "values", values)
    return finished


def suggest(study: OptunaStudy, finished: set[str], most: int = 1000) -> list[str]:
    """Ask for trials and finish each, one after the other."""
    asked: list[str] = []
    while len(asked) < most and (spec := study.ask()) is not None:
        asked.append(spec.id)
        finished.add(spec.id)
        study.tell_finished(spec)
    return asked


# Ten suggestions of tpe and gp are random, one of qmc, and a first generation of nsga2, which is ten here.
CONTINUOUS = ["search.trials=24", "search.population=10", "search.space.sparsity={from: 0.1, to: 0.9}"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_searches_to_the_end_beyond_its_random_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = nearer_to_two_fifths(monkeypatch)
    study = OptunaStudy(parse_sweep(SEARCH, "search", [*CONTINUOUS, f"search.sampler={name}"]), Store(str(tmp_path)))
    suggest(study, finished)
    assert {trial.state for trial in study.study.trials} == {TrialState.COMPLETE}
    assert len(study.study.trials) == 24 and not study.open_trials
    assert study.best()[0].values == [max(trial.values[0] for trial in study.study.trials)]
    if name in {"tpe", "gp", "nsga2"}:  # they learn: the later half is better than the random one
        distances = [-trial.values[0] for trial in study.study.trials]
        assert sum(distances[12:]) < sum(distances[:12])


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_study_made_anew_goes_on_as_if_it_had_never_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its random start and again beyond it: the same suggestions, none of them twice."""
    finished = nearer_to_two_fifths(monkeypatch)
    sweep = parse_sweep(SEARCH, "search", [*CONTINUOUS, "search.trials=16", f"search.sampler={name}"])
    undisturbed = suggest(OptunaStudy(sweep, Store(str(tmp_path / "one"))), finished)
    finished.clear()
    store = Store(str(tmp_path / "other"))
    parts = [suggest(OptunaStudy(sweep, store), finished, most) for most in (4, 9, 1000)]
    assert [run for part in parts for run in part] == undisturbed


def test_several_objectives_have_a_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = "search.objectives={test_accuracy: maximize, train_flops: minimize}"
    monkeypatch.setattr(OptunaStudy, "values", lambda study, spec: [spec.sparsity, spec.sparsity])
    study = OptunaStudy(parse_sweep(SEARCH, "search", [change, "search.sampler=nsga2"]), Store(str(tmp_path)))
    assert study.ask() is None  # all "finished" already: told without training
    told = {trial.values[0] for trial in study.study.trials}
    assert {trial.values[0] for trial in study.best()} == told  # more of both: none beats another


def test_what_is_finished_is_told_without_training(search: Sweep, run_here: Runner, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = OptunaStudy(search, store)
    spec = first.ask()
    assert spec is not None
    finish(spec, run_here)
    other = OptunaStudy(search.model_copy(update={"name": "again"}), store)
    asked = other.ask()  # the same sampler's first suggestion is finished: it goes on to its next one
    assert asked is not None and asked.id != spec.id
    assert [trial.state for trial in other.study.trials][:1] == [TrialState.COMPLETE]
    assert set(current_trials(search.model_copy(update={"name": "again"}), store)) == {spec.id, asked.id}


def test_no_suggestion_is_lost_or_repeated(search: Sweep, run_here: Runner, tmp_path: Path) -> None:
    """A driver that dies with one suggestion finished and two begun: the next one runs those two, then new ones."""
    store = Store(str(tmp_path))
    first = OptunaStudy(search, store)
    begun = [first.ask() for _ in range(3)]
    assert all(begun)
    finish(begun[0], run_here)
    second = OptunaStudy(search, store)
    again = [second.ask(), second.ask()]
    assert [spec.id for spec in again if spec] == [spec.id for spec in begun[1:] if spec]
    assert [trial.params for trial in second.study.trials] == [s.params for s in suggestions("search", store)]
    rest = []
    while (spec := second.ask()) is not None:
        rest.append(spec.id)
    kept = list(suggestions("search", store))
    assert len(kept) == 6 and [suggestion.number for suggestion in kept] == list(range(6))
    assert not set(rest) & {spec.id for spec in begun if spec}


def test_nan_is_told_as_failed(search: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = OptunaStudy(search, Store(str(tmp_path)))
    spec = study.ask()
    assert spec is not None
    monkeypatch.setattr(OptunaStudy, "values", lambda study, spec: [math.nan])
    study.tell_finished(spec)
    assert [trial.state for trial in study.study.trials] == [TrialState.FAIL] and not study.open_trials


def test_a_pruned_suggestion_is_not_run_again(search: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    study = OptunaStudy(search, store)
    spec = study.ask()
    assert spec is not None
    study.tell_failed(spec, "pruned")
    again = OptunaStudy(search, store)
    assert again.study.trials[0].state is TrialState.PRUNED and not again.pending
    assert current_trials(search, store) == {} and (
        num_suggestions("search", store),
        num_early_stopped("search", store),
    ) == (1, 1)


def test_a_failed_suggestion_is_run_again_by_the_next_driver(search: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    study = OptunaStudy(search, store)
    spec = study.ask()
    assert spec is not None
    study.tell_failed(spec, "failed")
    assert [pending.id for pending in OptunaStudy(search, store).pending] == [spec.id]


def test_the_graph_of_a_search_is_what_it_has_suggested(search: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert current_trials(search, store) == {}
    study = OptunaStudy(search, store)
    asked = {spec.id for spec in (study.ask(), study.ask()) if spec}
    assert set(build_graph(current_trials(search, store)).trials) == asked


def test_a_study_is_written_for_the_dashboard(search: Sweep, run_here: Runner, tmp_path: Path) -> None:
    """With what is open and what is finished, under the objective's name; written again, it is the same study."""
    store = Store(str(tmp_path))
    study = OptunaStudy(search, store)
    asked = [study.ask(), study.ask()]
    assert asked[0]
    finish(asked[0], run_here)
    for _ in range(2):
        address = export_study.write(search, store, str(tmp_path / "study.db"))
    written = optuna.load_study(study_name="search", storage=address)
    assert optuna.get_all_study_names(address) == ["search"] and written.metric_names == ["test_accuracy"]
    assert [trial.state for trial in written.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.user_attrs["trial"] for trial in written.trials] == [spec.id for spec in asked if spec]
    assert written.best_trial.params == study.study.trials[0].params
