"""The ``sparsweep`` command. What a command needs is imported inside it, so that ``--help`` answers at once.

Exit 0: all done; 1: some trials failed; 2: a wrong call or sweep, with one line that names the field, the value and
the choices; 130 and 143: stopped by SIGINT and SIGTERM, in order.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tuner.catalogue import catalogue, lines
from tuner.commands import calibrate, export, gc, logs, study
from tuner.data_command import data_app
from tuner.launch import Launch
from tuner.opening import (
    DEFAULT_STORAGE,
    WrongCall,
    about_tables,
    only_one,
    open_marked_store,
    open_readable_sweeps,
    open_recorded_sweep,
    open_store,
    open_sweep,
    open_sweeps,
)
from tuner.options import (
    Address,
    AsJson,
    ClaimFiles,
    DataFolder,
    KindName,
    Kinds,
    Methods,
    NodeHour,
    Overrides,
    Panels,
    Plugins,
    ProfileTrial,
    Remake,
    Spread,
    SpreadName,
    Storage,
    SweepName,
    SweepNames,
    Trackers,
    TrialId,
    TrialsANode,
    Width,
)
from tuner.results import convergence_facts, convergence_lines, gather, in_one_line, nothing_finished, stated_claims
from tuner.running import remake_artifacts, run_sweep
from tuner.terminal import say, tell

app = typer.Typer(
    help="Sweeps over sparse training on hard samples: when do sparse networks learn them better than dense ones?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(data_app, name="data")
app.command()(calibrate)
app.command()(study)
app.command()(logs)
app.command()(export)
app.command()(gc)


def main() -> None:
    """The command, with errors of the user and of the storage as one line and exit 2."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("trainables").setLevel(logging.INFO)  # images being decoded: that takes a while
    try:
        sys.exit(app(standalone_mode=False))
    except WrongCall as error:
        reason = str(error)
    except TyperException as error:
        reason = " ".join(error.format_message().replace("Value error, ", "").split())
    except (typer.Abort, KeyboardInterrupt):  # before a sweep began
        sys.exit(130)
    except ValueError as error:
        reason = about_tables(error)
    except OSError as error:  # a storage that is full, read-only or out of reach
        reason = f"cannot read or write: {error}"
    if reason:  # none where the help was all there was to say
        tell(f"sparsweep: {' '.join(reason.splitlines())}")
    sys.exit(2)


@app.command()
def plan(
    sweep: SweepName,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    node_hour: NodeHour = None,
    trials_a_node: TrialsANode = 1,
    as_json: AsJson = False,
    plugins: Plugins = [],
) -> None:
    """Say what would run, what is shared or done, and what it costs; run nothing."""
    from tuner.price import bill, lines, price

    facts = price(*open_sweep(sweep, overrides, storage, as_it_was_run=False))
    if node_hour is not None:
        facts |= bill(facts, node_hour, trials_a_node)
    say(json.dumps(facts) if as_json else "\n".join(lines(facts)))


@app.command()
def run(
    sweep: SweepName,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    address: Address = "local",
    data: DataFolder = None,
    track: Trackers = [],
    profile: ProfileTrial = None,
    plugins: Plugins = [],
) -> None:
    """Run what is missing of a sweep; trials that failed before are left to resume."""
    described, store = open_sweep(sweep, overrides, storage, as_it_was_run=False)
    run_sweep(Launch(described, store, address, track, profile), data, convergence_lines, retry=False)


@app.command()
def resume(
    sweep: SweepName,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    address: Address = "local",
    data: DataFolder = None,
    track: Trackers = [],
    remake: Remake = None,
    plugins: Plugins = [],
) -> None:
    """Resume a sweep in this storage and retry failed trials; or make lost weights or scores again."""
    described, store = open_recorded_sweep(sweep, overrides, storage)
    launch = Launch(described, store, address, track)
    if remake is None:
        run_sweep(launch, data, convergence_lines, retry=True)
    else:
        remake_artifacts(launch, data, remake)


@app.command()
def status(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="All sweeps run here if left out.")] = None,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking, until it has ended or Ctrl-C.")] = False,
    plugins: Plugins = [],
) -> None:
    """Say what is done, running, failed (and why), and blocked (and by what)."""
    from tuner import journal
    from tuner.status import follow, lines, report

    store = open_store(storage)
    names = [sweep] if sweep else journal.recorded(store)
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
        reports = [facts | convergence_facts(found, store) for facts, found in zip(reports, sweeps, strict=True)]
        say(json.dumps(reports[0] if sweep else reports))
        return
    for facts, found in zip(reports, sweeps, strict=True):
        say("\n".join([*lines(facts), *convergence_lines(found, store)]))


@app.command()
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
    from analysis import figures as gallery
    from analysis.choice import chosen
    from tuner.remaking import lost_scores

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


@app.command()
def claims(
    sweeps: SweepNames,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    more: ClaimFiles = [],
    as_json: AsJson = False,
    plugins: Plugins = [],
) -> None:
    """Say which of the paper's claims (and your own) the results support, contradict or leave open."""
    from analysis.claims import as_json as plain
    from analysis.claims import evaluate, lines

    stated = stated_claims(more)
    verdicts = evaluate(gather(sweeps, overrides, storage)[2], stated)
    say(json.dumps(plain(verdicts)) if as_json else "\n".join(lines(verdicts)))


@app.command()
def report(
    sweeps: SweepNames,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    more: ClaimFiles = [],
    plugins: Plugins = [],
) -> None:
    """Write one HTML page about sweeps: results to filter, claims, figures, trials, failures, cost, provenance."""
    from datetime import UTC, datetime

    from analysis.claims import evaluate
    from analysis.report import Standing, render
    from tuner import status
    from tuner.remaking import lost_scores

    stated = stated_claims(more)
    described, store, results = gather(sweeps, overrides, storage)
    for line in lost_scores(described, store):
        tell(line)
    standings = [Standing(**status.standing(sweep, store)) for sweep in described]
    page = render(results, standings, evaluate(results, stated), store.root, datetime.now(UTC))
    path = f"reports/{'+'.join(sweep.name for sweep in described)}.html"
    store.write(path, page.encode())
    say(store.address(path))


@app.command()
def show(trial: TrialId, storage: Storage = DEFAULT_STORAGE, as_json: AsJson = False, plugins: Plugins = []) -> None:
    """Show one trial: its spec, its results and where its files are; of a failed one, its error."""
    from tuner.status import describe, known_trials

    store = open_store(storage)
    facts = describe(only_one(trial, known_trials(store), "finished or failed trial", storage), store)
    if as_json:
        say(json.dumps(facts, default=str))
        return
    import yaml

    traceback = facts.get("failure", {}).pop("traceback", "")
    say((yaml.safe_dump(facts, sort_keys=False) + traceback).rstrip("\n"))


@app.command()
def compact(storage: Storage = DEFAULT_STORAGE) -> None:
    """Copy each table, a file a trial, into one file that reads fast; whoever reads or writes meanwhile goes on."""
    from analysis.compacted import compact as copy
    from trainables.records import TABLES

    store = open_marked_store(storage)
    for table in TABLES:
        rows, files = copy(store.storage, table)
        say(f"{store.address(f'compacted/{table}.parquet')}: {rows} rows of {files} files")


@app.command(name="list")
def list_names(kind: KindName, as_json: AsJson = False, plugins: Plugins = []) -> None:
    """List the sparsifiers, difficulties, datasets, models or sweeps there are, a line each."""
    rows = catalogue(kind)
    say(json.dumps(rows) if as_json else "\n".join(lines(rows)))


if __name__ == "__main__":
    main()
