"""Adversarial training: losses by hand, cost in passes, recorded metrics, and equal attacks for all methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sparsweep.trainables.difficulties import Difficulty, difficulties
from sparsweep.trainables.difficulties.adversarial import difficulty as difficulty_module
from sparsweep.trainables.difficulties.adversarial import pgd
from sparsweep.trainables.difficulties.adversarial.difficulty import Adversarial
from sparsweep.trainables.difficulties.adversarial.losses import PgdLoss, TradesLoss, kl_divergence
from sparsweep.trainables.difficulties.adversarial.pgd import BATCH_NORM_MODES, NORMS, Attack
from sparsweep.trainables.difficulties.composed import Composed
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.testing import check_same, comparable
from sparsweep.trainables.training.flops import layer_flops
from sparsweep.trainables.training.trainer import Trainer
from support.contract_settings import NUM_SAMPLES, fake_parent_state, tiny_data, training, trial
from support.linear_networks import SHAPE, random_images, random_linear, weights, wrapped
from support.tiny_trials import create_trainer
from support.tiny_trials import trial as digits_trial

EIGHT, TWO = 8 / 255, 2 / 255
LOSSES = ("pgd", "fgsm_rs", "trades")
LABELS = torch.tensor([0, 1, 0, 1, 1, 0])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adversarial(**fields: Any) -> Adversarial:
    parsed = difficulties.parse({"name": "adversarial", **fields})
    assert isinstance(parsed, Adversarial)
    return parsed


def attacked_trial(sparsifier: str = "dense", profile: str = "clean", **fields: Any) -> TrialSpec:
    """Return a trial of four epochs on the tiny network, with short attacks."""
    short = {"name": "adversarial", "test_steps": 2, **({} if fields.get("loss") == "fgsm_rs" else {"steps": 2})}
    return trial(sparsifier, difficulty={**short, **fields}, profile=profile)


def record_inputs(network: AutocastNetwork) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    network.module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach().clone()))
    return seen


# The objectives, by hand ----------------------------------------------------------------------------------------------


def test_pgd_loss_is_cross_entropy_at_the_optimal_perturbation() -> None:
    """On a linear network with two classes, away from the borders of [0, 1], every margin shrinks by eps * ||w||_1."""
    network, images = random_linear(2), random_images(6, low=0.3, high=0.7)
    difference = weights(network)[1] - weights(network)[0]
    gap = (network(images)[:, 1] - network(images)[:, 0]).detach() * torch.where(LABELS == 1, 1, -1)
    worst = gap - EIGHT * difference.abs().sum()
    for start in (True, False):
        objective = PgdLoss(Attack(NORMS["linf"], EIGHT, TWO, 10), "eval", start)
        loss, logits = objective.loss(network, images, LABELS, objective.draw_noise(images, generator()))
        assert loss.item() == pytest.approx(functional.softplus(-worst).mean().item(), rel=1e-5)
        assert torch.equal(logits.argmax(1) == LABELS, worst > 0)
        assert loss.requires_grad


def test_fgsm_rs_takes_one_signed_step_from_a_random_start() -> None:
    """Wong et al.: uniform delta in the ball, a step of 1.25 eps sign(gradient), projection to the ball and to [0, 1].

    1.25 eps is 10 gray levels.
    """
    objective = adversarial(loss="fgsm_rs").loss_fn
    network, images = random_linear(2), random_images(6)
    seen = record_inputs(network)
    objective.loss(network, images, LABELS, objective.draw_noise(images, generator(4)))
    assert len(seen) == 2
    noise = torch.empty(images.shape).uniform_(-EIGHT, EIGHT, generator=generator(4))
    start = (images + noise).clamp(0, 1)
    slope = (weights(network)[1] - weights(network)[0]).view(SHAPE) * torch.where(LABELS == 0, 1, -1).view(-1, 1, 1, 1)
    moved = (start - images + 10 / 255 * slope.sign()).clamp(-EIGHT, EIGHT)
    assert torch.allclose(seen[0], start, atol=1e-7)
    assert torch.allclose(seen[1], (images + moved).clamp(0, 1), atol=1e-6)


def kl(clean: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Compute KL(clean || other) of logits per sample, from its definition."""
    p, q = clean.double().softmax(1), other.double().softmax(1)
    return (p * (p / q).log()).sum(1)


