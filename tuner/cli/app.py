"""The ``sparsweep`` command. What a command needs is imported inside it, so that ``--help`` answers at once.

Exit 0: all done; 1: some trials failed; 2: a wrong call or sweep, or an error, with one line that names the field, the
value and the choices (``faults``); 129, 130 and 143: stopped by SIGHUP, SIGINT and SIGTERM, in order.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from sparsweep.tuner.cli.commands import calibrate, export, forget, gc, list_names, logs, show, study, trials
from sparsweep.tuner.cli.data_command import data_app
from sparsweep.tuner.cli.error_lines import conclude, keep_to_lines
from sparsweep.tuner.cli.options import (
    Address,
    AsJson,
    ClaimFiles,
    DataFolder,
    FailFast,
    Kinds,
    ListRuns,
    Methods,
    NodeHour,
    Overrides,
    Panels,
    Plugins,
    ProfileTrial,
    Remake,
    Rerun,
    Spread,
    SpreadName,
    Storage,
    SweepName,
    SweepNames,
    TakeOver,
    Trackers,
    TrialsANode,
    Width,
    repeated,
)
from sparsweep.tuner.cli.result_tables import (
    Remarks,
    gather,
    in_one_line,
    nothing_finished,
    remark_lines,
    stated_claims,
)
from sparsweep.tuner.cli.run import remake_artifacts, run_sweep, take_back
from sparsweep.tuner.cli.session import (
    open_marked_store,
    open_readable_sweeps,
    open_recorded_sweep,
    open_store,
    open_sweep,
    open_sweeps,
    refuse_lost_folder,
)
from sparsweep.tuner.errors import DEFAULT_STORAGE, WrongCall
from sparsweep.tuner.execution.run_options import Launch
from sparsweep.tuner.terminal import bounded, lasting_messages, say, tell

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def print_version(asked: bool) -> None:
    """Print the version of the package, and end."""
    if asked:
        from importlib.metadata import version

        say(f"sparsweep {version('sparsweep')}")
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
            keep_to_lines()
        logging.getLogger("sparsweep.trainables").setLevel(logging.INFO)  # images being decoded: that takes a while
        try:
            code, reason = app(arguments, standalone_mode=False) or 0, ""
        except BaseException as error:
            code, reason = conclude(error)
            if debug:
                tell(traceback.format_exc())
        if reason:
            tell(f"sparsweep: {bounded(' '.join(reason.split()))}")
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


def plan(
    sweep: SweepName,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    node_hour: NodeHour = None,
    trials_a_node: TrialsANode = 1,
    as_json: AsJson = False,
    list_runs: ListRuns = False,
    plugins: Plugins = [],
) -> None:
    """Say what would run, what is shared or done, and what it costs; run nothing."""
    from sparsweep.tuner.planning.estimate import bill, lines, price, runs_to_do

    described, store = open_sweep(sweep, overrides, storage, as_it_was_run=False)
    remarks = Remarks.on(described, store)
    facts = price(described, store) | {"other_code": remarks.facts()["other_code"]}
    if node_hour is not None:
        facts |= bill(facts, node_hour, trials_a_node)
    runs = runs_to_do(described, store) if list_runs else []
    if as_json:
        say(json.dumps(facts | ({"runs": runs} if list_runs else {})))
        return
    listed = [f"  {run['run']}  {run['what']}" for run in runs]
    say("\n".join([*lines(facts), *remarks.code_lines(), *listed]))


def run(
    context: typer.Context,
    sweep: SweepName,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    address: Address = "local",
    data: DataFolder = None,
    track: Trackers = [],
    profile: ProfileTrial = None,
    rerun: Rerun = None,
    take_over: TakeOver = False,
    fail_fast: FailFast = False,
    plugins: Plugins = [],
) -> None:
    """Run what is missing of a sweep; trials that failed before are left to resume."""
    described, store = open_sweep(sweep, overrides, storage, as_it_was_run=False)
    for line in Remarks.on(described, store).code_lines() if rerun is None else take_back(described, store, rerun):
        tell(line)
    launch = Launch(described, store, address, track, profile, repeated(context), fail_fast, take_over)
    run_sweep(launch, data, remark_lines, retry=False)


def resume(
    context: typer.Context,
    sweep: SweepName,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    address: Address = "local",
    data: DataFolder = None,
    track: Trackers = [],
    remake: Remake = None,
    take_over: TakeOver = False,
    fail_fast: FailFast = False,
    plugins: Plugins = [],
) -> None:
    """Resume a sweep in this storage and retry failed trials; or make lost weights or scores again."""
    described, store = open_recorded_sweep(sweep, overrides, storage)
    launch = Launch(described, store, address, track, None, repeated(context), fail_fast, take_over)
    if remake is None:
        run_sweep(launch, data, remark_lines, retry=True)
    else:
        remake_artifacts(launch, data, remake)


def status(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="All sweeps run here if left out.")] = None,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking, until it has ended or Ctrl-C.")] = False,
    plugins: Plugins = [],
) -> None:
    """Say what is done, running, failed (and why), and blocked (and by what)."""
    from sparsweep.tuner.cli.status_view import follow, lines
    from sparsweep.tuner.planning.status import report
    from sparsweep.tuner.state import sweep_record

    store = open_store(storage)
    names = [sweep] if sweep else sweep_record.recorded(store)
    if not names:
        raise WrongCall(f"--storage {storage}: no sweep has been run here")
    if watch:
        if sweep is None or as_json:
            raise WrongCall("--watch: looks at one SWEEP, on a terminal: name it, and leave out --json")
        follow(*open_sweep(sweep, overrides, storage, as_it_was_run=True))
        return
    if sweep:
        sweeps = open_sweeps(names, overrides, storage)[0]
    else:
        sweeps, problems = open_readable_sweeps(names, storage)
        for line in problems:
            tell(line)
    reports = [report(described, store) for described in sweeps]
    if as_json:
        reports = [facts | Remarks.on(found, store).facts() for facts, found in zip(reports, sweeps, strict=True)]
        say(json.dumps(reports[0] if sweep else reports))
        return
    for facts, found in zip(reports, sweeps, strict=True):
        say("\n".join([*lines(facts), *remark_lines(found, store)]))


def figures(
    sweeps: SweepNames,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    kinds: Kinds = [],
    methods: Methods = [],
    panels: Panels = [],
    width: Width = None,
    spread: SpreadName = Spread.std,
    plugins: Plugins = [],
) -> None:
    """Draw the figures that the results of sweeps allow: PNG, PDF and the CSV behind each."""
    from sparsweep.analysis import figures as gallery
    from sparsweep.analysis.choice import chosen
    from sparsweep.tuner.planning.remaking import lost_scores

    with in_one_line():
        form = gallery.Form(gallery.inches(width) if width else None, spread.value)
        gallery.check_kinds(kinds)
    described, store, results = gather(sweeps, overrides, storage)
    names = [sweep.name for sweep in described]
    if results.trials.empty:
        raise nothing_finished(described, storage)
    with in_one_line():
        results = chosen(results, methods, panels)
    for line in lost_scores(described, store):
        tell(line)
    folder = f"figures/{'+'.join(names)}"
    for picture in gallery.pictures(results, names, kinds):
        try:
            gallery.save(picture, lambda file, content: store.write(f"{folder}/{file}", content), form)
            say(f"{store.address(f'{folder}/{picture.name}.png')} (and .pdf, .csv)")
        except ValueError as error:
            say(f"{picture.name}: not drawn: {error}")


def claims(
    sweeps: SweepNames,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    more: ClaimFiles = [],
    as_json: AsJson = False,
    plugins: Plugins = [],
) -> None:
    """Say which of the paper's claims (and your own) the results support, contradict or leave open."""
    from sparsweep.analysis.claims import as_json as plain
    from sparsweep.analysis.claims import evaluate, lines

    stated = stated_claims(more)
    verdicts = evaluate(gather(sweeps, overrides, storage)[2], stated)
    say(json.dumps(plain(verdicts)) if as_json else "\n".join(lines(verdicts)))


