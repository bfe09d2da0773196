"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sparsweep.tuner.cli.catalogue import Kind
from sparsweep.tuner.cli.session import load_plugins
from sparsweep.tuner.execution.run_options import Tracker


def options_to_repeat(context: typer.Context) -> list[str]:
    """Return the given options that ``resume`` also accepts, for a command line that users copy.

    Excludes ``--set``, because the sweep record stores the overrides.
    """
    commands = context.find_root().command.commands  # type: ignore[attr-defined]
    known = {parameter.name for parameter in commands["resume"].params} - {"overrides", "take_over"}
    arguments: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name not in known or source is None or source.name != "COMMANDLINE" or not parameter.opts:
            continue
        if not parameter.opts[0].startswith("-"):  # positional
            continue
        value = context.params[parameter.name]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            arguments += [parameter.opts[0]] if one is True else [parameter.opts[0], str(one)]
    return arguments


class Spread(StrEnum):
    """Meaning of error bars: one standard deviation, or the 95 % confidence interval of the mean."""

    std = "std"
    interval = "interval"


SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a built-in sweep, or path of a YAML file.")]
SweepNames = Annotated[list[str], typer.Argument(metavar="SWEEP...", help="One or more sweeps, analyzed together.")]
TrialId = Annotated[str, typer.Argument(metavar="TRIAL", help="Trial id, or a unique prefix.")]
KindName = Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of: {', '.join(Kind)}.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Override a field, e.g. recipe.epochs=5 or seed=[0,1].")
]
Storage = Annotated[str, typer.Option(help="Storage of results: a folder, or an s3:// or gs:// address.")]
Address = Annotated[str, typer.Option(help="Ray cluster: local (private, on this node), auto, or host:port.")]
DataFolder = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DIR", help="Folder of data sets. Default: $SPARSWEEP_DATA, then ~/.cache/sparsweep/data."
    ),
]
NodePrice = Annotated[
    float | None, typer.Option(metavar="PRICE", min=0, help="Price per node-hour. Adds the cost to the plan.")
]
TrialsPerNode = Annotated[int, typer.Option(metavar="N", min=1, help="Number of trials that one node runs at once.")]
Trackers = Annotated[list[Tracker], typer.Option("--track", help="Also log to TensorBoard, W&B or MLflow. Repeatable.")]
Plugins = Annotated[
    list[str],
    typer.Option(
        "--plugin",
        metavar="MODULE",
        callback=load_plugins,
        help="Import a module with your own methods first. Repeatable.",
    ),
]
Output = Annotated[
    str | None, typer.Option(metavar="FILE", help="Output file. Default: TRIAL.pt in the current folder.")
]
Onnx = Annotated[bool, typer.Option("--onnx", help="Also write an ONNX file (needs sparsweep[onnx]).")]
Kinds = Annotated[
    list[str], typer.Option("--figure", metavar="KIND", help="Draw only this kind of figure. Repeatable.")
]
Methods = Annotated[
    list[str], typer.Option("--method", metavar="NAME", help="Show only this sparsifier and dense. Repeatable.")
]
Panels = Annotated[
    list[str],
    typer.Option(
        "--panel",
        metavar="FIELD=VALUE",
        help="Show only panels with this dataset, model, difficulty, data_ratio or sparsity. Repeatable.",
    ),
]
Width = Annotated[
    str | None, typer.Option(metavar="LENGTH", help="Figure width, e.g. 3.25in or 8.5cm. Default: automatic.")
]
SpreadName = Annotated[
    Spread, typer.Option("--spread", help="Meaning of error bars and bands around the mean over seeds.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON to stdout.")]
ClaimFiles = Annotated[
    list[str], typer.Option("--claims", metavar="FILE", help="YAML file with your own claims. Repeatable.")
]
ProfileTrial = Annotated[
    str | None,
    typer.Option(
        "--profile-trial", metavar="ID", help="Profile this trial: print the time per operation and save a trace."
    ),
]
FailFast = Annotated[
    bool,
    typer.Option("--fail-fast", help="Stop after the first trial that fails after all retries. Continue with resume."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress, only failures and the summary.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Also print the start and the end of every run.")]
Remake = Annotated[
    str | None,
    typer.Option(
        "--remake",
        metavar="WHAT",
        help="Only recreate deleted files: weights (of finished trials), scores, or one run id.",
    ),
]
Rerun = Annotated[
    str | None,
    typer.Option(
        "--rerun",
        metavar="WHAT",
        help="Rerun finished trials: changed (all with different code), one changed module, or a trial id.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="CONDITION", help="Only trials that match, e.g. 'sparsity >= 0.8'."),
]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Stop the other driver of this sweep and continue here.")]
ListRuns = Annotated[bool, typer.Option("--list", help="Also list the missing runs with their ids.")]
