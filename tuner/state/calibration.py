"""Throughput measurements in a storage (``calibration/*.json``), used by ``plan`` and by ``gpus: auto``."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.pipeline.device_data import model_input_shape
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.execution import ExecutionConfig


def step_kind(spec: TrialSpec, engine: ExecutionConfig) -> dict[str, Any]:
    """Return the key of a throughput measurement: everything except the device that affects the step time.

    Args:
        spec: The trial.
        engine: Execution config. The key contains only its non-default settings.
    """
    non_default = engine.model_dump(exclude_defaults=True)
    shape = model_input_shape(spec.dataset.image_shape, spec.model.channels, spec.model.min_size)
    return {
        "model": spec.model.model_dump(mode="json"),
        "resolution": list(shape[1:]),
        "precision": spec.recipe.precision,
        "batch_size": spec.recipe.batch_size,
        "attack": difficulties.cast(spec.difficulty).loss_fn.forward_equivalents,
        **({"engine": non_default} if non_default else {}),
    }


def save_measurement(found: dict[str, Any], store: Store) -> None:
    """Write a measurement. It replaces an earlier one of the same kind on the same GPU.

    Args:
        found: Fields of :class:`Rate` or :class:`Share` without the time.
        store: The storage.
    """
    key = json.dumps([found["what"], found["kind"], found["card"]], sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    store.write(f"calibration/{name}.json", json.dumps({**found, "at": datetime.now(UTC).isoformat()}).encode())


def read_measurements(store: Store, what: str) -> list[dict[str, Any]]:
    """Return the measurements of one type, newest last. Skip damaged and foreign files.

    Args:
        store: The storage.
        what: ``rate`` or ``share``.
    """
    contents = [store.read(f"calibration/{name}.json") or b"" for name in sorted(store.list_ids("calibration"))]
    entries = [entry for content in contents if (entry := _parsed(content)).get("what") == what]
    return sorted(entries, key=lambda entry: entry["at"])


class Rate(BaseModel):
    """Measured training speed of one kind of trial on one GPU; None if the trial does not fit into its memory."""

    model_config = ConfigDict(allow_inf_nan=False)
    what: Literal["rate"]
    kind: dict[str, Any]
    card: str
    images_per_second: float | None = Field(gt=0)
    at: str


class Share(BaseModel):
    """Measured optimal number of trials of one kind that share one GPU."""

    what: Literal["share"]
    kind: dict[str, Any]
    card: str
    trials: int = Field(ge=0)
    at: str


def _parsed(content: bytes) -> dict[str, Any]:
    """Return the fields of a measurement, or an empty dict if ``content`` is invalid."""
    for kind in (Rate, Share):
        with suppress(ValidationError):
            return kind.model_validate_json(content).model_dump()
    return {}
