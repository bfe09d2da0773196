"""The engine: a recorded step replayed gives the bits of the step, and a machine that is used again those of a new one.

A CUDA graph is operations on fixed tensors. So is a :class:`Recording`, which can be made on a CPU: what is shown with
it holds for all but the capture itself, which the tests at the end need a GPU for.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import default_cache_dir
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.sparsifiers import Masks, sparsifiers
from sparsweep.trainables.sparsifiers.masked_params import LatentParams, MaskedParams
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.testing import (
    NUM_SAMPLES,
    check_same,
    comparable,
    fake_parent_state,
    first_samples,
    tiny_trial,
)
from sparsweep.trainables.training import compilation, execution
from sparsweep.trainables.training.execution import ExecutionConfig, Replay, Step, StepRunnerCache
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import begin, trial

CAPTURED = ["dense", "random", "set", "rigl", "gmp", "snfs", "dsr", {"name": "set", "dense_gradients": True}]
EAGER = {
    "movement": "reads the gradients of every step",
    "bayesian_connectivity": "reads the gradients of every step",
    "topkast": "ExplorationPenaltyParams does not set graph_tensors",
    "nm": "SrSteParams does not set graph_tensors",
}
PGD = {"name": "adversarial", "steps": 2, "test_steps": 1}


class Recording(TorchDispatchMode):
    """The operations of a step with the very tensors that they read and wrote; :meth:`replay` runs them on these."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[torch.Tensor]]] = []
        self.replays = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {id(value) for value in tree_leaves((args, kwargs))}
        made = [value for value in tree_leaves(result) if isinstance(value, torch.Tensor) and id(value) not in given]
        if not function.is_view:  # a view shows what its base holds
            self.calls.append((function, args, kwargs or {}, made))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return  # other than a graph's capture, recording has computed the step already
        for function, args, kwargs, made in self.calls:
            given = {id(value) for value in tree_leaves((args, kwargs))}
            again = [v for v in tree_leaves(function(*args, **kwargs)) if isinstance(v, torch.Tensor)]
            for place, value in zip(made, [v for v in again if id(v) not in given], strict=True):
                place.copy_(value)


RECORDINGS: list[Recording] = []


def record(step: Step, places: tuple[torch.Tensor, ...]) -> Replay:
    recording = Recording()
    with recording:
        result = step(*places)
    RECORDINGS.append(recording)
    return recording.replay, result


class Recorded(StepRunnerCache):
    """A runner_cache whose machines replay recordings on the CPU."""

    def acquire(self, *arguments: Any) -> execution.StepRunner:
        machine = super().acquire(*arguments)
        machine.capture_fn = record
        return machine


@pytest.fixture(autouse=True)
def fresh() -> None:
    RECORDINGS.clear()
    execution.warn_once.cache_clear()


def spec_of(sparsifier: Any, **changes: Any) -> TrialSpec:
    """Six epochs of two full batches and a smaller one, the rate falling half way."""
    name = sparsifier["name"] if isinstance(sparsifier, dict) else sparsifier
    sparsity = {"dense": 0.0, "nm": 0.5}.get(name, 0.8)
    recipe = {"epochs": 6, "batch_size": 8, "crop_padding": 1, "lr": 0.05, "milestones": [0.5]}
    return tiny_trial(sparsifier, sparsity, **{"recipe": recipe, **changes})


def run(
    spec: TrialSpec,
    runner_cache: StepRunnerCache,
    epochs: int | None = None,
    samples: int = NUM_SAMPLES - 3,
    device: str = "cpu",
) -> Trainer:
    training = Trainer(spec, first_samples(samples, device), torch.arange(samples), fake_parent_state, runner_cache)
    for _ in range(spec.num_epochs if epochs is None else epochs):
        training.train_epoch()
    return training


def check_equal(found: Trainer, expected: Trainer) -> None:
    check_same(comparable(found), comparable(expected))


@pytest.mark.parametrize(
    ("sparsifier", "difficulty"),
    [*((sparsifier, "none") for sparsifier in CAPTURED), ("set", PGD), ("rigl", {**PGD, "loss": "trades"})],
    ids=str,
)
def test_a_replayed_training_has_the_bits_of_a_training(sparsifier: Any, difficulty: Any) -> None:
    """Masks, learning rate, batches and random numbers change between replays of two recordings, one a batch size."""
    spec = spec_of(sparsifier, difficulty=difficulty)
    found = run(spec, Recorded())
    check_equal(found, run(spec, StepRunnerCache()))
    full, rest = RECORDINGS
    steps = spec.num_epochs * len(found.batches)
    assert full.replays + rest.replays == steps - 2 * execution.WARMUP_STEPS
    assert (full.replays, rest.replays) == (
        2 * spec.num_epochs - execution.WARMUP_STEPS,
        spec.num_epochs - execution.WARMUP_STEPS,
    )


