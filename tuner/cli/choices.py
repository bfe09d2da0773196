"""Commands that list the names for sweep files, and the data sets on this node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sparsweep.tuner.cli.catalogue import catalogue, field_reference, format_choices, format_field_reference
from sparsweep.tuner.cli.options import (
    AsJson,
    DataFolder,
    KindName,
    Plugins,
)
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.terminal import print_message, print_result

data_app = typer.Typer(help="Download data sets to this node and list them.", no_args_is_help=True)


@data_app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set, see sparsweep data list.")],
    data: DataFolder = None,
) -> None:
    """Download, verify and unpack a data set. Skip the download if the data set is complete."""
    from sparsweep.tuner.cli.datasets import fetch

    print_result(fetch(name, data, print_message))


@data_app.command(name="list")
def list_data(data: DataFolder = None, as_json: AsJson = False) -> None:
    """List the downloadable data sets and their folders on this node."""
    from sparsweep.tuner.cli.datasets import list_datasets

    rows = list_datasets(data)
    if as_json:
        print_result(json.dumps(rows))
        return
    for row in rows:
        print_result(f"{row['name']:<12}  {row['folder'] or 'not here'}")


def init(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Path of the new file.")] = "sweep.yaml",
    plugins: Plugins = [],
) -> None:
    """Write a commented sweep file to start from, and its JSON Schema for editors."""
    from sparsweep.tuner.cli.starter import write_starter

    print_result("\n".join(write_starter(Path(file).expanduser())))


def schema(plugins: Plugins = []) -> None:
    """Print the JSON Schema of sweep files. Editors complete and check names, types and bounds with it."""
    from sparsweep.tuner.config.json_schema import sweep_schema

    print_result(json.dumps(sweep_schema(), indent=1))


def list_names(
    kind: KindName,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the fields of this entry.")] = None,
    as_json: AsJson = False,
    plugins: Plugins = [],
) -> None:
    """List the names that a sweep file can use. With NAME, show its source paper and its fields with defaults."""
    if name is None:
        rows = catalogue(kind)
        print_result(json.dumps(rows) if as_json else "\n".join(format_choices(rows)))
        return
    try:
        facts = field_reference(kind, name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print_result(json.dumps(facts) if as_json else "\n".join(format_field_reference(facts)))
