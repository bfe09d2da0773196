"""Outcomes of every sample that a finished trial writes (table ``outcomes``)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from sparsweep.trainables.specs.parts import Split
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.schemas import SCHEMAS
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.evaluation import Evaluator
from sparsweep.trainables.training.outcomes import Outcomes

LARGEST_LOSS = 65504.0
"""Largest number of 16 bits. The loss of a label with probability zero is infinite."""


def missing_splits(trial: TrialSpec, store: Store) -> list[Split]:
    """Return the splits whose outcomes ``trial`` asks for and the storage lacks."""
    return [split for split in trial.evaluation.outcomes if not store.exists(store.outcomes_path(trial.id, split))]


def write_outcomes(evaluator: Evaluator, splits: Iterable[Split], store: Store) -> None:
    """Write the outcomes of a trial.

    Args:
        evaluator: Evaluator of the trained network.
        splits: Splits to write.
        store: Storage of the run.
    """
    trial = evaluator.spec
    for split in splits:
        outcomes = evaluator.measure(split)
        samples = evaluator.indices.cpu().numpy() if split == "train" else np.arange(len(outcomes.labels))
        store.write_outcomes(trial.id, split, outcome_table(trial.id, split, samples, outcomes))


def outcome_table(trial: str, split: str, samples: np.ndarray, outcomes: Outcomes) -> pa.Table:
    """Return the rows of the table ``outcomes`` for one split.

    Args:
        trial: Id of the trial.
        split: Name of the split.
        samples: int ``(N,)``, indices of the samples in the data set.
        outcomes: Outcomes of the N samples.
    """
    repeated = pa.array(np.zeros(len(samples), np.int8))
    columns = {
        "trial": pa.array([trial]).take(repeated),
        "split": pa.array([split]).take(repeated),
        "sample": samples,
        "label": outcomes.labels,
        "prediction": outcomes.predictions,
        "confidence": outcomes.confidences,
        "label_probability": outcomes.label_probabilities,
        "loss": np.minimum(outcomes.losses, LARGEST_LOSS),
        "correct": outcomes.correct,
    }
    schema = SCHEMAS["outcomes"]
    return pa.Table.from_arrays([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)
