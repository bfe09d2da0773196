"""Tables about searches, from Optuna studies with one trial per suggestion."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import optuna

Searches = Mapping[str, "optuna.Study"]
"""The study of each search, by sweep name."""

HISTORY: dict[str, str] = {
    "sweep": "name of the search",
    "objective": "column of trials that it is after",
    "direction": "minimize or maximize",
    "number": "of the suggestion, from 0",
    "state": "complete, pruned, fail, running or waiting",
    "value": "of the objective; NaN unless complete",
    "best": "the best value of all suggestions up to this one",
    "trial": "id of the trial; missing where there can be none",
    "params": "JSON: what was suggested",
}
IMPORTANCE: dict[str, str] = {
    "sweep": "name of the search",
    "objective": "column of trials that it is after",
    "parameter": "dotted path in the search space",
    "importance": "share in [0, 1] by Optuna's evaluator; of one objective they add up to 1",
    "suggestions": "complete suggestions that it rests on",
}


def history(searches: Searches) -> pd.DataFrame:
    """Return one row per suggestion and objective, with the columns HISTORY."""
    rows = []
    for sweep, study in searches.items():
        for place, objective in enumerate(_objectives(study)):
            direction = study.directions[place].name.lower()
            for trial in study.get_trials(deepcopy=False):
                values = trial.values if trial.state.name == "COMPLETE" else None
                rows.append(
                    {
                        "sweep": sweep,
                        "objective": objective,
                        "direction": direction,
                        "number": trial.number,
                        "state": trial.state.name.lower(),
                        "value": values[place] if values else float("nan"),
                        "trial": trial.user_attrs.get("trial"),
                        "params": json.dumps(trial.params),
                    }
                )
    found = pd.DataFrame(rows, columns=[name for name in HISTORY if name != "best"])
    found = found.sort_values(["sweep", "objective", "number"], ignore_index=True).astype({"value": float})
    groups = found.groupby(["sweep", "objective"])["value"]
    rising = found["direction"].eq("maximize")
    found["best"] = groups.cummax().where(rising, groups.cummin())
    found["best"] = found.groupby(["sweep", "objective"])["best"].ffill()
    return found[list(HISTORY)]


def importance(searches: Searches) -> pd.DataFrame:
    """Return one row per parameter and objective, most important first, with the columns IMPORTANCE.

    Uses Optuna's default evaluator (PED-ANOVA since version 5). A search with fewer than two complete suggestions, or
    without variation, has no rows.
    """
    rows = []
    for sweep, study in searches.items():
        complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        for place, objective in enumerate(_objectives(study)):
            if len({trial.values[place] for trial in complete}) < 2:
                continue
            for parameter, share in _importances(study, place).items():
                rows.append((sweep, objective, parameter, share, len(complete)))
    return pd.DataFrame(rows, columns=list(IMPORTANCE))


def _importances(study: optuna.Study, place: int) -> dict[str, float]:
    import optuna

    # PED-ANOVA asks what makes a target low, whatever the study's directions are.
    sign = 1 if study.directions[place].name == "MINIMIZE" else -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes the importances of params to")
        return optuna.importance.get_param_importances(study, target=lambda trial: sign * trial.values[place])


def _objectives(study: optuna.Study) -> list[str]:
    return study.metric_names or [f"objective {place}" for place in range(len(study.directions))]
