"""Rendering of the page: the content of each section, put into the template."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from importlib.metadata import version
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from sparsweep.analysis import figures
from sparsweep.analysis.claims import Verdict
from sparsweep.analysis.claims.format import WORDS, format_effect, format_verdict, missing_runs, summary
from sparsweep.analysis.convergence import Convergence, is_undertrained
from sparsweep.analysis.figures import export, labels
from sparsweep.analysis.groups import METHOD_KEYS, normalize_keys
from sparsweep.analysis.metrics import with_total_flops
from sparsweep.analysis.naming import setting_titles
from sparsweep.analysis.report import data
from sparsweep.analysis.results import Results
from sparsweep.analysis.spreadsheet import to_csv
from sparsweep.trainables.storage.schemas import TABLES_VERSION

_SCRIPTS = ("numbers.js", "charts.js", "page.js")


@dataclass(frozen=True)
class SweepSection:
    """A sweep in the report. ``spec`` is its YAML as run, ``report`` the content of ``status --json``."""

    name: str
    description: str
    spec: str
    log: str
    report: dict[str, Any]


def render(
    results: Results, sweeps: Sequence[SweepSection], verdicts: Sequence[Verdict], storage: str, made_at: datetime
) -> str:
    """Return the page as HTML. ``storage``: address of the results."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sparsweep.analysis", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    pictures = list(_pictures(results, [sweep.name for sweep in sweeps]))
    return environment.get_template("page.html").render(
        title=" + ".join(sweep.name for sweep in sweeps),
        sweeps=sweeps,
        standings=("trials", "prerequisites", "done", "running", "failed", "blocked", "pending"),
        failures=_failures(results, sweeps),
        blocked=[run for sweep in sweeps for run in sweep.report["blocked_by"]],
        facts=_facts(results.trials, sweeps),
        claims=[_claim(verdict) for verdict in verdicts],
        tally=_tally(verdicts),
        pictures=[picture for picture in pictures if "image" in picture],
        undrawn=[picture for picture in pictures if "image" not in picture],
        costs=_costs(results.trials),
        convergence=_convergence(results.trials),
        provenance=_provenance(results.trials),
        storage=storage,
        made_at=made_at.strftime("%Y-%m-%d %H:%M %Z").strip(),
        version=version("sparsweep"),
        tables_version=TABLES_VERSION,
        style=_inline("style.css"),
        scripts=[_inline(name) for name in _SCRIPTS],
        data=Markup(data.as_script(data.data(results.trials, results.asked))),
    )


def _inline(name: str) -> Markup:
    """Return a file of this package for inclusion in the page."""
    return Markup((resources.files("sparsweep.analysis.report") / name).read_text(encoding="utf-8"))