def test_kl_divergence_is_the_sum_over_samples() -> None:
    clean, other = (torch.randn(5, 4, generator=generator(seed)) for seed in (1, 2))
    assert kl_divergence(clean, other).item() == pytest.approx(kl(clean, other).sum().item(), rel=1e-5)
    assert kl_divergence(clean, clean).item() == pytest.approx(0, abs=1e-6)


def test_trades_loss_is_clean_cross_entropy_plus_the_largest_divergence() -> None:
    """On a linear network with two classes the divergence is largest where the logit gap moved by eps * ||w||_1."""
    network, images, beta = random_linear(2), random_images(6, low=0.3, high=0.7), 3.0
    objective = TradesLoss(Attack(NORMS["linf"], EIGHT, TWO, 10), "eval", beta)
    loss, logits = objective.loss(network, images, LABELS, objective.draw_noise(images, generator()))
    clean = network(images).detach()
    reach = EIGHT * (weights(network)[1] - weights(network)[0]).abs().sum()
    moved = ((logits - clean)[:, 1] - (logits - clean)[:, 0]).detach()
    assert torch.allclose(moved.abs(), reach, rtol=1e-4)
    expected = functional.cross_entropy(clean, LABELS) + beta * kl(clean, logits.detach()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_trades_starting_points_are_not_clipped() -> None:
    """On black and white images half of the starting values lie outside [0, 1], as in the official code.

    The values after each step lie in [0, 1].
    """
    objective = TradesLoss(Attack(NORMS["linf"], EIGHT, TWO, 2), "eval", 6.0)
    network, images = random_linear(2), random_images(6).round()
    noise, seen = objective.draw_noise(images, generator(4)), record_inputs(network)
    objective.loss(network, images, LABELS, noise)
    clean, start, step, _, found = seen
    assert torch.equal(clean, images) and torch.equal(start, images + noise)
    assert start.min() < 0 and start.max() > 1
    assert all(tensor.min() >= 0 and tensor.max() <= 1 for tensor in (step, found))


def test_trades_with_beta_zero_has_the_gradient_of_cross_entropy() -> None:
    """At beta 6 the gradient differs from that of cross-entropy."""

    def gradient(loss: torch.Tensor, network: AutocastNetwork) -> torch.Tensor:
        return torch.autograd.grad(loss, network.module.get_submodule("1").get_parameter("weight"))[0]

    network, images, attack = random_linear(3), random_images(6), Attack(NORMS["linf"], EIGHT, TWO, 3)
    plain = gradient(functional.cross_entropy(network(images), LABELS), network)
    none, some = (
        gradient(objective.loss(network, images, LABELS, objective.draw_noise(images, generator()))[0], network)
        for objective in (TradesLoss(attack, "eval", beta) for beta in (0.0, 6.0))
    )
    assert torch.allclose(none, plain, atol=1e-7) and not torch.allclose(some, plain, atol=1e-3)


# Cost in passes -------------------------------------------------------------------------------------------------------


class Flops(TorchDispatchMode):
    """Sum of the operations of convolutions and matrix products, by the formulas of torch."""

    total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in flop_registry:
            self.total += flop_registry[function.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


@pytest.mark.parametrize(
    ("fields", "passes", "weight_passes"),
    [
        ({}, 23, 1),
        ({"steps": 2}, 7, 1),
        ({"steps": 2, "norm": "l2", "batch_norm": "train"}, 7, 1),
        ({"loss": "fgsm_rs"}, 5, 1),
        ({"loss": "trades", "steps": 3}, 13, 2),
    ],
)
def test_declared_passes_match_the_operations_counted_by_torch(
    fields: dict[str, Any], passes: int, weight_passes: int
) -> None:
    """A pass that computes weight gradients computes no input gradient of the first layer. Torch does not count it."""
    objective = adversarial(**fields).loss_fn
    assert (objective.forward_equivalents, objective.weight_gradient_passes) == (passes, weight_passes)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(8, 2)]
    network = wrapped(nn.Sequential(*layers))
    with Flops() as counted:
        loss, _ = objective.loss(network, random_images(6), LABELS, objective.draw_noise(random_images(6), generator()))
        loss.backward()
    costs = layer_flops(network.module, SHAPE)
    assert counted.total == 6 * (passes * sum(costs.values()) - weight_passes * costs["0.weight"])


def test_train_flops_include_the_attacks() -> None:
    run = training(attacked_trial("random"))
    assert run.step_flops == pytest.approx(7 * run.forward_flops)
    run.train_epoch()
    assert run.train_flops == pytest.approx(7 * run.forward_flops * NUM_SAMPLES)


@pytest.mark.parametrize(("loss", "passes", "dense_passes"), [("pgd", 7, 1), ("trades", 11, 2)])
def test_each_computation_of_dense_gradients_is_counted(loss: str, passes: int, dense_passes: int) -> None:
    spec = attacked_trial(loss=loss).replace(sparsifier={"name": "random", "dense_gradients": True}, sparsity=0.8)
    run = training(spec)
    dense = sum(run.layer_flops.values())
    assert run.step_flops == pytest.approx((passes - dense_passes) * run.forward_flops + dense_passes * dense)


@pytest.mark.parametrize(
    ("fields", "updates"),
    [
        ({"batch_norm": "train"}, 3),
        ({"batch_norm": "eval"}, 1),
        ({"batch_norm": "train_frozen"}, 1),
        ({"loss": "trades"}, 2),
        ({"loss": "trades", "batch_norm": "train"}, 5),
    ],
)
def test_running_statistics_are_updated_as_often_as_documented(fields: dict[str, Any], updates: int) -> None:
    """With K = 2 attack steps: K + 1 updates in the authors' mode (D13), otherwise one per pass of the loss itself."""
    run = training(attacked_trial(**fields))
    run.train_epoch()
    norm = run.model.get_submodule("2")
    assert int(norm.get_buffer("num_batches_tracked")) == updates * len(run.batches)


def test_running_statistics_come_from_the_training_images_when_the_attack_freezes_them() -> None:
    """One step by hand: the running mean contains the adversarial images once and nothing else."""
    for mode in ("eval", "train_frozen"):
        run = training(attacked_trial(batch_norm=mode))
        images, labels = tiny_data().train_images[:8] / 255, tiny_data().train_labels[:8]
        before = run.model.get_submodule("2").get_buffer("running_mean").clone()
        seen = record_inputs(run.network)
        run.model.train()
        run.loss_fn.loss(run.network, images, labels, run.loss_fn.draw_noise(images, generator()))
        convolved = run.model.get_submodule("1")(run.model.get_submodule("0")(seen[-1]))
        expected = 0.9 * before + 0.1 * convolved.mean((0, 2, 3))
        assert torch.allclose(run.model.get_submodule("2").get_buffer("running_mean"), expected, atol=1e-6), mode


# Trials ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", BATCH_NORM_MODES)
@pytest.mark.parametrize("loss", LOSSES)
def test_resumed_training_equals_uninterrupted_bit_for_bit(loss: str, batch_norm: str) -> None:
    spec = attacked_trial("set", loss=loss, batch_norm=batch_norm, test_every=1)
    uninterrupted, interrupted, resumed = (training(spec) for _ in range(3))
    for _ in range(2):
        uninterrupted.train_epoch()
    interrupted.train_epoch()
    resumed.restore(tensor_file.loads(tensor_file.dumps(interrupted.state())))
    resumed.train_epoch()
    check_same(comparable(resumed), comparable(uninterrupted))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sparsifier", ["set", "snip"])
def test_methods_are_attacked_from_the_same_starting_points(loss: str, sparsifier: str) -> None:
    """Compare two epochs of a dense and a sparse network, whose attacks diverge after the starting points."""
    runs = [training(attacked_trial(method, loss=loss)) for method in ("dense", sparsifier)]
    seen = [record_inputs(run.network) for run in runs]
    for run in runs:
        run.train_epoch(), run.train_epoch()
    for inputs in seen:
        inputs[:] = [images for images in inputs if len(images) < 20]  # the test set has 20 images, a batch at most 10
    dense, sparse = seen
    calls = {"pgd": 3, "fgsm_rs": 2, "trades": 5}[loss]
    assert len(dense) == len(sparse) == 6 * calls
    first = 1 if loss == "trades" else 0  # TRADES evaluates the clean images first
    assert all(torch.equal(*pair) for pair in zip(dense[first::calls], sparse[first::calls], strict=True))
    assert not any(
        torch.equal(*pair) for pair in zip(dense[calls - 1 :: calls], sparse[calls - 1 :: calls], strict=True)
    )
    starts = dense[first::calls]
    assert len({images.numpy().tobytes() for images in starts}) == 6, "each step must draw its own starting points"


def test_dense_gradients_do_not_change_the_training_step() -> None:
    """Dense gradients before a step run an attack. The attack and the statistics of the step must stay the same."""
    results = []
    for with_dense_gradients in (False, True):
        run = training(attacked_trial("set", batch_norm="train"))
        images, labels = tiny_data().train_images[:8] / 255, tiny_data().train_labels[:8]
        noise = run.loss_fn.draw_noise(images, generator(1))
        run.model.train()
        if with_dense_gradients:
            gradients = run._dense_gradients(images, labels, noise)
            assert all((gradient != 0).any() for gradient in gradients.values())
        run.train_step(images, labels, noise, 0)
        results.append(comparable(run))
    del results[1]["train_flops"], results[0]["train_flops"]  # dense gradients are counted
    check_same(results[1], results[0])


def test_adversarial_training_raises_robust_accuracy(digits: DeviceData) -> None:
    """Training on attacked images gives higher robust accuracy than training on clean ones.

    Robust accuracy never exceeds clean accuracy.
    """
    recipe = {"preset": "digits", "epochs": 8, "lr": 0.1}
    attack = {"name": "adversarial", "epsilon": 0.1, "step_size": 0.05, "steps": 3, "test_step_size": 0.02}
    runs = {}
    for name, difficulty in {"plain": "none", "pgd": {**attack, "test_every": 3}}.items():
        runs[name] = create_trainer(digits_trial(recipe=recipe, difficulty=difficulty), digits, samples=320)
        for _ in range(8):
            runs[name].train_epoch()
    history = runs["pgd"].history
    assert [epoch.robust_accuracy is not None for epoch in history] == [epoch in (3, 6, 8) for epoch in range(1, 9)]
    for epoch in history:
        assert epoch.test_accuracy == epoch.clean_accuracy and epoch.clean_accuracy is not None
        assert epoch.robust_accuracy is None or 0 <= epoch.robust_accuracy <= epoch.clean_accuracy
    assert all(epoch.robust_accuracy is None for epoch in runs["plain"].history)
    evaluator, images, labels = adversarial(**attack), digits.test_images, digits.test_labels
    robust = {
        name: accuracy(evaluator.attacked_logits(run.network, images, labels, run.spec.seed), labels)
        for name, run in runs.items()
    }
    assert robust["pgd"] == history[-1].robust_accuracy
    assert robust["pgd"] > robust["plain"] + 0.05 and robust["plain"] < runs["plain"].history[-1].train_accuracy - 0.3


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_training_samples_are_the_random_subset_of_a_plain_trial(ratio: float) -> None:
    plain, adversarial_trial = (
        trial("dense", difficulty=difficulty, data_ratio=ratio) for difficulty in ("none", {"name": "adversarial"})
    )
    labels = torch.arange(40) % 10
    chosen = [spec.difficulty.select(spec, labels, None) for spec in (plain, adversarial_trial)]  # type: ignore[arg-type]
    assert torch.equal(*chosen) and len(chosen[0]) == 40 * ratio


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return (logits.argmax(1) == labels).double().mean().item()


def test_all_networks_are_evaluated_from_the_same_starting_points(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator, drawn = adversarial(test_steps=1, test_restarts=2), []
    original = pgd.random_start

    def recording(*arguments: Any) -> torch.Tensor:
        drawn.append(original(*arguments))
        return drawn[-1]

    monkeypatch.setattr(pgd, "random_start", recording)
    data = tiny_data()
    for seed in (0, 1):
        model = build_model(trial("dense", seed=seed), data)
        network = AutocastNetwork(model, torch.device("cpu"), "fp32")
        torch.rand(seed + 1)  # the global random state has no effect
        evaluator.attacked_logits(network, data.test_images, data.test_labels, 7)
    assert len(drawn) == 4 and torch.equal(drawn[0], drawn[2]) and torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])


