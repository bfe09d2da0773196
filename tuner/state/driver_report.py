"""Validation of a driver's heartbeat, which another version, a truncated copy or a user may have written."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class RunningRun(BaseModel):
    """Heartbeat of one running run."""

    model_config = ConfigDict(allow_inf_nan=False)
    epoch: int
    epochs: int
    train_loss: float | None = None
    test_accuracy: float | None = None
    images_per_second: float | None = None
    node: str = ""


class TimeLeft(BaseModel):
    """Estimated remaining seconds of a sweep."""

    model_config = ConfigDict(allow_inf_nan=False)
    seconds_left: float | None = Field(default=None, ge=0, lt=1e12)


def valid_runs(said: Any) -> dict[str, dict[str, Any]]:
    """Return the valid entries of ``said`` by run id."""
    valid = {}
    for run, fields in said.items() if isinstance(said, dict) else ():
        try:
            valid[run] = RunningRun.model_validate(fields).model_dump(exclude_unset=True)
        except ValidationError:
            continue
    return valid


def valid_seconds(said: Any) -> float | None:
    """Return ``said`` as seconds, or None if it is missing or invalid."""
    try:
        return TimeLeft(seconds_left=said).seconds_left
    except ValidationError:
        return None
