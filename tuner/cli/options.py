"""The arguments and options that commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sparsweep.tuner.cli.catalogue import Kind
from sparsweep.tuner.cli.session import load_plugins
from sparsweep.tuner.execution.run_options import Tracker


def options_to_repeat(context: typer.Context) -> list[str]:
    """Return the options of a call as they were given, those that ``resume`` takes, for a command to copy.

    What was ``--set`` is in the record of the sweep.
    """
    commands = context.find_root().command.commands  # type: ignore[attr-defined]
    known = {parameter.name for parameter in commands["resume"].params} - {"overrides", "take_over"}
    words: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name not in known or source is None or source.name != "COMMANDLINE" or not parameter.opts:
            continue
        if not parameter.opts[0].startswith("-"):  # an argument
            continue
        value = context.params[parameter.name]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            words += [parameter.opts[0]] if one is True else [parameter.opts[0], str(one)]
    return words


class Spread(StrEnum):
    """What bars in figures show: one standard deviation, or the mean's 95 % interval."""

    std = "std"
    interval = "interval"


SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="A built-in sweep, or the path of a YAML file.")]
SweepNames = Annotated[list[str], typer.Argument(metavar="SWEEP...", help="One or more sweeps, taken together.")]
TrialId = Annotated[str, typer.Argument(metavar="TRIAL", help="Id of a trial, or the beginning of one.")]
KindName = Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of: {', '.join(Kind)}.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Override a field, e.g. recipe.epochs=5 or seed=[0,1].")
]
Storage = Annotated[str, typer.Option(help="Where results lie: a folder, or an s3:// or gs:// address.")]
Address = Annotated[str, typer.Option(help="Ray cluster: local (a private one, here), auto, or host:port.")]
DataFolder = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="Where data sets lie; else $SPARSWEEP_DATA or ~/.cache/sparsweep/data."),
]
NodePrice = Annotated[
    float | None, typer.Option(metavar="PRICE", min=0, help="Also say what it costs, at a node's price an hour.")
]
TrialsPerNode = Annotated[int, typer.Option(metavar="N", min=1, help="Trials that such a node runs at once.")]
Trackers = Annotated[
    list[Tracker], typer.Option("--track", help="Show it in TensorBoard, W&B or MLflow as well; may be repeated.")
]
Plugins = Annotated[
    list[str],
    typer.Option(
        "--plugin", metavar="MODULE", callback=load_plugins, help="Import a module with methods of your own first."
    ),
]
Output = Annotated[str | None, typer.Option(metavar="FILE", help="Default: TRIAL.pt, in this folder.")]
Onnx = Annotated[bool, typer.Option("--onnx", help="Write ONNX beside it (needs sparsweep[onnx]).")]
Kinds = Annotated[
    list[str], typer.Option("--figure", metavar="KIND", help="Draw this kind of figure alone; may be repeated.")
]
Methods = Annotated[
    list[str], typer.Option("--method", metavar="NAME", help="Show this sparsifier alone, with dense; may be repeated.")
]
Panels = Annotated[
    list[str],
    typer.Option(
        "--panel",
        metavar="FIELD=VALUE",
        help="Show these panels alone: dataset, model, difficulty, data_ratio or sparsity; may be repeated.",
    ),
]
Width = Annotated[
    str | None, typer.Option(metavar="LENGTH", help="Width of each figure, e.g. 3.25in, 8.5cm; default: what fits.")
]
SpreadName = Annotated[Spread, typer.Option("--spread", help="What bars and bands around a mean over seeds show.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone on standard output.")]
ClaimFiles = Annotated[list[str], typer.Option("--claims", metavar="FILE", help="YAML with claims of your own.")]
ProfileTrial = Annotated[
    str | None,
    typer.Option("--profile-trial", metavar="ID", help="Show where the time of this trial goes."),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop when the first trial has failed for good; resume goes on.")
]
Remake = Annotated[
    str | None,
    typer.Option(
        "--remake",
        metavar="WHAT",
        help="Only make again what is gone: weights (of finished trials), scores, or one run by its id.",
    ),
]
Rerun = Annotated[
    str | None,
    typer.Option(
        "--rerun",
        metavar="WHAT",
        help="Make finished trials again: changed (those of other code), a module whose code changed, or an id.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="CONDITION", help="Only trials for which it holds, e.g. 'sparsity >= .8'."),
]
TakeOver = Annotated[bool, typer.Option("--take-over", help="End another driver of this sweep, and drive it here.")]
ListRuns = Annotated[bool, typer.Option("--list", help="Also list the runs to do, with their ids.")]