def test_the_test_attack_has_its_own_strength() -> None:
    """Four steps to 0.1 from one starting point, whatever the training attack: 1 clean, 4 gradient, 1 final pass."""
    evaluator = adversarial(epsilon=0.01, steps=2, test_epsilon=0.1, test_steps=4, test_step_size=0.08)
    network = random_linear(2)
    images = torch.randint(60, 196, (6, *SHAPE), generator=generator(), dtype=torch.uint8)
    labels = network(images / 255).argmax(1)
    seen = record_inputs(network)
    evaluator.attacked_logits(network, images, labels, 0)
    assert len(seen) == 1 + 4 + 1
    assert torch.allclose((seen[-1] - seen[0]).abs(), torch.tensor(0.1), atol=1e-6)


def test_bf16_trials_train_and_evaluate() -> None:
    spec = attacked_trial().replace(recipe={**trial("dense").recipe.model_dump(), "precision": "bf16", "epochs": 1})
    run = training(spec)
    epoch = run.train_epoch()
    assert epoch.robust_accuracy is not None and epoch.clean_accuracy is not None
    assert epoch.robust_accuracy <= epoch.clean_accuracy
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}


# The fields -----------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_paper() -> None:
    default = adversarial()
    assert (default.norm, default.epsilon, default.steps, default.step_size) == ("linf", EIGHT, 10, TWO)
    assert (default.test_epsilon, default.test_steps, default.test_step_size) == (EIGHT, 20, TWO)
    assert (default.test_restarts, default.random_start, default.loss) == (1, True, "pgd")
    assert default.eval_images == "clean" and default.stage == "attack"
    assert isinstance(default.loss_fn, PgdLoss)


