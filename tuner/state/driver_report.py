"""What of a driver's word can be shown: another version, a copy cut short or a hand may have written it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class RunningRun(BaseModel):
    """What a driver says of a run that is running now."""

    model_config = ConfigDict(allow_inf_nan=False)
    epoch: int
    epochs: int
    train_loss: float | None = None
    test_accuracy: float | None = None
    images_per_second: float | None = None
    node: str = ""


class TimeLeft(BaseModel):
    """The seconds that a driver expects to need yet."""

    model_config = ConfigDict(allow_inf_nan=False)
    seconds_left: float | None = Field(default=None, ge=0, lt=1e12)


def valid_runs(said: Any) -> dict[str, dict[str, Any]]:
    """The runs in ``said`` by id, without those that are not described as they should be."""
    found = {}
    for run, words in said.items() if isinstance(said, dict) else ():
        try:
            found[run] = RunningRun.model_validate(words).model_dump(exclude_unset=True)
        except ValidationError:
            continue
    return found


def valid_seconds(said: Any) -> float | None:
    """The number of seconds in ``said``; None if there is none, or it is no duration."""
    try:
        return TimeLeft(seconds_left=said).seconds_left
    except ValidationError:
        return None
