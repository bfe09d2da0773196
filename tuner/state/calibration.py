"""What was measured of devices with a storage: ``calibration/*.json``, read by ``plan`` and by ``gpus: auto``."""

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
    """All that the speed of a training step depends on, beside the device; of the levers, those that were turned."""
    turned = engine.model_dump(exclude_defaults=True)
    shape = model_input_shape(spec.dataset.image_shape, spec.model.channels, spec.model.min_size)
    return {
        "model": spec.model.model_dump(mode="json"),
        "resolution": list(shape[1:]),
        "precision": spec.recipe.precision,
        "batch_size": spec.recipe.batch_size,
        "attack": difficulties.cast(spec.difficulty).loss_fn.forward_equivalents,
        **({"engine": turned} if turned else {}),
    }


def save_measurement(found: dict[str, Any], store: Store) -> None:
    """Write one calibration in place of an earlier one of the same kind and card."""
    about = json.dumps([found["what"], found["kind"], found["card"]], sort_keys=True)
    name = hashlib.sha256(about.encode()).hexdigest()[:16]
    store.write(f"calibration/{name}.json", json.dumps({**found, "at": datetime.now(UTC).isoformat()}).encode())


def read_measurements(store: Store, what: str) -> list[dict[str, Any]]:
    """What was calibrated with this storage, the newest last. Other files, and damaged ones, are left out."""
    contents = [store.read(f"calibration/{name}.json") or b"" for name in sorted(store.list_ids("calibration"))]
    entries = [entry for content in contents if (entry := _parsed(content)).get("what") == what]
    return sorted(entries, key=lambda entry: entry["at"])


class Rate(BaseModel):
    """How fast trials of a kind train on a card; None where they do not fit."""

    model_config = ConfigDict(allow_inf_nan=False)
    what: Literal["rate"]
    kind: dict[str, Any]
    card: str
    images_per_second: float | None = Field(gt=0)
    at: str


class Share(BaseModel):
    """How many trials of a kind train on a card at once."""

    what: Literal["share"]
    kind: dict[str, Any]
    card: str
    trials: int = Field(ge=0)
    at: str


def _parsed(content: bytes) -> dict[str, Any]:
    """Return a calibration, or an empty one if ``content`` is none."""
    for kind in (Rate, Share):
        with suppress(ValidationError):
            return kind.model_validate_json(content).model_dump()
    return {}
