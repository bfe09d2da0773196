"""Execution of training steps: replayed steps and reused runners give the same bits as ordinary ones.

A CUDA graph is a list of operations on fixed tensors. A :class:`Recording` is the same on a CPU, so it tests everything
except the capture itself. The tests at the end do this on a GPU.
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
from support.tiny_trials import create_trainer, trial

CAPTURED = ["dense", "random", "set", "rigl", "gmp", "snfs", "dsr", {"name": "set", "dense_gradients": True}]
EAGER = {
    "movement": "reads the gradients of every step",
    "bayesian_connectivity": "reads the gradients of every step",
    "topkast": "ExplorationPenaltyParams does not set graph_tensors",
    "nm": "SrSteParams does not set graph_tensors",
}
PGD = {"name": "adversarial", "steps": 2, "test_steps": 1}


class Recording(TorchDispatchMode):
    """Operations of a step with the tensors that they read and wrote. :meth:`replay` runs them on these tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[torch.Tensor]]] = []
        self.replays = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        inputs = {id(value) for value in tree_leaves((args, kwargs))}
        outputs = [
            value for value in tree_leaves(result) if isinstance(value, torch.Tensor) and id(value) not in inputs
        ]
        if not function.is_view:  # a view shares the memory of its base
            self.calls.append((function, args, kwargs or {}, outputs))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return  # unlike the capture of a graph, recording also computes the step
        for function, args, kwargs, outputs in self.calls:
            inputs = {id(value) for value in tree_leaves((args, kwargs))}
            again = [v for v in tree_leaves(function(*args, **kwargs)) if isinstance(v, torch.Tensor)]
            for output, value in zip(outputs, [v for v in again if id(v) not in inputs], strict=True):
                output.copy_(value)


RECORDINGS: list[Recording] = []


def record(step: Step, inputs: tuple[torch.Tensor, ...]) -> Replay:
    recording = Recording()
    with recording:
        result = step(*inputs)
    RECORDINGS.append(recording)
    return recording.replay, result


class RecordingCache(StepRunnerCache):
    """Cache whose runners replay recordings on the CPU."""

    def acquire(self, *arguments: Any) -> execution.StepRunner:
        runner = super().acquire(*arguments)
        runner.capture_fn = record
        return runner


@pytest.fixture(autouse=True)
def clear_recordings() -> None:
    RECORDINGS.clear()
    execution.warn_once.cache_clear()


def spec_of(sparsifier: Any, **changes: Any) -> TrialSpec:
    """Return a trial of six epochs with two full batches and a smaller one. The learning rate drops halfway."""
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
def test_a_replayed_training_gives_the_same_bits(sparsifier: Any, difficulty: Any) -> None:
    """Masks, learning rate, batches and random numbers change between replays. Each batch size has one recording."""
    spec = spec_of(sparsifier, difficulty=difficulty)
    found = run(spec, RecordingCache())
    check_equal(found, run(spec, StepRunnerCache()))
    full, rest = RECORDINGS
    steps = spec.num_epochs * len(found.batches)
    assert full.replays + rest.replays == steps - 2 * execution.WARMUP_STEPS
    assert (full.replays, rest.replays) == (
        2 * spec.num_epochs - execution.WARMUP_STEPS,
        spec.num_epochs - execution.WARMUP_STEPS,
    )


