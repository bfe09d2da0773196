"""Export of a search to an SQLite file for optuna-dashboard.

The file is built from the storage. Searches never read it; a new export updates it.
"""

from __future__ import annotations

from pathlib import Path

import optuna

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.search.study import OptunaStudy, new_study


def write(sweep: Sweep, store: Store, file: str | None) -> str:
    """Write the study of a search to an SQLite file.

    Args:
        sweep: The search.
        store: The storage.
        file: Path of the file, None for the name of the sweep in the current folder.

    Returns:
        Optuna storage address of the file.
    """
    assert sweep.search is not None
    trials = OptunaStudy(sweep, store).study.get_trials(deepcopy=False)
    address = f"sqlite:///{Path(file or f'{sweep.name}.db').absolute()}"
    if sweep.name in optuna.get_all_study_names(address):
        optuna.delete_study(study_name=sweep.name, storage=address)
    new_study(sweep.search, address, sweep.name).add_trials(trials)
    return address