def test_latent_weights_are_replayed_too() -> None:
    """No built-in method trains weights out of sight by recorded steps, a plugin's may."""

    class Hidden(type(spec_of("set").sparsifier)):  # type: ignore[misc]
        def masked_params(self, weights: Any, optimizer: Any, masks: Masks) -> MaskedParams:
            return LatentParams(weights, optimizer, masks, lambda values, masks: Masks.full(values))

    spec = spec_of(Hidden(update_every=1))
    check_equal(run(spec, Recorded()), run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 2


@pytest.mark.parametrize("name", EAGER)
def test_what_cannot_be_replayed_runs_as_it_is_and_says_so_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    spec, runner_cache = spec_of(name), Recorded()
    with caplog.at_level(logging.WARNING, execution.__name__):
        check_equal(run(spec, runner_cache, epochs=3), run(spec, StepRunnerCache(), epochs=3))
        run(spec, runner_cache, epochs=1)
    assert not RECORDINGS
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert EAGER[name] in caplog.text and "without CUDA graphs" in caplog.text


def test_own_losses_and_own_steps_are_not_captured_unless_they_say_so() -> None:
    @dataclass(frozen=True)
    class Own(TrainingLoss):
        def loss(self, *arguments: Any) -> Any:
            return super().loss(*arguments)

    @dataclass(frozen=True)
    class Vouched(Own):
        supports_cuda_graphs: ClassVar[bool] = True

    class Masked(MaskedParams):
        def step(self) -> None:
            super().step()

    assert TrainingLoss.supports_cuda_graphs and not Own.supports_cuda_graphs and Vouched.supports_cuda_graphs
    assert MaskedParams.graph_tensors and Masked.graph_tensors is None


def test_a_step_that_fails_to_be_captured_is_run(caplog: pytest.LogCaptureFixture) -> None:
    spec, tried = spec_of("set"), []

    def refuse(step: Step, places: tuple[torch.Tensor, ...]) -> Replay:
        tried.append(len(places[0]))
        raise RuntimeError("operation not permitted when stream is capturing")

    runner_cache = StepRunnerCache()
    training = run(spec, runner_cache, epochs=0)
    training.runner.capture_fn, training.runner.capture_enabled = refuse, True
    with caplog.at_level(logging.WARNING, execution.__name__):
        for _ in range(spec.num_epochs):
            training.train_epoch()
    check_equal(training, run(spec, StepRunnerCache()))
    assert tried == [8] and "not permitted" in caplog.text


# Machines that are used again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StepRunnerCache, Recorded])
def test_the_next_training_of_the_same_shapes_uses_the_machine_and_has_its_own_bits(
    kind: type[StepRunnerCache],
) -> None:
    """Another seed, method, sparsity and rate; what was recorded in the first is replayed in the second."""
    runner_cache = kind()
    first = run(spec_of("set"), runner_cache)
    recorded = len(RECORDINGS)
    other = spec_of("rigl", seed=7, recipe={"epochs": 4, "batch_size": 8, "crop_padding": 1, "lr": 0.1})
    second = run(other.replace(sparsity=0.6), runner_cache)
    assert second.runner is first.runner and len(RECORDINGS) == recorded
    check_equal(second, run(other.replace(sparsity=0.6), StepRunnerCache()))
    again = run(spec_of("dense", seed=3), runner_cache)
    assert again.runner is first.runner
    check_equal(again, run(spec_of("dense", seed=3), StepRunnerCache()))


@pytest.mark.parametrize(
    "changes",
    [
        {"difficulty": PGD},
        {"recipe": {"momentum": 0.5}},
        {"recipe": {"precision": "bf16"}},
        {"recipe": {"batch_size": 7}},
    ],
    ids=["attack", "momentum", "precision", "batch"],
)
def test_a_training_of_another_kind_gets_a_machine_of_its_own(changes: dict[str, Any]) -> None:
    runner_cache = StepRunnerCache()
    first = run(spec_of("set"), runner_cache, epochs=1)
    second = run(spec_of("set", **changes), runner_cache, epochs=1)
    assert second.runner is not first.runner and runner_cache.runner is second.runner


def test_of_trainings_on_more_and_more_samples_two_sizes_of_batch_stay_captured() -> None:
    """Each has a last batch of its own, and a captured step holds the memory of all that it computes."""
    runner_cache = Recorded()
    for samples in (18, 19, 20, 21):
        training = run(spec_of("set"), runner_cache, samples=samples)
        check_equal(training, run(spec_of("set"), StepRunnerCache(), samples=samples))
        assert training.runner.graphs.keys() == {8, samples % 8}
    assert len(RECORDINGS) == 1 + 4


def test_another_topology_on_the_same_machine_is_recorded_anew() -> None:
    runner_cache = Recorded()
    run(spec_of("set"), runner_cache)
    spec = spec_of({"name": "set", "dense_gradients": True})
    check_equal(run(spec, runner_cache), run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 4


def test_replaying_goes_on_after_a_checkpoint() -> None:
    """A worker that used its machine for something else meanwhile: the momenta are put where the recording has them."""
    spec, runner_cache = spec_of("set"), Recorded()
    saved = tensor_file.loads(tensor_file.dumps(run(spec, runner_cache, epochs=3).state()))
    run(spec_of("random", seed=5), runner_cache, epochs=2)
    resumed = run(spec, runner_cache, epochs=0)
    resumed.restore(saved)
    for _ in range(3):
        resumed.train_epoch()
    check_equal(resumed, run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 2


def test_without_momentum_there_is_none_to_keep() -> None:
    spec, runner_cache = (
        spec_of("set", recipe={"momentum": 0.0, "nesterov": False, "batch_size": 8, "epochs": 3}),
        Recorded(),
    )
    for _ in range(2):
        check_equal(run(spec, runner_cache), run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 2


# Levers --------------------------------------------------------------------------------------------------------------


def test_channels_last_is_for_bf16_on_a_gpu() -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert ExecutionConfig().layout(gpu, "bf16") == torch.channels_last
    others = [
        ExecutionConfig().layout(gpu, "fp32"),
        ExecutionConfig().layout(cpu, "bf16"),
        ExecutionConfig(channels_last=False).layout(gpu, "bf16"),
    ]
    assert set(others) == {torch.contiguous_format}


@pytest.mark.parametrize("sparsifier", [*CAPTURED, *EAGER], ids=str)
def test_methods_train_in_channels_last(sparsifier: Any, digits: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks keep their counts (checked at every update), and every tensor of a step has the layout of its weight."""
    monkeypatch.setattr(ExecutionConfig, "layout", lambda *arguments: torch.channels_last)
    method = {"name": sparsifier} if isinstance(sparsifier, str) else sparsifier
    soon = {"update_every": 1.0} if "update_every" in sparsifiers[method["name"]].model_fields else {}
    sparsity = {"dense": 0.0, "nm": 0.5}.get(method["name"], 0.8)
    training = begin(trial(sparsifier={**soon, **method}, sparsity=sparsity), digits)
    training.train_epoch(), training.train_epoch()
    name = "layer2.0.conv2.weight"
    weight = training.weights[name]
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    momentum = training.optimizer.state[weight]["momentum_buffer"]
    factor = training.masked_params.mask_floats[list(training.weights).index(name)]
    assert weight.stride() == momentum.stride() == factor.stride()
    assert not weight.detach()[~training.masks[name]].any()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What a compiler gets that leaves everything as it is."""
    found: list[Any] = []

    def compile_nothing(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(execution.torch, "compile", partial(torch.compile, backend=compile_nothing))
    monkeypatch.setenv(compilation.COMPILE_CACHE_VARIABLE, str(tmp_path))
    return found


@pytest.mark.parametrize("difficulty", ["none", PGD, {**PGD, "loss": "trades"}], ids=["plain", "pgd", "trades"])
def test_a_compiled_network_is_trained_and_the_network_itself_judged(difficulty: Any, graphs: list[Any]) -> None:
    spec, runner_cache = spec_of("set", difficulty=difficulty), StepRunnerCache(ExecutionConfig(compile=True))
    check_equal(run(spec, runner_cache), run(spec, StepRunnerCache()))
    compilations = len(graphs)
    check_equal(run(spec.replace(seed=5), runner_cache), run(spec.replace(seed=5), StepRunnerCache()))
    assert 0 < compilations == len(graphs)  # the second training of the same shapes compiles nothing


def test_every_machine_of_a_worker_is_compiled(graphs: list[Any]) -> None:
    """PyTorch compiles one function eight times at most, and all networks of a kind are one function."""
    runner_cache, counts = StepRunnerCache(ExecutionConfig(compile=True)), []
    for batch_size in range(4, 14):
        run(spec_of("random", recipe={"batch_size": batch_size, "epochs": 1}), runner_cache)
        counts.append(len(graphs))
    assert counts == list(range(1, 11))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles for a CPU with g++")
def test_compiled_code_trains_alike_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "COMPILE_CACHE", str(tmp_path))
    monkeypatch.setenv(compilation.COMPILE_CACHE_VARIABLE, default_cache_dir())
    spec = spec_of("set")
    found, expected = run(spec, StepRunnerCache(ExecutionConfig(compile=True))), run(spec, StepRunnerCache())
    for weight, wanted in zip(found.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.allclose(weight, wanted, rtol=1e-4, atol=1e-5)
    assert found.masks.equal(expected.masks)
    assert any(tmp_path.rglob("*.so"))


@pytest.mark.parametrize("given", [None, "torch", "/own"])
def test_compiled_code_is_kept_where_the_user_says_or_at_home(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own choice, which it makes the user's as soon as it is asked, is lost with the temporary files."""
    monkeypatch.setenv(compilation.COMPILE_CACHE_VARIABLE, default_cache_dir() if given == "torch" else given or "")
    if given is None:
        monkeypatch.delenv(compilation.COMPILE_CACHE_VARIABLE)
    compilation.use_persistent_inductor_cache()
    home = str(Path("~/.cache/sparsweep/inductor").expanduser())
    assert os.environ[compilation.COMPILE_CACHE_VARIABLE] == (given if given == "/own" else home)


def test_the_cpu_captures_nothing() -> None:
    assert run(spec_of("set"), StepRunnerCache(), epochs=1).runner.capture_fn is None


@pytest.mark.slow
def test_bf16_is_as_accurate_as_fp32_within_the_spread_of_seeds(digits: DeviceData) -> None:
    def accuracies(precision: str) -> list[float]:
        recipe = {"preset": "digits", "epochs": 10, "precision": precision}
        specs = [trial(model="resnet8", sparsifier="set", sparsity=0.5, recipe=recipe, seed=seed) for seed in range(4)]
        runs = [begin(spec, digits, samples=400) for spec in specs]
        for run in runs:
            for _ in range(10):
                run.train_epoch()
        return [run.history[-1].test_accuracy or 0.0 for run in runs]

    fp32, bf16 = accuracies("fp32"), accuracies("bf16")
    spread = max(fp32) - min(fp32)
    assert fp32 != bf16 and min(fp32) > 0.5
    assert abs(mean(bf16) - mean(fp32)) <= spread, (fp32, bf16)


# On a GPU ------------------------------------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def on_gpu(spec: TrialSpec, **levers: Any) -> Trainer:
    return run(spec, StepRunnerCache(ExecutionConfig(**levers)), device="cuda")


def check_graphs(spec: TrialSpec, **levers: Any) -> None:
    """Trained with CUDA graphs and without, weights, masks and losses have the same bits."""
    graphs, plain = (on_gpu(spec, graphs=graphs, **levers) for graphs in (True, False))
    assert len(graphs.runner.graphs) == 2 and not plain.runner.graphs
    for (name, found), expected in zip(
        graphs.model.state_dict().items(), plain.model.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name
    assert graphs.masks.equal(plain.masks)
    assert [epoch.train_loss for epoch in graphs.history] == [epoch.train_loss for epoch in plain.history]


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("difficulty", ["none", PGD, {**PGD, "loss": "trades"}], ids=["plain", "pgd", "trades"])
@pytest.mark.parametrize("sparsifier", CAPTURED, ids=str)
def test_graphs_change_no_bit(sparsifier: Any, difficulty: Any, precision: str, deterministic: None) -> None:
    recipe = {**spec_of("dense").recipe.model_dump(), "precision": precision}
    check_graphs(spec_of(sparsifier, difficulty=difficulty, recipe=recipe))


@needs_gpu
@pytest.mark.parametrize("difficulty", ["none", PGD], ids=["plain", "pgd"])
def test_graphs_change_no_bit_of_compiled_steps(difficulty: Any, deterministic: None) -> None:
    check_graphs(spec_of("set", difficulty=difficulty), compile=True)