def report(
    sweeps: SweepNames,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    more: ClaimFiles = [],
    plugins: Plugins = [],
) -> None:
    """Write one HTML page about sweeps: results to filter, claims, figures, trials, failures, cost, provenance."""
    from datetime import UTC, datetime

    from sparsweep.analysis.claims import evaluate
    from sparsweep.analysis.report import Standing, render
    from sparsweep.tuner.planning import status
    from sparsweep.tuner.planning.remaking import lost_scores

    stated = stated_claims(more)
    described, store, results = gather(sweeps, overrides, storage)
    for line in lost_scores(described, store):
        tell(line)
    standings = [Standing(**status.standing(sweep, store)) for sweep in described]
    page = render(results, standings, evaluate(results, stated), store.root, datetime.now(UTC))
    path = f"reports/{'+'.join(sweep.name for sweep in described)}.html"
    store.write(path, page.encode())
    say(store.address(path))


def compact(storage: Storage = DEFAULT_STORAGE) -> None:
    """Copy each table, a file a trial, into one file that reads fast; whoever reads or writes meanwhile goes on."""
    from sparsweep.analysis.snapshot import compact as copy
    from sparsweep.trainables.storage.schemas import TABLES

    store = open_marked_store(storage)
    for table in TABLES:
        rows, files = copy(store.storage, table)
        say(f"{store.address(f'compacted/{table}.parquet')}: {rows} rows of {files} files")


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
