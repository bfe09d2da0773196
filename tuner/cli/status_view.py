"""Status of a sweep as text lines and as a live terminal view: progress, running, failed and blocked runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.planning.estimate import format_duration
from sparsweep.tuner.planning.status import OUTCOMES, first_line, sweep_status

REFRESH_SECONDS = 2.0
MAX_ROWS = 10
"""Maximum number of rows per section. A last row gives the number of further runs."""
STYLES = {"done": "green", "running": "cyan", "failed": "bold red", "blocked": "yellow", "pending": "dim"}
ID_CHARS = 8
"""Length of displayed id prefixes. Commands accept them as ids."""


def render(report: Mapping[str, Any]) -> RenderableType:
    """Render a report of :func:`~sparsweep.tuner.planning.status.sweep_status` as one screen."""
    parts: list[RenderableType] = [_head(report), _bar(report)]
    if report["running_now"]:
        parts += [Text(), _running(report["running_now"])]
    names = {run["trial"]: run["what"] for run in report["failures"]}
    parts += _section("failed", [_failed(run) for run in report["failures"]])
    parts += _section("blocked", [_blocked(run, names) for run in report["blocked_by"]])
    return Group(*parts)


def _head(report: Mapping[str, Any]) -> Text:
    text = Text.assemble((report["sweep"], "bold"), f"  {report['trials']:,} trials")
    for outcome, style in STYLES.items():
        if report[outcome] or outcome == "done":
            text.append("  ").append(f"{report[outcome]:,} {outcome}", style)
    if report.get("stopped"):
        text.append(f"  {report['stopped']:,} stopped early", "dim")
    return text


def _bar(report: Mapping[str, Any]) -> Table:
    """Return the progress bar with ETA and images per second, or with the resume command if no driver is alive."""
    done, trials = report["done"], report["trials"] or 1
    rate = sum(run.get("images_per_second") or 0 for run in report["running_now"])
    parts = [f"{done / trials:.0%}"]
    if report["seconds_left"] is not None:
        parts.append(f"ETA {format_duration(report['seconds_left'])}")
    if rate:
        parts.append(f"{rate:,.0f} images/s")
    if not report["alive"] and done < trials:
        parts.append(f"not running: sparsweep resume {report['sweep']}")
    line = Table.grid(padding=(0, 2), expand=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True, justify="right")
    line.add_row(ProgressBar(total=trials, completed=done), "  ".join(parts))
    return line


def _running(runs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("running", no_wrap=True, min_width=ID_CHARS, style=STYLES["running"])
    table.add_column("what", ratio=1, no_wrap=True, overflow="ellipsis")
    for name in ("epoch", "accuracy", "images/s"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("node", no_wrap=True)
    for run in runs[:MAX_ROWS]:
        accuracy, rate = run.get("test_accuracy"), run.get("images_per_second")
        table.add_row(
            run["trial"][:ID_CHARS],
            run["what"],
            f"{run['epoch']}/{run['epochs']}",
            "" if accuracy is None else f"{accuracy:.4f}",
            "" if rate is None else f"{rate:,.0f}",
            run.get("node", ""),
        )
    if len(runs) > MAX_ROWS:
        table.add_row("", f"and {len(runs) - MAX_ROWS} more")
    return table


def _section(title: str, items: Sequence[Sequence[Text]]) -> list[Text]:
    """Return a section with the first :data:`MAX_ROWS` items (each one or more lines, cropped to the screen)."""
    if not items:
        return []
    lines = [line for item in items[:MAX_ROWS] for line in item]
    if len(items) > MAX_ROWS:
        lines.append(Text(" " * (ID_CHARS + 2) + f"and {len(items) - MAX_ROWS} more"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return [Text(), Text(title, STYLES[title]), *lines]


def _failed(run: Mapping[str, Any]) -> list[Text]:
    head = f"  {run['what']}, attempt {run['attempt']} on {run['node']}"
    return [
        Text.assemble((run["trial"][:ID_CHARS], "red"), head),
        Text(" " * (ID_CHARS + 2) + f"{run['error']}: {_last(run['message'])}", "red"),
    ]


def _blocked(run: Mapping[str, Any], failed: Mapping[str, str]) -> list[Text]:
    cause = f"{run['by'][:ID_CHARS]} ({failed[run['by']]})" if run["by"] in failed else run["by"][:ID_CHARS]
    return [Text.assemble((run["trial"][:ID_CHARS], "yellow"), f"  {run['what']} waits for {cause}")]


def _last(message: str) -> str:
    """Return the last line of an error message, which names the exception in a traceback."""
    return (message.strip().splitlines() or [""])[-1]


def format_status(report: dict[str, Any]) -> list[str]:
    """Format a report of :func:`~sparsweep.tuner.planning.status.sweep_status` as lines."""
    counts = ", ".join(f"{report[name]} {name}" for name in OUTCOMES if report[name] or name == "done")
    if report.get("stopped"):
        counts += f"; {report['stopped']} more stopped early"
    lines = [f"{report['sweep']}: {report['trials']} trials: {counts}"]
    if report["evaluations"] and not report["alive"]:
        lines.append(
            f"  {report['evaluations']} finished trials lack outcomes. "
            f"Evaluate their weights: sparsweep resume {report['sweep']}"
        )
    for run in report["running_now"]:
        lines.append(f"  running {run['trial']} ({run['what']}): epoch {run['epoch']} of {run['epochs']}")
    for run in report["failures"]:
        lines.append(f"  failed {run['trial']} ({run['what']}), attempt {run['attempt']}: {first_line(run)}")
    for run in report["blocked_by"]:
        lines.append(f"  blocked {run['trial']} ({run['what']}): waits for {run['by']}, which failed")
    return lines


def watch(sweep: Sweep, store: Store) -> None:
    """Refresh the status of a sweep on the terminal until no driver is alive and no trial is left to run."""
    with Live(render(sweep_status(sweep, store)), refresh_per_second=4) as live:
        while True:
            now = sweep_status(sweep, store)
            live.update(render(now))
            if now["done"] + now["failed"] + now["blocked"] == now["trials"] and not now["alive"]:
                return
            time.sleep(REFRESH_SECONDS)