def _pictures(results: Results, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Return the figures as SVG, each with its CSV, or with the reason if there is no data."""
    for picture in figures.pictures(results, names):
        try:
            csv = to_csv(picture.table())
            image = export.to_bytes(picture.draw(), "svg")["svg"]
        except ValueError as error:
            yield {"name": picture.name, "title": picture.title, "why": str(error)}
            continue
        texts = {"name": picture.name, "title": picture.title, "about": _first_paragraph(picture.kind.module)}
        yield {**texts, "image": _uri("image/svg+xml", image), "csv": _uri("text/csv", csv)}


def _first_paragraph(module: Any) -> str:
    """Return a figure's caption: the second paragraph of its module's docstring, which explains the marks."""
    paragraphs = str(module.__doc__).split("\n\n")
    return " ".join(paragraphs[1].split()).replace("``", "") if len(paragraphs) > 1 else ""


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _facts(trials: pd.DataFrame, sweeps: Sequence[SweepSection]) -> list[tuple[str, str]]:
    """Return the numbers at the head of the page."""
    asked = sum(sweep.report["trials"] for sweep in sweeps)
    failed = sum(len(sweep.report["failures"]) for sweep in sweeps)
    flops, hours = trials["train_flops"].sum(), trials["seconds"].sum() / 3600
    return [
        ("trials done", f"{len(trials):,} of {asked:,}" if len(trials) <= asked else f"{len(trials):,}"),
        ("failed", f"{failed:,}"),
        ("methods", f"{trials['sparsifier'].nunique():,}"),
        ("seeds", f"{trials['seed'].nunique():,}"),
        ("training FLOPs", _power(flops)),
        ("device hours", _hours(hours)),
    ]


def _power(value: float) -> Markup | str:
    """Return ``1.2 × 10¹⁵``."""
    if not value or math.isnan(value):
        return "unknown"
    exponent = math.floor(math.log10(value))
    return Markup("{:.1f} × 10<sup>{}</sup>").format(value / 10**exponent, exponent)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _failures(results: Results, sweeps: Sequence[SweepSection]) -> list[dict[str, Any]]:
    """Return unresolved failures with their newest traceback."""
    newest = results.failures.sort_values("at").drop_duplicates("trial", keep="last").set_index("trial")
    tracebacks = newest["traceback"].to_dict()
    found = {run["trial"]: run for sweep in sweeps for run in sweep.report["failures"]}
    return [{**run, "traceback": tracebacks.get(trial) or ""} for trial, run in found.items()]


def _claim(verdict: Verdict) -> dict[str, Any]:
    deciding = verdict.deciding
    return {
        "name": verdict.claim.claim,
        "statement": verdict.claim.statement,
        "source": verdict.claim.source,
        "verdict": verdict.verdict,
        "badge": badge(verdict),
        "summary": summary(verdict),
        "basis": str(verdict.basis),
        "data": verdict.data,
        "in_paper": verdict.in_paper,
        "effect": format_effect(deciding) if deciding else "",
        "n": deciding.n if deciding else 0,
        "further": verdict.further,
        "needs": missing_runs(verdict.claim) if verdict.verdict == "not tested" else "",
        "parts": [
            {
                "verdict": finding.verdict,
                "text": format_verdict(finding),
                "rule": json.dumps(finding.part.model_dump(mode="json", exclude={"says"}, exclude_defaults=True)),
            }
            for finding in verdict.findings
        ],
    }


def badge(verdict: Verdict) -> str:
    """Return the verdict in two or three words, with a note if the data differ from the source's."""
    return verdict.verdict if verdict.data is None or verdict.on_its_data else f"{verdict.verdict} on other data"


def _tally(verdicts: Iterable[Verdict]) -> list[tuple[str, int, str]]:
    words = Counter((WORDS.index(verdict.verdict), badge(verdict)) for verdict in verdicts)
    return [(WORDS[place], count, label) for (place, label), count in sorted(words.items())]


def _convergence(trials: pd.DataFrame) -> dict[str, Any]:
    """Return one line if all networks converged, else a row per arm."""
    whole = Convergence.of(trials)
    said = [f"{whole.undertrained} of {whole.trials} trials are under-trained"]
    if whole.undertrained:
        said.append(whole.needed)
    if whole.unknown:
        said.append(f"unknown for {whole.unknown}")
    if not whole.undertrained:
        return {"summary": f"{'; '.join(said)}.", "rows": []}
    trials = normalize_keys(trials)
    short = is_undertrained(trials)
    titles, names = setting_titles(trials), labels.methods(trials)
    keys = [titles.rename("data"), *(trials[name] for name in ("data_ratio", *METHOD_KEYS, "sparsity"))]
    rows = [
        _convergence_row(str(data), ratio, names[sparsifier, parameters][0], sparsity, arm)
        for (data, ratio, sparsifier, parameters, sparsity), arm in trials.groupby(keys)
        if short[arm.index].any()
    ]
    return {"summary": f"{'; '.join(said)}.", "rows": rows}


def _convergence_row(data: str, ratio: Any, method: str, sparsity: Any, arm: pd.DataFrame) -> dict[str, Any]:
    found = Convergence.of(arm)
    needed = (
        "unknown" if found.epochs_needed is None else f"{found.epochs_needed:,}{' or more' if found.or_more else ''}"
    )
    gain = 100 * pd.to_numeric(arm["late_gain"]).mean()
    return {
        "data": data,
        "ratio": f"{ratio:g}",
        "method": method,
        "sparsity": f"{sparsity:g}",
        "trials": found.trials,
        "short": found.undertrained,
        "fit": f"{100 * pd.to_numeric(arm['fit_accuracy']).mean():.1f}",
        "gain": "unknown" if math.isnan(gain) else f"{gain:+.1f}".replace("-", "−"),
        "epochs": found.epochs,
        "needed": needed,
    }


def _costs(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return costs per method: per trial (methods have unequal numbers of trials), total hours, and speed."""
    if trials.empty:
        return []
    trials = normalize_keys(trials)
    names = labels.methods(trials)
    rows = with_total_flops(trials).assign(method=labels.of_rows(trials))
    costs = []
    for label, _ in names.values():
        own = rows[rows["method"] == label]
        costs.append(
            {
                "method": label,
                "trials": f"{len(own):,}",
                "train": _power(own["train_flops"].mean()),
                "total": _power(own["total_flops"].mean(skipna=False)),
                "hours": _hours(own["seconds"].sum() / 3600),
                "seconds": f"{own['seconds'].mean():,.1f}",
                "speed": f"{own['images_per_second'].mean():,.0f}",
            }
        )
    return costs


def _provenance(trials: pd.DataFrame) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return what computed the trials, with counts: devices, commits, versions, recipes."""

    def counted(values: pd.Series) -> list[tuple[str, int]]:
        return [(str(value), int(count)) for value, count in _known(values).value_counts().items()]

    versions = trials["versions"].map(_versions, na_action="ignore")
    days = trials["finished_at"].dt.strftime("%Y-%m-%d") if len(trials) else pd.Series(dtype=str)
    found = {
        "device": trials["device"],
        "commit": trials["commit"],
        "versions": versions,
        "profile": trials["profile"],
        "finished on": days,
    }
    return [(name, counted(values)) for name, values in found.items()]


def _known(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), "unknown")


def _versions(text: str) -> str:
    return ", ".join(f"{name} {number}" for name, number in json.loads(text).items())
