"""Learning-rate schedules over optimizer steps, as factors of the learning rate of the recipe.

A schedule after its warm-up is a function of progress in [0, 1). With T steps, of which W are warm-up, step s >= W has
progress (s - W) / (T - W).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

START = 1 / 25
"""First factor of ``one_cycle`` (``div_factor`` of PyTorch)."""
END = START / 10_000
"""Last factor of ``one_cycle`` (``final_div_factor`` of PyTorch)."""


def cosine(progress: float) -> float:
    """Return half a cosine period from 1 to 0 (Loshchilov & Hutter, "SGDR", ICLR 2017, without restarts)."""
    return (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float) -> float:
    """Return a line from 1 to 0."""
    return 1 - progress


DECAYS: Mapping[str, Callable[[float], float]] = {"cosine": cosine, "linear": linear}
"""Decay of each schedule that only depends on progress."""


def warmup_factor(step: int, warmup_steps: int) -> float:
    """Return a line that reaches 1 at the last of ``warmup_steps`` steps: 1/W, 2/W, ..., 1, and 1 afterwards.

    Args:
        step: Step, counted from 0.
        warmup_steps: Number of steps W.
    """
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def one_cycle(step: int, steps: int, rise: float) -> float:
    """Return the factor of the one-cycle policy, as ``OneCycleLR`` of PyTorch with ``anneal_strategy="cos"``.

    The rate rises from 1/25 to 1 and falls to 1/250,000, both along half a cosine period (Smith & Topin, 2019).

    Args:
        step: Step, counted from 0.
        steps: Total number of steps.
        rise: Share of training in which the rate rises, in (0, 1).
    """
    top = rise * steps - 1
    if step <= top:
        return 1 + (START - 1) * cosine(step / top if top > 0 else 1.0)
    last = steps - 1
    return END + (1 - END) * cosine((step - top) / (last - top) if last > top else 1.0)
