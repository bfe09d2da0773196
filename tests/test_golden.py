"""Golden tests of the public interface: ids, columns, help, exit codes and the data of figures.

``python tests/test_golden.py`` writes the files again. A change in them is a change for users: document it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

sys.path.insert(0, str(Path(__file__).parent))

from sparsweep.analysis import figures
from sparsweep.trainables.data import datasets
from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.models import models
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.schemas import SCHEMAS
from sparsweep.tuner.cli import app as cli
from support.synthetic_tables import make_results

GOLDEN = Path(__file__).parent / "golden"
BASE = {"dataset": "digits", "model": "resnet8", "sparsifier": "dense", "recipe": {"preset": "digits", "epochs": 20}}
DIGEST = {"file": "/a/file", "digest": "0" * 64}
RGB = {"dataset": "cifar100", "model": "resnet18", "recipe": {"preset": "paper", "epochs": 200}}
WRONG_CALLS = {
    ("status",): 2,
    ("plan", "no-such-sweep"): 2,
    ("plan", "smoke", "--set", "recipe.epocs=3"): 2,
    ("plan", "smoke"): 0,
    ("run", "smoke", "--plugin", "no_such_module"): 2,
    ("resume", "smoke"): 2,
    ("show", "abc"): 2,
    ("logs", "abc"): 2,
    ("export", "abc"): 2,
    ("figures", "smoke"): 2,
    ("claims", "smoke"): 2,
    ("report", "smoke"): 2,
    ("gc",): 2,
    ("compact",): 2,
    ("forget",): 2,
    ("trials", "smoke"): 0,
    ("list", "sparsifiers"): 0,
    ("list", "nothing"): 2,
    ("data", "list"): 0,
    ("data", "get", "nothing"): 2,
    ("study", "smoke"): 2,
    ("--version",): 0,
    ("no-such-command",): 2,
}


def ids() -> dict[str, str]:
    """Return the id of one trial of each method, difficulty, network and dataset."""
    specs: dict[str, dict[str, Any]] = {}
    for name in sparsifiers.names():
        fields = {"name": name, **(DIGEST if name == "static" else {})}
        specs[f"sparsifier {name}"] = {**BASE, "sparsifier": fields, "sparsity": 0.0 if name == "dense" else 0.5}
    for name in difficulties.names():
        fields = {"name": name, **(DIGEST if name == "scores" else {})}
        if name == "composed":
            fields |= {"labels": "label_noise", "images": "corruption"}
        specs[f"difficulty {name}"] = {**BASE, "difficulty": fields, "data_ratio": 0.5}
    for name in models.names():
        specs[f"model {name}"] = {**(BASE if models[name].channels == 1 else {**BASE, **RGB}), "model": name}
    from_user_files = {"imagefolder", "arrays"}  # their ids depend on the files
    for name in sorted({*datasets.names()} - {"digits"} - from_user_files):
        specs[f"dataset {name}"] = {**BASE, **RGB, "dataset": name}
    return {name: TrialSpec.model_validate(spec).id for name, spec in specs.items()}


def columns() -> dict[str, list[list[str]]]:
    """Return names and types of the columns of every table, in order."""
    return {table: [[field.name, str(field.type)] for field in schema] for table, schema in SCHEMAS.items()}


def help_texts() -> dict[str, Any]:
    """Return the help of every command: its text, and names, default and text of each argument and option."""
    found: dict[str, Any] = {}

    def add(name: str, command: Any) -> None:
        about = [
            [parameter.opts, str(parameter.default), getattr(parameter, "help", "")] for parameter in command.params
        ]
        found[name] = {"help": command.help, "parameters": about}
        for inner, part in getattr(command, "commands", {}).items():
            add(f"{name} {inner}", part)

    add("sparsweep", typer.main.get_command(cli.app))
    return found


def csv_digests() -> dict[str, str]:
    """Return the SHA-256 of the CSV data of each figure of fixed results, or the reason why it is not drawn."""
    found = {}
    for picture in figures.pictures(make_results(), ["golden"]):
        try:
            content = picture.table().to_csv(index=False, float_format="%.9g", lineterminator="\n").encode()
            found[picture.name] = hashlib.sha256(content).hexdigest()
        except ValueError as error:
            found[picture.name] = str(error)
    return found


def call(*arguments: str) -> tuple[int, str]:
    """Return exit code and standard output of the command."""
    printed = io.StringIO()
    terminal = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    with (
        mock.patch.object(sys, "argv", ["sparsweep", *arguments]),
        mock.patch.dict(os.environ, terminal),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            return int(ended.code or 0), printed.getvalue()
    raise AssertionError("the command returned")


KINDS: dict[str, Callable[[], Any]] = {
    "ids": ids,
    "columns": columns,
    "help": help_texts,
    "figures": csv_digests,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_users_rely_on_is_as_it_was(kind: str) -> None:
    assert json.loads(json.dumps(KINDS[kind]())) == json.loads((GOLDEN / f"{kind}.json").read_text())


@pytest.mark.parametrize("arguments", WRONG_CALLS, ids=" ".join)
def test_exit_codes_are_as_they_were(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments)[0] == WRONG_CALLS[arguments]


if __name__ == "__main__":
    for kind, make in KINDS.items():
        (GOLDEN / f"{kind}.json").write_text(json.dumps(make(), indent=1) + "\n")
