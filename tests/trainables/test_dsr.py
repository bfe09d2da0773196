"""Dynamic sparse reparameterisation: global drop, growth where much survived."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.dsr import DSR
from sparsweep.trainables.specs.timeline import TrainingSteps
from support.mask_updates import bits, mask, placed, update_context

RISING = torch.arange(12) / 100
"""Later places first."""


def test_by_hand() -> None:
    """A third of nine weights goes, the three smallest of the network: .1 .2 of ``a``, .3 of ``b``. Two and four
    survive: of three one grows in ``a``, two in ``b``, at the last places that were empty."""
    masks = Masks({"a": mask(1, 1, 1, 1, 0, 0, 0), "b": mask(1, 1, 1, 1, 1, 0, 0, 0)})
    weights = {
        "a": torch.tensor([0.1, -0.2, 3.0, 4.0, 0.0, 0.0, 0.0]),
        "b": torch.tensor([5.0, -0.3, 7.0, 8.0, -9.0, 0.0, 0.0, 0.0]),
    }
    method = placed(DSR(prune_rate=1 / 3), {"a": RISING[:7], "b": RISING[:8]})
    assert bits(method.update(masks, update_context(weights))) == {
        "a": [0, 0, 1, 1, 0, 0, 1],
        "b": [1, 0, 1, 1, 1, 0, 1, 1],
    }


def test_what_does_not_fit_goes_elsewhere() -> None:
    """All three belong to ``b`` by survivors (0 : 4), which has one empty place."""
    masks = Masks({"a": mask(1, 1, 1, 0, 0, 0), "b": mask(1, 1, 1, 1, 0)})
    weights = {"a": torch.tensor([0.1, 0.2, 0.3, 0, 0, 0]), "b": torch.tensor([1.0, 2, 3, 4, 0])}
    method = placed(DSR(prune_rate=3 / 7), {"a": RISING[:6], "b": RISING[:5]})
    # Three go from a, one finds room in b; two are left for a, the last places of it.
    assert bits(method.update(masks, update_context(weights))) == {"a": [0, 0, 0, 0, 1, 1], "b": [1, 1, 1, 1, 1]}


def test_where_the_network_is_almost_full_less_goes() -> None:
    masks = Masks({"a": mask(1, 1, 1), "b": mask(1, 1, 1, 0)})
    weights = {"a": torch.tensor([0.1, 0.2, 0.3]), "b": torch.tensor([1.0, 2, 3, 0])}
    method = placed(DSR(prune_rate=0.5), {"a": RISING[:3], "b": RISING[:4]})
    assert bits(method.update(masks, update_context(weights))) == {"a": [0, 1, 1], "b": [1, 1, 1, 1]}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    layers=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=5),
    rate=st.floats(0.001, 0.999),
    regrow=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_number_of_weights_is_exact_however_full_the_layers(
    layers: list[tuple[int, float]], rate: float, regrow: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = Masks({str(n): torch.rand(size, generator=generator) < d for n, (size, d) in enumerate(layers)})
    weights = {name: torch.randn(there.shape, generator=generator) * there for name, there in masks.items()}
    method = DSR(prune_rate=rate, regrow_dropped=regrow)
    now = update_context(weights, generator=generator)
    removed = method.drop_masks(masks, now)
    after = method.update(masks, now)
    assert sum(after.counts().values()) == sum(masks.counts().values())
    gone = torch.cat([weights[name][removed[name]] for name in masks]).abs()
    stayed = torch.cat([weights[name][masks[name] & ~removed[name]] for name in masks]).abs()
    assert not len(gone) or not len(stayed) or gone.max() <= stayed.min()
    if not regrow:
        assert not any((removed[name] & after[name]).any() for name in masks)


def test_the_share_stays_to_19_parts_in_20() -> None:
    assert [DSR().rate(update_context({}, step)) for step in (0, 50, 95)] == [0.1] * 3
    assert list(DSR().update_steps(TrainingSteps(200, 10)))[-1] == 1900
