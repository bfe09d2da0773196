"""Commands that plan, run and watch sweeps."""

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
    NodeHour,
    Overrides,
    Plugins,
    ProfileTrial,
    Remake,
    Rerun,
    Storage,
    SweepName,
    TakeOver,
    Trackers,
    TrialsANode,
    repeated,
)
from sparsweep.tuner.cli.result_tables import (
    Remarks,
    remark_lines,
)
from sparsweep.tuner.cli.run import check_writable, remake_artifacts, run_sweep, take_back
from sparsweep.tuner.cli.session import (
    open_readable_sweeps,
    open_recorded_sweep,
    open_store,
    open_sweep,
    open_sweeps,
)
from sparsweep.tuner.errors import DEFAULT_STORAGE, WrongCall
from sparsweep.tuner.execution.run_options import Launch
from sparsweep.tuner.terminal import say, tell


def calibrate(
    sweep: Annotated[str, typer.Argument(metavar="[SWEEP]", help="The trainings of which to measure.")] = "paper",
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    plugins: Plugins = [],
) -> None:
    """Measure how fast this machine trains each kind of network in a sweep, so that plan knows hours."""
    from sparsweep.tuner.hardware.throughput import line, measure
    from sparsweep.tuner.planning.graph import build
    from sparsweep.tuner.planning.trials import points

    described, store = open_sweep(sweep, overrides, storage, as_it_was_run=False)
    check_writable(store)  # before minutes of measuring
    for found in measure(build(points(described, store)).runs.values(), store, described.resources):
        say(line(found))


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
