"""The ``sparsweep`` command.

Each command imports its modules inside its function, because ``--help`` must start fast.

Exit codes:
    0: All trials are finished.
    1: Some trials failed.
    2: Usage error, invalid sweep or other error. One line names the field, the value and the choices.
    129, 130, 143: Stopped in order by SIGHUP, SIGINT or SIGTERM.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from sparsweep.tuner.cli.choices import data_app, init, list_names, schema
from sparsweep.tuner.cli.error_lines import exit_code_and_line, print_errors_as_lines
from sparsweep.tuner.cli.results import claims, figures, report, study
from sparsweep.tuner.cli.session import refuse_lost_folder
from sparsweep.tuner.cli.storage import compact, gc
from sparsweep.tuner.cli.sweeps import calibrate, plan, resume, run, status
from sparsweep.tuner.cli.trials import export, forget, logs, show, trials
from sparsweep.tuner.terminal import lasting_messages, print_message, print_result, shortened

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def print_version(asked: bool) -> None:
    """Print the package version and exit if the option is set."""
    if asked:
        from importlib.metadata import version

        print_result(f"sparsweep {version('sparsweep')}")
        raise typer.Exit


DEBUG = "--debug"


def main() -> None:
    """Run the command. Print one line to stderr for every error and exit with its code."""
    debug = DEBUG in sys.argv
    arguments = sorted(sys.argv[1:], key=DEBUG.__ne__)  # --debug may follow the command
    with lasting_messages():
        if debug:
            logging.basicConfig(format="%(message)s")
        else:
            print_errors_as_lines()
        logging.getLogger("sparsweep.trainables").setLevel(logging.INFO)  # logs slow image decoding
        try:
            code, reason = app(arguments, standalone_mode=False) or 0, ""
        except BaseException as error:
            code, reason = exit_code_and_line(error)
            if debug:
                print_message(traceback.format_exc())
        if reason:
            print_message(f"sparsweep: {shortened(' '.join(reason.split()))}")
    sys.exit(code)


@app.callback()
def begin(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Print the traceback of an error. Any position.")] = False,
) -> None:
    """Run sweeps that compare sparse and dense networks on hard training samples."""
    refuse_lost_folder()


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Sweeps": (calibrate, plan, run, resume, status),
    "Trials": (trials, show, logs, export, forget),
    "Results": (figures, claims, report, study),
    "Storage": (compact, gc),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command(name="list", rich_help_panel="Reference")(list_names)
app.command(rich_help_panel="Reference")(init)
app.command(rich_help_panel="Reference")(schema)
app.add_typer(data_app, name="data", rich_help_panel="Reference")


if __name__ == "__main__":
    main()
