"""Sparse momentum: the layers that receive the dropped weights, and the positions that grow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.masked_params import DenseMomentumParams
from sparsweep.trainables.sparsifiers.snfs import SNFS, mean_magnitude
from support.mask_updates import bits, mask, update_context
from support.tiny_trials import create_trainer, trial

ACTIVE = Masks({"a": mask(1, 1, 1, 1, 0, 0, 0, 0), "b": mask(1, 1, 1, 1, 0, 0, 0, 0)})
WEIGHTS = {
    "a": torch.tensor([0.1, -0.2, 0.3, -0.4, 0.0, 0.0, 0.0, 0.0]),
    "b": torch.tensor([5.0, 6.0, -7.0, -8.0, 0.0, 0.0, 0.0, 0.0]),
}


def momenta(a: list[float], b: list[float]) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(a), "b": torch.tensor(b)}


def test_mean_magnitude_is_computed_over_active_weights() -> None:
    assert mean_magnitude(torch.tensor([1.0, -3.0, 100.0]), mask(1, 1, 0)).item() == 2.0
    assert mean_magnitude(torch.tensor([1.0, -3.0]), mask(0, 0)).item() == 0.0
    assert mean_magnitude(torch.tensor([float("nan"), -3.0]), mask(1, 1)).item() == 1.5


def test_update_by_hand() -> None:
    """Half of each layer is dropped, whatever the magnitudes of the other layer: 0.1 -0.2 and 5 6.

    The mean momenta of active weights, including the dropped ones, are 1 in ``a`` and 3 in ``b``. Of four weights, one
    grows in ``a`` and three grow in ``b``, at the masked positions with the largest momenta.
    """
    moved = momenta([0.2, -0.2, 1.8, -1.8, 0.1, -0.4, 0.2, 0.3], [5.8, -5.8, 0.2, -0.2, 0.1, -0.4, 0.2, 0.3])
    after = SNFS(prune_rate=0.5).update(ACTIVE, update_context(WEIGHTS, momenta=moved))
    assert bits(after) == {"a": [0, 0, 1, 1, 0, 1, 0, 0], "b": [0, 0, 1, 1, 0, 1, 1, 1]}


def test_surplus_of_a_full_layer_grows_in_other_layers() -> None:
    """``b`` has 300 times the momentum of ``a`` but only one masked position. Three weights grow in ``a``."""
    masks = Masks({"a": ACTIVE["a"], "b": mask(1, 1, 1, 1, 0)})
    weights = {"a": WEIGHTS["a"], "b": WEIGHTS["b"][:5]}
    moved = momenta([1, -1, 1, -1, 0.1, -0.4, 0.2, 0.3], [300, -300, 300, -300, 0.1])
    after = SNFS(prune_rate=0.5).update(masks, update_context(weights, momenta=moved))
    assert bits(after) == {"a": [0, 0, 1, 1, 0, 1, 1, 1], "b": [0, 0, 1, 1, 1]}


def test_fewer_weights_are_dropped_if_the_network_is_almost_dense() -> None:
    """The rate drops four weights, but only two positions are masked. One weight per layer is dropped, both grow."""
    masks = Masks({"a": mask(1, 1, 1, 1, 0, 0), "b": mask(1, 1, 1, 1)})
    weights = {"a": WEIGHTS["a"][:6], "b": WEIGHTS["b"][:4]}
    moved = momenta([1, -1, 1, -1, 0.1, -0.4], [3, -3, 3, -3])
    after = SNFS(prune_rate=0.5).update(masks, update_context(weights, momenta=moved))
    assert bits(after) == {"a": [0, 1, 1, 1, 1, 1], "b": [0, 1, 1, 1]}


def test_layer_without_active_weights_grows_no_weights() -> None:
    masks = Masks({"a": mask(0, 0, 0), "b": mask(1, 1, 0, 0)})
    weights = {"a": torch.zeros(3), "b": torch.tensor([1.0, 2.0, 0.0, 0.0])}
    after = SNFS(prune_rate=0.5).update(masks, update_context(weights, momenta=momenta([9, 9, 9], [1, 1, 2, 3])))
    assert bits(after) == {"a": [0, 0, 0], "b": [0, 1, 0, 1]}


def test_growth_follows_the_capacity_before_the_first_step() -> None:
    """All momenta are zero. Each layer has four masked positions and grows two. Earlier positions grow first."""
    after = SNFS(prune_rate=0.5).update(ACTIVE, update_context(WEIGHTS, momenta=momenta([0.0] * 8, [0.0] * 8)))
    assert bits(after) == {name: [0, 0, 1, 1, 1, 1, 0, 0] for name in ("a", "b")}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    layers=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1e3)), min_size=1, max_size=5),
    rate=st.floats(0.001, 0.999),
    regrow=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_number_of_weights_is_exact_at_any_density(
    layers: list[tuple[int, float, float]], rate: float, regrow: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = Masks({str(n): torch.rand(size, generator=generator) < d for n, (size, d, _) in enumerate(layers)})
    weights = {name: torch.randn(active.shape, generator=generator) * active for name, active in masks.items()}
    moved = {str(n): torch.randn(size, generator=generator) * scale for n, (size, _, scale) in enumerate(layers)}
    after = SNFS(prune_rate=rate, regrow_dropped=regrow).update(masks, update_context(weights, momenta=moved))
    assert sum(after.counts().values()) == sum(masks.counts().values())
    for name, active in masks.items():
        grown, empty = after[name] & ~active, ~after[name] & ~active
        if grown.any() and empty.any():
            assert moved[name][grown].abs().min() >= moved[name][empty].abs().max()


def start(digits: DeviceData, **recipe: Any) -> Any:
    method = {"name": "snfs", "update_every": 1, "stop_fraction": 1}
    recipe = {"preset": "digits", "epochs": 3, **recipe}
    return create_trainer(trial(sparsifier=method, sparsity=0.8, recipe=recipe), digits, samples=64)


def test_masked_weights_keep_momenta_and_weights_move_between_layers(digits: DeviceData) -> None:
    run = start(digits)
    assert isinstance(run.masked_params, DenseMomentumParams)
    run.train_epoch()
    momenta, masks = {name: value.clone() for name, value in run.masked_params.momenta().items()}, run.masks
    assert all(momenta[name][~masks[name]].abs().max() > 0 for name in masks if not masks[name].all())
    run.train_epoch()
    grown = {name: run.masks[name] & ~masks[name] for name in masks}
    assert sum(int(part.sum()) for part in grown.values()) > 100
    assert {sum(Masks(dict(each)).counts().values()) for each in (masks, run.masks)} == {round(run.masks.size * 0.2)}
    assert masks.counts() != run.masks.counts(), "weights move between layers"


def test_step_flops_include_dense_gradients(digits: DeviceData) -> None:
    """2 f_S + f_D per image, before any update."""
    run = start(digits)
    sparse, dense = run.forward_flops, sum(run.layer_flops.values())
    run.train_epoch()
    assert sparse < dense and run.train_flops == pytest.approx((2 * sparse + dense) * 64, rel=1e-12)


def test_momentum_0_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"recipe\.momentum: snfs needs momentum above 0 \(got 0\)"):
        trial(sparsifier="snfs", sparsity=0.5, recipe={"momentum": 0, "nesterov": False})


def test_dense_gradients_false_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"dense_gradients"):
        trial(sparsifier={"name": "snfs", "dense_gradients": False}, sparsity=0.5)
