"""The trials that a sweep has by now, in this storage: grids are known beforehand; searches, growing seeds are not."""

from __future__ import annotations

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.suggestions import suggestions
from sparsweep.tuner.sweep import Sweep


def points(sweep: Sweep, store: Store) -> dict[str, TrialSpec]:
    """The trials of a sweep by id: those of its grids, with the seeds that they have grown to, or of its search.

    A suggestion that was stopped early, or that can be no trial, is none of them.
    """
    if sweep.search is not None:
        return {made.spec.id: made.spec for made in suggestions(sweep.name, store) if made.spec and made.ended is None}
    if sweep.seeds is not None:
        from sparsweep.tuner.growth import grown  # SciPy's statistics take a second to import

        return grown(sweep, store).points
    return sweep.trials
