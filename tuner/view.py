"""A running sweep on a terminal: how far it is, what runs, what failed and what waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.watch import duration

SHOWN = 10
"""Lines of each kind; the rest is counted."""
STYLES = {"done": "green", "running": "cyan", "failed": "bold red", "blocked": "yellow", "pending": "dim"}


def view(report: Mapping[str, Any]) -> RenderableType:
    """One screen of ``report`` (see ``status.report``)."""
    parts: list[RenderableType] = [_head(report), ProgressBar(total=report["trials"] or 1, completed=report["done"])]
    if report["running_now"]:
        parts.append(_running(report["running_now"]))
    failures = [(run["trial"], run["what"], f"{run['error']}: {_last(run['message'])}") for run in report["failures"]]
    blocked = [(run["trial"], run["what"], f"waits for {run['by']}") for run in report["blocked_by"]]
    parts += [_list(title, rows) for title, rows in (("failed", failures), ("blocked", blocked)) if rows]
    return Group(*parts)


def _head(report: Mapping[str, Any]) -> Text:
    text = Text.assemble((f"{report['sweep']}  ", "bold"), f"{report['trials']} trials  ")
    for outcome, style in STYLES.items():
        if report[outcome] or outcome == "done":
            text.append(f"{report[outcome]} {outcome}  ", style)
    if report["seconds_left"] is not None:
        text.append(f"ETA {duration(report['seconds_left'])}", "bold")
    return text


def _running(runs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    table.add_column("running", no_wrap=True)
    table.add_column("what", ratio=1, no_wrap=True)
    for name in ("epoch", "accuracy", "images/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("node", no_wrap=True)
    for run in runs[:SHOWN]:
        accuracy, rate = run.get("test_accuracy"), run.get("images_per_second")
        table.add_row(
            run["trial"][:8],
            run["what"],
            f"{run['epoch']}/{run['epochs']}",
            "" if accuracy is None else f"{accuracy:.4f}",
            "" if rate is None else f"{rate:,.0f}",
            run.get("node", ""),
        )
    if len(runs) > SHOWN:
        table.add_row("", f"and {len(runs) - SHOWN} more")
    return table


def _list(title: str, rows: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style=STYLES[title], show_edge=False)
    table.add_column(title, no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("why", ratio=1, overflow="ellipsis", no_wrap=True)
    for trial, what, why in rows[:SHOWN]:
        table.add_row(trial[:8], what, Text(why))
    if len(rows) > SHOWN:
        table.add_row("", f"and {len(rows) - SHOWN} more", "")
    return table


def _last(message: str) -> str:
    """The last line of an error: what a traceback says at its end."""
    return (message.strip().splitlines() or [""])[-1]
