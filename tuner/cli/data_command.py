"""``sparsweep data``: the data sets on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sparsweep.tuner.cli.options import AsJson, DataFolder
from sparsweep.tuner.terminal import say, tell

data_app = typer.Typer(help="Data sets on this machine: fetch them, see which are there.", no_args_is_help=True)


@data_app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set that data list shows.")],
    data: DataFolder = None,
) -> None:
    """Download a data set, check it and unpack it; nothing is done if it is there and whole."""
    from sparsweep.tuner.cli.datasets import fetch

    say(fetch(name, data, tell))


@data_app.command(name="list")
def list_data(data: DataFolder = None, as_json: AsJson = False) -> None:
    """List the data sets that can be downloaded, and where those that are there lie."""
    from sparsweep.tuner.cli.datasets import inventory

    rows = inventory(data)
    if as_json:
        say(json.dumps(rows))
        return
    for row in rows:
        say(f"{row['name']:<12}  {row['folder'] or 'not here'}")
