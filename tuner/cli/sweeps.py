"""Commands that plan, run and monitor sweeps."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sparsweep.tuner.cli.options import (
    Address,
    AsJson,
    DataFolder,
    FailFast,
    ListRuns,
    NodePrice,
    Overrides,
    Plugins,
    ProfileTrial,
    Quiet,
    Remake,
    Rerun,
    Storage,
    SweepName,
    TakeOver,
    Trackers,
    TrialsPerNode,
    Verbose,
    options_to_repeat,
)
from sparsweep.tuner.cli.result_tables import (
    Remarks,
    remark_lines,
)
from sparsweep.tuner.cli.run import check_writable, forget_for_rerun, remake_artifacts, run_sweep
from sparsweep.tuner.cli.session import (
    open_readable_sweeps,
    open_recorded_sweep,
    open_store,
    open_sweep,
    open_sweep_as_run,
    open_sweeps,
)
from sparsweep.tuner.errors import DEFAULT_STORAGE, UsageError
from sparsweep.tuner.execution.run_options import Echo, RunOptions
from sparsweep.tuner.terminal import print_message, print_result


def calibrate(
    sweep: Annotated[str, typer.Argument(metavar="[SWEEP]", help="Sweep whose models are benchmarked.")] = "paper",
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    plugins: Plugins = [],
) -> None:
    """Benchmark the training speed of each model in a sweep on this node. The plan command then estimates hours."""
    from sparsweep.tuner.hardware.throughput import format_rate, measure
    from sparsweep.tuner.planning.graph import build_graph
    from sparsweep.tuner.planning.trials import current_trials

    described, store = open_sweep(sweep, overrides, storage)
    check_writable(store)  # fail before a benchmark of several minutes
    runs = build_graph(current_trials(described, store)).runs.values()
    for measurement in measure(runs, store, described.resources):
        print_result(format_rate(measurement))


def plan(
    sweep: SweepName,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    node_hour: NodePrice = None,
    trials_per_node: TrialsPerNode = 1,
    as_json: AsJson = False,
    list_runs: ListRuns = False,
    plugins: Plugins = [],
) -> None:
    """Show the missing and finished runs of a sweep, their FLOPs and time. Start nothing."""
    from sparsweep.tuner.planning.estimate import estimate, format_estimate, list_runs_to_do, node_cost

    described, store = open_sweep(sweep, overrides, storage)
    remarks = Remarks.on(described, store)
    facts = estimate(described, store) | {"other_code": remarks.facts()["other_code"]}
    if node_hour is not None:
        facts |= node_cost(facts, node_hour, trials_per_node)
    runs = list_runs_to_do(described, store) if list_runs else []
    if as_json:
        print_result(json.dumps(facts | ({"runs": runs} if list_runs else {})))
        return
    listed = [f"  {run['run']}  {run['what']}" for run in runs]
    print_result("\n".join([*format_estimate(facts), *remarks.code_lines(), *listed]))


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
    quiet: Quiet = False,
    verbose: Verbose = False,
    plugins: Plugins = [],
) -> None:
    """Run the missing trials of a sweep. Skip failed trials, which resume retries."""
    echo = echo_level(quiet, verbose)
    described, store = open_sweep(sweep, overrides, storage)
    for line in (
        Remarks.on(described, store).code_lines() if rerun is None else forget_for_rerun(described, store, rerun)
    ):
        print_message(line)
    options = RunOptions(
        described, store, address, track, profile, options_to_repeat(context), fail_fast, take_over, echo
    )
    run_sweep(options, data, remark_lines, retry=False)


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
    quiet: Quiet = False,
    verbose: Verbose = False,
    plugins: Plugins = [],
) -> None:
    """Resume a sweep in this storage and retry failed trials. With --remake, recreate deleted files instead."""
    echo = echo_level(quiet, verbose)
    described, store = open_recorded_sweep(sweep, overrides, storage)
    options = RunOptions(described, store, address, track, None, options_to_repeat(context), fail_fast, take_over, echo)
    if remake is None:
        run_sweep(options, data, remark_lines, retry=True)
    else:
        remake_artifacts(options, data, remake)


def echo_level(quiet: bool, verbose: bool) -> Echo:
    """Return what a run prints. Raise UsageError if both options are given."""
    if quiet and verbose:
        raise UsageError("--quiet: conflicts with --verbose. Remove one.")
    return "quiet" if quiet else "verbose" if verbose else "progress"


def status(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="Default: all sweeps in this storage.")] = None,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until the sweep ends. Stop with Ctrl-C.")] = False,
    plugins: Plugins = [],
) -> None:
    """Show the number of done, running, failed, blocked and pending trials, with errors and causes."""
    from sparsweep.tuner.cli import status_view
    from sparsweep.tuner.planning.status import sweep_status
    from sparsweep.tuner.state import sweep_record

    store = open_store(storage)
    names = [sweep] if sweep else sweep_record.list_sweeps(store)
    if not names:
        raise UsageError(f"--storage {storage}: no sweep has run here. Start one: sparsweep run SWEEP")
    if watch:
        if sweep is None or as_json:
            raise UsageError("--watch: needs one SWEEP and no --json. Name a sweep and remove --json.")
        status_view.watch(*open_sweep_as_run(sweep, overrides, storage))
        return
    if sweep:
        sweeps = open_sweeps(names, overrides, storage)[0]
    else:
        sweeps, problems = open_readable_sweeps(names, storage)
        for line in problems:
            print_message(line)
    listing = store.listing()
    reports = [sweep_status(described, store, listing) for described in sweeps]
    if as_json:
        reports = [facts | Remarks.on(each, store).facts() for facts, each in zip(reports, sweeps, strict=True)]
        print_result(json.dumps(reports[0] if sweep else reports))
        return
    for facts, each in zip(reports, sweeps, strict=True):
        print_result("\n".join([*status_view.format_status(facts), *remark_lines(each, store)]))
