"""Print the tables of ``docs/results.md`` from a storage in which their sweeps were run.

python docs/results.py runs [SWEEP ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pandas as pd

from sparsweep.analysis import load_trials
from sparsweep.analysis.convergence import is_undertrained
from sparsweep.analysis.figures.labels import of_rows
from sparsweep.analysis.groups import normalize_keys, pair_with_dense
from sparsweep.analysis.stats import mean_interval


def spread(values: pd.Series) -> str:
    """Mean and sample standard deviation in percent: ``89.1 ± 2.1``."""
    return f"{100 * values.mean():.1f} ± {100 * values.std():.1f}"


def accuracy(rows: pd.DataFrame) -> str:
    """Test accuracy of an arm, with a dagger if one of its trials is under-trained."""
    return spread(rows["test_accuracy"]) + (" †" if is_undertrained(rows).any() else "")


def gains(trials: pd.DataFrame) -> pd.DataFrame:
    """Paired difference to dense in points, a row for each setting, method and sparsity."""
    pairs = pair_with_dense(trials)
    named = pairs.assign(method=of_rows(pairs))
    rows = []
    for (ratio, method, sparsity), group in named.groupby(["data_ratio", "method", "sparsity"], sort=False):
        low, high = mean_interval(group["difference"].to_numpy(dtype=float))
        mean = 100 * group["difference"].mean()
        interval = f"{mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]".replace("-", "−")
        rows.append({"data_ratio": ratio, "method": method, "sparsity": sparsity, "gain": interval})
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """A frame of texts as a table in Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def over_steps(trials: pd.DataFrame) -> str:
    """Test and fit accuracy over optimizer steps."""
    rows = []
    for steps, group in trials.groupby("steps"):
        row = {"steps": f"{steps:,}"}
        for method, own in group.groupby("sparsifier"):
            row[method] = accuracy(own)
            row[f"{method}: fit"] = f"{100 * own['fit_accuracy'].mean():.1f}"
        rows.append(row)
    return markdown(pd.DataFrame(rows))


def over_sparsity(trials: pd.DataFrame) -> str:
    """Mean test accuracy over seeds, a row for each method, and dense in the first one."""
    rows = normalize_keys(trials)
    named = rows.assign(method=of_rows(rows))
    parts = []
    for ratio, group in named.groupby("data_ratio"):
        dense = group[group["sparsifier"] == "dense"]
        sparse = group[group["sparsifier"] != "dense"]
        rows = []
        for method, arm in sparse.groupby("method"):
            cells = {f"{sparsity:g}": accuracy(own) for sparsity, own in arm.groupby("sparsity")}
            rows.append({"method": method, **cells})
        head = f"Data ratio {ratio:g}, {dense['seed'].nunique()} seeds; dense: {accuracy(dense)}"
        parts.append(f"{head}\n\n{markdown(pd.DataFrame(rows).fillna(''))}")
    return "\n\n".join(parts)


def over_sparsity_with_gains(trials: pd.DataFrame) -> str:
    """The same, and each arm's paired difference to dense with its 95 % interval."""
    found = gains(trials)
    parts = [over_sparsity(trials)]
    for ratio, group in found.groupby("data_ratio"):
        table = group.pivot(index="method", columns="sparsity", values="gain").fillna("")
        table.columns = [f"{sparsity:g}" for sparsity in table.columns]
        parts.append(f"Data ratio {ratio:g}: points above dense, paired by seed\n\n{markdown(table.reset_index())}")
    return "\n\n".join(parts)


def over_sparsity_with_classes(trials: pd.DataFrame) -> str:
    """The same, and the accuracy on the worst class of each trial."""
    worst = trials.assign(test_accuracy=trials["worst_class_accuracy"])
    return f"{over_sparsity_with_gains(trials)}\n\nAccuracy on the worst class of each trial:\n\n{over_sparsity(worst)}"


def over_difficulties(trials: pd.DataFrame) -> str:
    """Dense and SET on every difficulty."""
    rows = []
    for (label, parameters, ratio), group in trials.groupby(["difficulty", "difficulty_parameters", "data_ratio"]):
        row = {"difficulty": label, "data ratio": f"{ratio:g}", "fields": _fields(parameters)}
        for method, own in group.groupby("sparsifier"):
            row[method] = accuracy(own)
            if own["robust_accuracy"].notna().all():
                row[f"{method}, robust"] = spread(own["robust_accuracy"])
        rows.append(row)
    return markdown(pd.DataFrame(rows).fillna(""))


def _fields(parameters: str) -> str:
    """The fields of a difficulty that say how strong it is."""
    told = ("fraction", "severity", "epsilon")
    return ", ".join(f"{name} {value:g}" for name, value in json.loads(parameters).items() if name in told)


TABLES: dict[str, Callable[[pd.DataFrame], str]] = {
    "digits-convergence": over_steps,
    "quickstart": over_sparsity_with_classes,
    "all-sparsifiers": over_sparsity,
    "digits-grid": over_sparsity_with_gains,
    "hard-digits": over_difficulties,
    "cifar100-small": over_sparsity_with_gains,
}


def main(storage: str, *sweeps: str) -> None:
    for sweep in sweeps or TABLES:
        trials = load_trials(storage, sweep=sweep)
        short = int(is_undertrained(trials).sum())
        print(f"## {sweep}\n\n{TABLES[sweep](trials)}\n\n{len(trials)} trials, {short} of them under-trained (†).\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
