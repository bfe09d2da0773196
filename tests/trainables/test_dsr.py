"""Dynamic sparse reparameterization: global drop, growth in proportion to the surviving weights."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.dsr import DSR
from sparsweep.trainables.specs.timeline import TrainingSteps
from support.mask_updates import bits, mask, update_context, with_growth_scores

RISING = torch.arange(12) / 100
"""Growth scores: later positions grow first."""


def test_an_update_by_hand() -> None:
    """A third of nine weights is dropped, the smallest of the network: 0.1 and 0.2 of ``a``, 0.3 of ``b``.

    Two and four weights survive, so one of three grows in ``a`` and two in ``b``, at the last inactive positions.
    """
    masks = Masks({"a": mask(1, 1, 1, 1, 0, 0, 0), "b": mask(1, 1, 1, 1, 1, 0, 0, 0)})
    weights = {
        "a": torch.tensor([0.1, -0.2, 3.0, 4.0, 0.0, 0.0, 0.0]),
        "b": torch.tensor([5.0, -0.3, 7.0, 8.0, -9.0, 0.0, 0.0, 0.0]),
    }
    method = with_growth_scores(DSR(prune_rate=1 / 3), {"a": RISING[:7], "b": RISING[:8]})
    assert bits(method.update(masks, update_context(weights))) == {
        "a": [0, 0, 1, 1, 0, 0, 1],
        "b": [1, 0, 1, 1, 1, 0, 1, 1],
    }


def test_growth_that_does_not_fit_goes_to_other_layers() -> None:
    """By survivors (0 : 4) all three would grow in ``b``, which has one inactive position."""
    masks = Masks({"a": mask(1, 1, 1, 0, 0, 0), "b": mask(1, 1, 1, 1, 0)})
    weights = {"a": torch.tensor([0.1, 0.2, 0.3, 0, 0, 0]), "b": torch.tensor([1.0, 2, 3, 4, 0])}
    method = with_growth_scores(DSR(prune_rate=3 / 7), {"a": RISING[:6], "b": RISING[:5]})
    # Three weights of a are dropped. One grows in b, the other two at the last positions of a.
    assert bits(method.update(masks, update_context(weights))) == {"a": [0, 0, 0, 0, 1, 1], "b": [1, 1, 1, 1, 1]}


def test_an_almost_dense_network_drops_fewer_weights() -> None:
    masks = Masks({"a": mask(1, 1, 1), "b": mask(1, 1, 1, 0)})
    weights = {"a": torch.tensor([0.1, 0.2, 0.3]), "b": torch.tensor([1.0, 2, 3, 0])}
    method = with_growth_scores(DSR(prune_rate=0.5), {"a": RISING[:3], "b": RISING[:4]})
    assert bits(method.update(masks, update_context(weights))) == {"a": [0, 1, 1], "b": [1, 1, 1, 1]}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    layers=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=5),
    rate=st.floats(0.001, 0.999),
    regrow=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_number_of_weights_is_exact_at_all_layer_densities(
    layers: list[tuple[int, float]], rate: float, regrow: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = Masks({str(n): torch.rand(size, generator=generator) < d for n, (size, d) in enumerate(layers)})
    weights = {name: torch.randn(mask.shape, generator=generator) * mask for name, mask in masks.items()}
    method = DSR(prune_rate=rate, regrow_dropped=regrow)
    context = update_context(weights, generator=generator)
    removed = method.drop_masks(masks, context)
    after = method.update(masks, context)
    assert sum(after.counts().values()) == sum(masks.counts().values())
    dropped = torch.cat([weights[name][removed[name]] for name in masks]).abs()
    kept = torch.cat([weights[name][masks[name] & ~removed[name]] for name in masks]).abs()
    assert not len(dropped) or not len(kept) or dropped.max() <= kept.min()
    if not regrow:
        assert not any((removed[name] & after[name]).any() for name in masks)


def test_the_prune_rate_is_constant_until_95_percent_of_training() -> None:
    assert [DSR().rate(update_context({}, step)) for step in (0, 50, 95)] == [0.1] * 3
    assert list(DSR().update_steps(TrainingSteps(200, 10)))[-1] == 1900