def test_latent_weights_are_replayed() -> None:
    """No built-in method has latent weights in recorded steps. A plugin may."""

    class LatentMethod(type(spec_of("set").sparsifier)):  # type: ignore[misc]
        def masked_params(self, weights: Any, optimizer: Any, masks: Masks) -> MaskedParams:
            return LatentParams(weights, optimizer, masks, lambda values, masks: Masks.full(values))

    spec = spec_of(LatentMethod(update_every=1))
    check_equal(run(spec, RecordingCache()), run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 2


@pytest.mark.parametrize("name", EAGER)
def test_methods_without_graph_support_run_eagerly_with_one_warning(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec, runner_cache = spec_of(name), RecordingCache()
    with caplog.at_level(logging.WARNING, execution.__name__):
        check_equal(run(spec, runner_cache, epochs=3), run(spec, StepRunnerCache(), epochs=3))
        run(spec, runner_cache, epochs=1)
    assert not RECORDINGS
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert EAGER[name] in caplog.text and "without CUDA graphs" in caplog.text


def test_subclasses_are_captured_only_if_they_declare_support() -> None:
    @dataclass(frozen=True)
    class CustomLoss(TrainingLoss):
        def loss(self, *arguments: Any) -> Any:
            return super().loss(*arguments)

    @dataclass(frozen=True)
    class SupportedLoss(CustomLoss):
        supports_cuda_graphs: ClassVar[bool] = True

    class CustomParams(MaskedParams):
        def step(self) -> None:
            super().step()

    assert (
        TrainingLoss.supports_cuda_graphs and not CustomLoss.supports_cuda_graphs and SupportedLoss.supports_cuda_graphs
    )
    assert MaskedParams.graph_tensors and CustomParams.graph_tensors is None


def test_a_step_whose_capture_fails_runs_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    spec, captured_sizes = spec_of("set"), []

    def failing_capture(step: Step, inputs: tuple[torch.Tensor, ...]) -> Replay:
        captured_sizes.append(len(inputs[0]))
        raise RuntimeError("operation not permitted when stream is capturing")

    runner_cache = StepRunnerCache()
    training = run(spec, runner_cache, epochs=0)
    training.runner.capture_fn, training.runner.capture_enabled = failing_capture, True
    with caplog.at_level(logging.WARNING, execution.__name__):
        for _ in range(spec.num_epochs):
            training.train_epoch()
    check_equal(training, run(spec, StepRunnerCache()))
    assert captured_sizes == [8] and "not permitted" in caplog.text


# Reuse of runners -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StepRunnerCache, RecordingCache])
def test_a_training_of_the_same_shapes_reuses_the_runner_and_gives_the_same_bits(
    kind: type[StepRunnerCache],
) -> None:
    """The second training has another seed, method, sparsity and rate. It replays the recordings of the first."""
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
def test_a_training_with_another_signature_gets_a_new_runner(changes: dict[str, Any]) -> None:
    runner_cache = StepRunnerCache()
    first = run(spec_of("set"), runner_cache, epochs=1)
    second = run(spec_of("set", **changes), runner_cache, epochs=1)
    assert second.runner is not first.runner and runner_cache.runner is second.runner


def test_a_runner_keeps_the_graphs_of_two_batch_sizes() -> None:
    """The size of the last batch changes with the number of samples. A captured step keeps all its memory."""
    runner_cache = RecordingCache()
    for samples in (18, 19, 20, 21):
        training = run(spec_of("set"), runner_cache, samples=samples)
        check_equal(training, run(spec_of("set"), StepRunnerCache(), samples=samples))
        assert training.runner.graphs.keys() == {8, samples % 8}
    assert len(RECORDINGS) == 1 + 4


def test_another_topology_on_the_same_runner_is_recorded_again() -> None:
    runner_cache = RecordingCache()
    run(spec_of("set"), runner_cache)
    spec = spec_of({"name": "set", "dense_gradients": True})
    check_equal(run(spec, runner_cache), run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 4


def test_replaying_continues_after_a_checkpoint() -> None:
    """The worker used its runner for another training meanwhile. The momenta are copied into the recorded tensors."""
    spec, runner_cache = spec_of("set"), RecordingCache()
    saved = tensor_file.loads(tensor_file.dumps(run(spec, runner_cache, epochs=3).state()))
    run(spec_of("random", seed=5), runner_cache, epochs=2)
    resumed = run(spec, runner_cache, epochs=0)
    resumed.restore(saved)
    for _ in range(3):
        resumed.train_epoch()
    check_equal(resumed, run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 2


def test_steps_without_momentum_are_replayed() -> None:
    spec, runner_cache = (
        spec_of("set", recipe={"momentum": 0.0, "nesterov": False, "batch_size": 8, "epochs": 3}),
        RecordingCache(),
    )
    for _ in range(2):
        check_equal(run(spec, runner_cache), run(spec, StepRunnerCache()))
    assert len(RECORDINGS) == 2


# Execution settings --------------------------------------------------------------------------------------------------


def test_channels_last_is_used_only_for_bf16_on_a_gpu() -> None:
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
    """Each update checks the counts of the masks. All tensors of a step have the layout of their weight."""
    monkeypatch.setattr(ExecutionConfig, "layout", lambda *arguments: torch.channels_last)
    method = {"name": sparsifier} if isinstance(sparsifier, str) else sparsifier
    update_interval = {"update_every": 1.0} if "update_every" in sparsifiers[method["name"]].model_fields else {}
    sparsity = {"dense": 0.0, "nm": 0.5}.get(method["name"], 0.8)
    training = create_trainer(trial(sparsifier={**update_interval, **method}, sparsity=sparsity), digits)
    # oneDNN's kernels for this layout corrupt memory on some CPUs (PyTorch 2.15, AVX2, one thread).
    with torch.backends.mkldnn.flags(enabled=False):
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
    """Return the list of graphs that were passed to a compiler that changes nothing."""
    found: list[Any] = []

    def compile_nothing(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(execution.torch, "compile", partial(torch.compile, backend=compile_nothing))
    monkeypatch.setenv(compilation.COMPILE_CACHE_VARIABLE, str(tmp_path))
    return found


@pytest.mark.parametrize("difficulty", ["none", PGD, {**PGD, "loss": "trades"}], ids=["plain", "pgd", "trades"])
def test_a_compiled_network_is_trained_and_the_original_network_is_evaluated(
    difficulty: Any, graphs: list[Any]
) -> None:
    spec, runner_cache = spec_of("set", difficulty=difficulty), StepRunnerCache(ExecutionConfig(compile=True))
    check_equal(run(spec, runner_cache), run(spec, StepRunnerCache()))
    compilations = len(graphs)
    check_equal(run(spec.replace(seed=5), runner_cache), run(spec.replace(seed=5), StepRunnerCache()))
    assert 0 < compilations == len(graphs)  # the second training of the same shapes compiles nothing


def test_every_runner_of_a_worker_is_compiled(graphs: list[Any]) -> None:
    """PyTorch compiles one function at most eight times, and all networks of a class share one function."""
    runner_cache, counts = StepRunnerCache(ExecutionConfig(compile=True)), []
    for batch_size in range(4, 14):
        run(spec_of("random", recipe={"batch_size": batch_size, "epochs": 1}), runner_cache)
        counts.append(len(graphs))
    assert counts == list(range(1, 11))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles for a CPU with g++")
def test_compiled_code_gives_close_results_and_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "COMPILE_CACHE", str(tmp_path))
    monkeypatch.setenv(compilation.COMPILE_CACHE_VARIABLE, default_cache_dir())
    spec = spec_of("set")
    found, expected = run(spec, StepRunnerCache(ExecutionConfig(compile=True))), run(spec, StepRunnerCache())
    for weight, expected_weight in zip(found.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.allclose(weight, expected_weight, rtol=1e-4, atol=1e-5)
    assert found.masks.equal(expected.masks)
    assert any(tmp_path.rglob("*.so"))


@pytest.mark.parametrize("given", [None, "torch", "/own"])
def test_the_compile_cache_is_the_users_or_in_the_home_folder(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's default, which it writes to the variable at the first query, is a temporary folder and is replaced."""
    monkeypatch.setenv(compilation.COMPILE_CACHE_VARIABLE, default_cache_dir() if given == "torch" else given or "")
    if given is None:
        monkeypatch.delenv(compilation.COMPILE_CACHE_VARIABLE)
    compilation.use_persistent_inductor_cache()
    home = str(Path("~/.cache/sparsweep/inductor").expanduser())
    assert os.environ[compilation.COMPILE_CACHE_VARIABLE] == (given if given == "/own" else home)


def test_no_step_is_captured_on_a_cpu() -> None:
    assert run(spec_of("set"), StepRunnerCache(), epochs=1).runner.capture_fn is None


@pytest.mark.slow
def test_bf16_is_as_accurate_as_fp32_within_the_seed_spread(digits: DeviceData) -> None:
    def accuracies(precision: str) -> list[float]:
        recipe = {"preset": "digits", "epochs": 10, "precision": precision}
        specs = [trial(model="resnet8", sparsifier="set", sparsity=0.5, recipe=recipe, seed=seed) for seed in range(4)]
        runs = [create_trainer(spec, digits, samples=400) for spec in specs]
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


def on_gpu(spec: TrialSpec, **settings: Any) -> Trainer:
    return run(spec, StepRunnerCache(ExecutionConfig(**settings)), device="cuda")


def check_graphs(spec: TrialSpec, **settings: Any) -> None:
    """Check that training with and without CUDA graphs gives the same bits of weights, masks and losses."""
    with_graphs, plain = (on_gpu(spec, graphs=graphs, **settings) for graphs in (True, False))
    assert len(with_graphs.runner.graphs) == 2 and not plain.runner.graphs
    for (name, found), expected in zip(
        with_graphs.model.state_dict().items(), plain.model.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name
    assert with_graphs.masks.equal(plain.masks)
    assert [epoch.train_loss for epoch in with_graphs.history] == [epoch.train_loss for epoch in plain.history]


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