def test_defaults_follow_norm_and_loss() -> None:
    l2 = adversarial(norm="l2")
    assert (l2.epsilon, l2.step_size, l2.test_epsilon, l2.test_step_size) == (0.5, 0.1, 0.5, 0.1)
    fast = adversarial(loss="fgsm_rs", epsilon="4/255")
    assert (fast.steps, fast.step_size, fast.test_epsilon) == (1, pytest.approx(5 / 255), 4 / 255)
    assert fast.test_step_size == TWO
    assert adversarial(loss="trades").beta == 6 and adversarial().beta is None
    assert isinstance(adversarial(loss="trades").loss_fn, TradesLoss)


def test_computed_defaults_are_part_of_the_id() -> None:
    """A default that depends on other fields is computed once and stored. The id covers all values."""

    def spec(**fields: Any) -> TrialSpec:
        return digits_trial(difficulty={"name": "adversarial", **fields})

    explicit = spec(norm="linf", epsilon=EIGHT, step_size=TWO, steps=10, test_epsilon=EIGHT, beta=None)
    assert spec().id == spec(epsilon="8/255").id == explicit.id != spec(epsilon="4/255").id
    assert from_json(to_json(spec(loss="trades"))) == spec(loss="trades")


def test_profiles_set_the_batch_norm_mode() -> None:
    modes = {}
    for profile in ("clean", "paper", "authors"):
        difficulty = attacked_trial(profile=profile).difficulty
        attack = difficulty.attack if isinstance(difficulty, Composed) else difficulty
        assert isinstance(attack, Adversarial) and difficulty.table_name == "adversarial"
        modes[profile] = attack.batch_norm
    assert modes == {"clean": "eval", "paper": "train", "authors": "train"}
    explicit = attacked_trial(profile="authors", batch_norm="eval").difficulty
    assert isinstance(explicit, Composed) and isinstance(explicit.attack, Adversarial)
    assert explicit.attack.batch_norm == "eval"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l1"}, r"difficulty.norm: .*'linf' or 'l2'.*'l1'"),
        ({"epsilon": 8}, r"epsilon: must be at most 1 \(got 8\)\. For 8 gray levels set 8/255"),
        ({"test_epsilon": "16/8"}, r"test_epsilon: must be at most 1 \(got 2\)"),
        ({"epsilon": "8/0"}, r"difficulty.epsilon: .*'8/0'"),
        ({"epsilon": 0}, r"difficulty.epsilon: .*greater than 0"),
        ({"epsilon": "inf"}, r"difficulty.epsilon: .*finite"),
        ({"steps": 0}, r"difficulty.steps: .*greater than or equal to 1"),
        ({"loss": "fgsm_rs", "steps": 3}, r"loss: fgsm_rs needs one step in linf \(got 3 in linf\)\. Use pgd"),
        ({"loss": "fgsm_rs", "norm": "l2"}, r"loss: fgsm_rs needs one step in linf \(got 1 in l2\)\. Use pgd"),
        ({"loss": "trades", "random_start": False}, r"random_start: trades needs a random start \(got false\)"),
        ({"beta": 3}, r"beta: must be a number for trades .*\(got 3\.0 for pgd\)"),
        ({"loss": "trades", "beta": None}, r"beta: must be a number for trades .*\(got None for trades\)"),
        ({"batch_norm": "frozen"}, r"difficulty.batch_norm: .*'train_frozen'"),
        ({"stepsize": 1}, r"unknown field 'stepsize' \(did you mean step_size\?\)"),
    ],
)
def test_invalid_fields_are_rejected_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        trial("dense", difficulty={"name": "adversarial", **fields})
    assert re.search(message, format_error(raised.value)) and "\n" not in format_error(raised.value)


