"""Results of a sweep without training: rows as a trial writes them, with a synthetic accuracy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sparsweep.trainables.specs.run import to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import schemas
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.state import sweep_record

BEGIN = datetime(2024, 5, 6, tzinfo=UTC)


def write_results(store: Store, sweep: Sweep, leave_out: int = 0) -> list[TrialSpec]:
    """Write results for all trials of ``sweep`` except the last ``leave_out``. Return the trials with results."""
    sweep_record.save_sweep(sweep, store)
    done = list(sweep.trials.values())[: len(sweep.trials) - leave_out]
    for spec in done:
        layers = [layer(spec, position) for position in range(4)]
        epochs = [epoch(spec, number) for number in range(spec.recipe.epochs - spec.num_epochs, spec.recipe.epochs)]
        store.write_result(spec.id, {"trials": [trial(spec, sweep.name)], "layers": layers, "epochs": epochs})
    return done


def trial(spec: TrialSpec, sweep: str) -> dict[str, Any]:
    """Return a row of ``trials``. Sparse networks gain an accuracy of 0.02, and each seed adds 0.001."""
    parts = {name: getattr(spec, name) for name in ("dataset", "model", "sparsifier", "difficulty")}
    names = {name: part.name for name, part in parts.items()}
    parameters = {f"{name}_parameters": part.model_dump_json(exclude={"name"}) for name, part in parts.items()}
    recipe = spec.recipe.model_dump(mode="json", exclude={"milestones"})
    own = {
        "trial": spec.id,
        "sweep": sweep,
        "sparsity": spec.sparsity,
        "data_ratio": spec.data_ratio,
        "seed": spec.seed,
    }
    accuracy = 0.6 + 0.001 * spec.seed + (0.02 if spec.sparsity else 0)
    results = {"test_accuracy": accuracy, "train_flops": 1e9, "prerequisite_flops": 0.0, "seconds": 2.0}
    results["inference_flops"] = 4e6
    sizes = {"density": 1 - spec.sparsity, "parameters": 1000, "nonzero_parameters": round(1000 * (1 - spec.sparsity))}
    more = {
        "profile": spec.profile,
        "milestones": json.dumps(spec.recipe.milestones),
        "evaluation_every": spec.evaluation.every,
    }
    when = {"started_at": BEGIN, "finished_at": BEGIN, "device": "a test", "versions": "{}", "images_per_second": 10.0}
    row = dict.fromkeys(schemas.SCHEMAS["trials"].names)
    return {**row, **names, **parameters, **recipe, **own, **results, **sizes, **more, **when, "spec": to_json(spec)}


def layer(spec: TrialSpec, position: int) -> dict[str, Any]:
    """Return a row of ``layers``: a convolution, sparser in deeper layers."""
    row = dict.fromkeys(schemas.SCHEMAS["layers"].names)
    place = {"trial": spec.id, "layer": f"layer{position}.weight", "position": position, "kind": "conv", "weights": 100}
    return {**row, **place, "density": (1 - spec.sparsity) * (1 - position / 10), "flops": 1e6}


def epoch(spec: TrialSpec, number: int) -> dict[str, Any]:
    """Return row ``number`` (from 0) of ``epochs``."""
    return {**dict.fromkeys(schemas.SCHEMAS["epochs"].names), "trial": spec.id, "epoch": number + 1}
