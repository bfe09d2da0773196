"""N:M sparsity: hand-computed groups, the pattern in every group, and one step of SR-STE in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks, UpdateContext
from sparsweep.trainables.sparsifiers.masked_params import LatentParams
from sparsweep.trainables.sparsifiers.nm import NM, SrSteParams, group_mask
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.timeline import TrainingSteps
from support.tiny_trials import create_trainer, trial


def test_two_of_four_by_hand() -> None:
    weight = torch.tensor([[0.1, -0.9, 0.5, 0.3, 1.0, 1.0, -1.0, 1.0], [0.0, 0.0, 0.0, 0.0, -4.0, 3.0, -2.0, 1.0]])
    mask = group_mask(weight, 2, 4, 8)
    assert mask.int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1, 0, 0]]


def test_groups_of_a_convolution_are_input_channels_at_one_kernel_position() -> None:
    """One filter, four channels, two positions. Channels 0 and 3 are largest at the first, 1 and 2 at the second."""
    weight = torch.tensor([[4.0, 1.0], [1.0, 4.0], [2.0, 3.0], [3.0, 2.0]]).view(1, 4, 1, 2)
    mask = group_mask(weight, 2, 4, 4).view(4, 2).int()
    assert mask[:, 0].tolist() == [1, 0, 0, 1] and mask[:, 1].tolist() == [0, 1, 1, 0]


def test_incomplete_groups_of_a_layer_share_one_count() -> None:
    """Each row of six has one group of four, which keeps 2, and two remaining weights.

    One of these four remaining weights stays, which gives the layer's total of 5.
    """
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.1, 0.2], [4.0, 3.0, 2.0, 1.0, 0.4, 0.3]])
    assert group_mask(weight, 2, 4, 5).int().tolist() == [[0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0]]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    out=st.integers(1, 6),
    inner=st.integers(1, 13),
    kernel=st.sampled_from([(), (1, 1), (3, 3), (1, 2)]),
    pattern=st.sampled_from([(2, 4), (1, 4), (1, 2), (2, 3), (7, 8)]),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_complete_group_keeps_n_and_the_total_is_exact(
    out: int, inner: int, kernel: tuple[int, ...], pattern: tuple[int, int], levels: int, seed: int
) -> None:
    n, m = pattern
    generator = torch.Generator().manual_seed(seed)
    weights = {
        "a": torch.randint(levels, (out, inner, *kernel), generator=generator).float(),
        "b": torch.randint(levels, (3, 5), generator=generator).float(),
    }
    masks = NM(n=n, m=m).choose(weights)
    total = sum(weight.numel() for weight in weights.values())
    assert sum(masks.counts().values()) == round(total * n / m)
    for name, mask in masks.items():
        assert abs(int(mask.sum()) - mask.numel() * n / m) < 1 + 1e-6
        for row in mask.movedim(1, -1).flatten(1):
            complete = len(row) // m * m
            assert (row[:complete].view(-1, m).sum(1) == n).all()
        assert mask.shape == weights[name].shape


def validation_error(sparsity: float, **fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        trial(sparsifier={"name": "nm", **fields}, sparsity=sparsity)
    return format_error(caught.value)


def test_pattern_determines_the_sparsity() -> None:
    assert validation_error(0.8) == "sparsity: 2:4 needs 0.5 (got 0.8)."
    assert validation_error(0.5, n=1, m=3) == "sparsity: 1:3 needs 0.666667 (got 0.5)."
    assert validation_error(0.5, n=4, m=4) == "sparsifier.n: must be less than m 4 (got 4)."
    assert trial(sparsifier={"name": "nm", "n": 1, "m": 3}, sparsity=0.666667).sparsity == 0.666667


def test_fixed_masks_follow_the_initial_magnitudes_and_never_change(digits: DeviceData) -> None:
    spec = trial(sparsifier={"name": "nm", "training": "fixed"}, sparsity=0.5)
    run, dense = create_trainer(spec, digits), create_trainer(trial(), digits)
    assert run.masks.equal(NM().choose(dense.weights))
    first = run.masks
    run.train_epoch()
    assert run.masks is first and not run.update_steps and not isinstance(run.masked_params, LatentParams)


def test_masks_update_at_every_step_including_the_last() -> None:
    timeline = TrainingSteps(3, 4)
    assert list(NM().update_steps(timeline)) == list(range(1, 13))
    assert list(NM(update_every=0.5).update_steps(timeline)) == [2, 4, 6, 8, 10, 12]


def test_masks_rank_masked_weights_as_well() -> None:
    """A masked weight whose magnitude exceeds that of an active weight replaces it."""
    spec = trial(sparsifier="nm", sparsity=0.5)
    weights = {"a": torch.tensor([[0.1, 0.2, 0.3, 0.4]])}
    masks = Masks({"a": torch.tensor([[True, True, False, False]])})
    after = spec.sparsifier.update(masks, UpdateContext(spec, 1, TrainingSteps(1, 9), weights, torch.Generator()))
    assert after["a"].tolist() == [[False, False, True, True]]


def test_one_step_in_closed_form() -> None:
    """Active weights: w - lr (g + wd w). Masked weights: w - lr (g + wd w + decay w)."""
    weight = torch.nn.Parameter(torch.tensor([[4.0, -1.0, 2.0, -3.0]]))
    masks = Masks({"a": torch.tensor([[True, False, False, True]])})
    optimizer = torch.optim.SGD([weight], lr=0.1, weight_decay=0.01)
    topology = SrSteParams({"a": weight}, optimizer, masks, decay=0.5)
    assert weight.tolist() == [[4, 0, 0, -3]], "masked weights are zero in the network"
    weight.grad = torch.tensor([[1.0, 2.0, -3.0, 4.0]])
    topology.step()
    before, decay = torch.tensor([[4.0, -1.0, 2.0, -3.0]]), torch.tensor([[0, 0.5, 0.5, 0]])
    expected = before - 0.1 * (torch.tensor([[1.0, 2.0, -3.0, 4.0]]) + (0.01 + decay) * before)
    assert torch.allclose(topology.dense_values()["a"], expected)
    assert torch.allclose(weight.detach(), expected * masks["a"])


def test_decay_shrinks_masked_weights(digits: DeviceData) -> None:
    def masked_norm(decay: float) -> float:
        fields = {"preset": "digits", "epochs": 2, "weight_decay": 0.0}
        method = {"name": "nm", "decay": decay, "update_every": 99.0}
        run = create_trainer(trial(sparsifier=method, sparsity=0.5, recipe=fields), digits)
        for _ in range(2):
            run.train_epoch()
        assert isinstance(run.masked_params, SrSteParams)
        return math.sqrt(sum(float((latent**2).sum()) for latent in run.masked_params.latent.values()))

    assert masked_norm(1.0) < 0.95 * masked_norm(0.0)


def test_step_flops_include_gradients_of_all_weights(digits: DeviceData) -> None:
    """Two of a step's three passes are sparse. The pass that computes weight gradients is dense."""
    run = create_trainer(trial(sparsifier="nm", sparsity=0.5), digits)
    dense = sum(run.layer_flops.values())
    assert run.step_flops == pytest.approx(2 * run.forward_flops + dense)
    assert run.forward_flops == pytest.approx(dense / 2, rel=0.01)