def test_l2_epsilon_may_exceed_one() -> None:
    assert adversarial(norm="l2", epsilon=3).epsilon == 3


@pytest.mark.parametrize(
    ("every", "due"), [(None, [False] * 5 + [True]), (1, [True] * 6), (4, [False, False, False, True, False, True])]
)
def test_attacks_run_at_the_set_interval_and_after_the_last_epoch(every: int | None, due: list[bool]) -> None:
    difficulty = adversarial(test_every=every)
    assert [difficulty.should_attack(epoch, last=epoch == 6) for epoch in range(1, 7)] == due


# AutoAttack -----------------------------------------------------------------------------------------------------------


def test_autoattack_without_its_package_fails_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsweep.trainables.difficulties.adversarial.autoattack.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"^autoattack: .*pip install 'sparsweep\[attack\]'$"):
        Trainer(attacked_trial(autoattack=True), tiny_data(), torch.arange(NUM_SAMPLES), fake_parent_state)
    Trainer(attacked_trial(), tiny_data(), torch.arange(NUM_SAMPLES), fake_parent_state)


def test_autoattack_needs_ten_classes() -> None:
    from sparsweep.trainables.data import datasets

    class Few(datasets["digits"]):  # type: ignore[misc]
        @property
        def classes(self) -> int:
            return 9

    with pytest.raises(ValidationError) as raised:
        attacked_trial(autoattack=True).replace(dataset=Few())
    assert re.search(
        r"^difficulty.autoattack: needs at least 10 classes \(got 9 of digits\)\.$", format_error(raised.value)
    )


