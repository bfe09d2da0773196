"""Commands that show results: figures, claims, report, study."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sparsweep.tuner.cli.options import (
    AsJson,
    ClaimFiles,
    Kinds,
    Methods,
    Overrides,
    Panels,
    Plugins,
    Spread,
    SpreadName,
    Storage,
    SweepName,
    SweepNames,
    Width,
)
from sparsweep.tuner.cli.result_tables import (
    in_one_line,
    judge,
    load_claims,
    load_results,
    nothing_finished,
    with_outcomes,
)
from sparsweep.tuner.cli.session import open_sweep_as_run
from sparsweep.tuner.errors import DEFAULT_STORAGE, UsageError
from sparsweep.tuner.terminal import print_message, print_result


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
    """Draw all figures that the results of the sweeps support, as PNG, PDF and CSV."""
    from sparsweep.analysis import figures as gallery
    from sparsweep.analysis.choice import chosen
    from sparsweep.tuner.planning.remaking import lost_scores

    with in_one_line():
        form = gallery.Form(gallery.inches(width) if width else None, spread.value)
        gallery.check_kinds(kinds)
    described, store, results = load_results(sweeps, overrides, storage)
    names = [sweep.name for sweep in described]
    if results.trials.empty:
        raise nothing_finished(described, storage)
    with in_one_line():
        results = chosen(results, methods, panels)
    for line in lost_scores(described, store, store.listing()):
        print_message(line)
    if any("outcomes" in gallery.FIGURES[kind].inputs for kind in kinds or gallery.FIGURES):
        results = with_outcomes(results, store)
    folder = f"figures/{'+'.join(names)}"
    for picture in gallery.pictures(results, names, kinds):
        try:
            gallery.save(picture, lambda file, content: store.write(f"{folder}/{file}", content), form)
            print_result(f"{store.uri(f'{folder}/{picture.name}.png')} (and .pdf, .csv)")
        except ValueError as error:
            print_result(f"{picture.name}: not drawn: {error}")


def claims(
    sweeps: SweepNames,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    more: ClaimFiles = [],
    as_json: AsJson = False,
    plugins: Plugins = [],
) -> None:
    """Test claims of the paper, of follow-ups and your own against the results: supported, contradicted or open."""
    from sparsweep.analysis.claims import as_json as plain
    from sparsweep.analysis.claims import format_verdicts

    stated = load_claims(more)
    _, store, results = load_results(sweeps, overrides, storage)
    verdicts = judge(results, stated, store)
    print_result(json.dumps(plain(verdicts)) if as_json else "\n".join(format_verdicts(verdicts)))


def report(
    sweeps: SweepNames,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    more: ClaimFiles = [],
    plugins: Plugins = [],
) -> None:
    """Write one HTML page about sweeps: filterable results, claims, figures, trials, failures, cost, provenance."""
    from sparsweep.tuner.cli.report_page import write_report

    stated = load_claims(more)
    described, store, results = load_results(sweeps, overrides, storage)
    print_result(write_report(described, store, results, stated))


def study(
    sweep: SweepName,
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Output file. Default: SWEEP.db in the current folder.")
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
    plugins: Plugins = [],
) -> None:
    """Write a search as an Optuna study file for optuna-dashboard."""
    described, store = open_sweep_as_run(sweep, [], storage)
    if described.search is None:
        raise UsageError(f"SWEEP {sweep!r}: has no search, only grids. Name a sweep with a search.")
    from sparsweep.tuner.search.export_study import write

    print_result(f"optuna-dashboard {write(described, store, output)}")
