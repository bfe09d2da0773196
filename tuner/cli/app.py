"""The ``sparsweep`` command. What a command needs is imported inside it, so that ``--help`` answers at once.

Exit 0: all done; 1: some trials failed; 2: a wrong call or sweep, or an error, with one line that names the field, the
value and the choices (``faults``); 129, 130 and 143: stopped by SIGHUP, SIGINT and SIGTERM, in order.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from sparsweep.tuner.cli.choices import data_app, list_names
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
    """Print the version of the package, and end."""
    if asked:
        from importlib.metadata import version

        print_result(f"sparsweep {version('sparsweep')}")
        raise typer.Exit


DEBUG = "--debug"


def main() -> None:
    """Run the command. Whatever ends it is one line on standard error, and an exit code."""
    debug = DEBUG in sys.argv
    arguments = sorted(sys.argv[1:], key=DEBUG.__ne__)  # it may stand anywhere
    with lasting_messages():
        if debug:
            logging.basicConfig(format="%(message)s")
        else:
            print_errors_as_lines()
        logging.getLogger("sparsweep.trainables").setLevel(logging.INFO)  # images being decoded: that takes a while
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
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of what ends a command; anywhere.")] = False,
) -> None:
    """Sweeps over sparse training on hard samples: when do sparse networks learn them better than dense ones?"""
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
app.command(name="list", rich_help_panel="What there is")(list_names)
app.add_typer(data_app, name="data", rich_help_panel="What there is")


if __name__ == "__main__":
    main()
