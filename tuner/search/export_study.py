"""A search for optuna-dashboard: its suggestions and what came of them, as a study in an SQLite file.

The file is made from the storage and is nothing that a search ever reads; written again, it shows what is new.
"""

from __future__ import annotations

from pathlib import Path

import optuna

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.search.study import OptunaStudy, new_study


def write(sweep: Sweep, store: Store, file: str | None) -> str:
    """Write the study of ``sweep`` to ``file`` (default: its name in this folder); returns the address of it."""
    assert sweep.search is not None
    trials = OptunaStudy(sweep, store).study.get_trials(deepcopy=False)
    address = f"sqlite:///{Path(file or f'{sweep.name}.db').absolute()}"
    if sweep.name in optuna.get_all_study_names(address):
        optuna.delete_study(study_name=sweep.name, storage=address)
    new_study(sweep.search, address, sweep.name).add_trials(trials)
    return address
