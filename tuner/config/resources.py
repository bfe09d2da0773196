"""What one trial occupies while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sparsweep.trainables.specs.base import FrozenModel
from sparsweep.trainables.training.execution import ExecutionConfig


class Resources(FrozenModel):
    """Resources of one trial."""

    cpus: int = Field(default=1, ge=1, description="CPU threads")
    gpus: float | Literal["auto"] = Field(default="auto", description="fraction or number of GPUs; auto: benchmarked")
    execution: ExecutionConfig = Field(
        default=ExecutionConfig(), description="how training steps run; changes no trial"
    )
    trial_timeout: float | None = Field(
        default=None, gt=0, description="maximum seconds per epoch; a slower trial counts as hanging and is killed"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_former_name(cls, data: Any) -> Any:
        """Read sweeps that were recorded before 0.2.0, when ``execution`` was called ``engine``."""
        if isinstance(data, Mapping) and "engine" in data and "execution" not in data:
            return {("execution" if name == "engine" else name): value for name, value in data.items()}
        return data

    @field_validator("gpus")
    @classmethod
    def _share_or_whole(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ValueError(f"must be a fraction in [0, 1] or a whole number of GPUs (got {gpus})")
        return gpus