@pytest.fixture
def exact_network() -> tuple[AutocastNetwork, torch.Tensor, torch.Tensor, Callable[[str, float], torch.Tensor]]:
    """Return a linear network of ten classes, images inside [0, 1], labels, and the exact rule for robust samples."""
    network = random_linear(10, seed=1)
    images = torch.randint(60, 196, (24, *SHAPE), generator=generator(2), dtype=torch.uint8)
    logits = network(images / 255).detach()
    labels = torch.where(torch.arange(24) < 20, logits.argmax(1), (logits.argmax(1) + 1) % 10)

    def robust_samples(norm: str, epsilon: float) -> torch.Tensor:
        """Return samples whose margin to each class exceeds epsilon times the dual norm of the weight difference."""
        differences = weights(network)[labels].unsqueeze(1) - weights(network)
        reach = epsilon * differences.norm(p=1 if norm == "linf" else 2, dim=2)
        is_robust = logits.gather(1, labels.unsqueeze(1)) - logits > reach
        return (is_robust | functional.one_hot(labels, 10).bool()).all(1)

    return network, images, labels, robust_samples


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.02), ("l2", 0.06)])
def test_autoattack_finds_the_exact_robust_accuracy_of_a_linear_network(
    exact_network: tuple[AutocastNetwork, torch.Tensor, torch.Tensor, Callable[[str, float], torch.Tensor]],
    norm: str,
    epsilon: float,
) -> None:
    pytest.importorskip("pyautoattack")
    network, images, labels, robust_samples = exact_network
    expected = robust_samples(norm, epsilon).double().mean().item()
    assert 0.1 < expected < 20 / 24
    difficulty = adversarial(norm=norm, epsilon=epsilon, test_step_size=epsilon / 5, autoattack=True)
    random_state = torch.get_rng_state()
    flags = [parameter.requires_grad for parameter in network.module.parameters()]
    assert difficulty.final_accuracies(network, images, labels, 3)["autoattack_accuracy"] == pytest.approx(expected)
    assert expected <= accuracy(difficulty.attacked_logits(network, images, labels, 3), labels) <= 20 / 24
    assert torch.equal(torch.get_rng_state(), random_state), "AutoAttack changed the global random state"
    assert flags == [parameter.requires_grad for parameter in network.module.parameters()]
    assert all(parameter.grad is None for parameter in network.module.parameters())


@pytest.mark.parametrize("autoattack", [False, True])
def test_autoattack_runs_only_if_enabled_and_after_the_last_epoch(
    monkeypatch: pytest.MonkeyPatch, autoattack: bool
) -> None:
    calls = []
    monkeypatch.setattr(difficulty_module, "autoattack_accuracy", lambda *arguments: calls.append(arguments) or 0.25)
    monkeypatch.setattr(difficulty_module, "require", lambda: None)
    attack = {"name": "adversarial", "test_steps": 1, "test_every": 1, "autoattack": autoattack}
    run = create_trainer(trial("dense", difficulty=attack), tiny_data())
    epochs = [run.train_epoch() for _ in range(run.spec.recipe.epochs)]
    assert [epoch.autoattack_accuracy for epoch in epochs[:-1]] == [None] * (len(epochs) - 1) and len(epochs) > 1
    assert epochs[-1].autoattack_accuracy == (0.25 if autoattack else None) and len(calls) == autoattack


def test_a_trial_without_adversarial_difficulty_runs_no_attack() -> None:
    plain: Difficulty = difficulties.parse("none")
    assert not plain.should_attack(1, last=True)
