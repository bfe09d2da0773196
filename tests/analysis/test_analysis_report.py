"""The report page as a file: its contents, its safety and its notes on missing data."""

from __future__ import annotations

import base64
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sparsweep.analysis import figures
from sparsweep.analysis.claims import paper_claims
from sparsweep.analysis.figures import style
from sparsweep.analysis.report import SweepSection
from sparsweep.analysis.report import data as page_data
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.report_page import NOW, page_of, standing
from support.synthetic_tables import make_failure, make_row


def trials_of(rows):
    return schemas.build_table("trials", rows).to_pandas()


class Elements(HTMLParser):
    """Parse a page into its elements with attributes, and the text outside scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self._inside = [], "", ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += f"{data}\n"


def data_in(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture(scope="module")
def page(everything):
    return page_of(everything)


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page)


def test_page_loads_no_external_resources(page, elements):
    addresses = [a[key] for _, a in elements.elements for key in ("href", "src") if key in a]
    assert addresses and all(value.startswith(("#", "data:")) for value in addresses)
    assert not any(tag == "link" for tag, _ in elements.elements)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page)  # except XML namespaces
    policy = next(a["content"] for tag, a in elements.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_sections_links_and_images_are_named(elements):
    ids = {attributes.get("id") for _, attributes in elements.elements}
    assert {"results", "claims", "figures", "trials-section", "standing", "cost", "provenance"} <= ids
    links = {a["href"][1:] for tag, a in elements.elements if tag == "a" and a.get("href", "").startswith("#")}
    assert links <= ids
    assert all(a.get("alt") for tag, a in elements.elements if tag == "img")


def test_page_shows_runs_and_costs(elements, everything):
    text = elements.text
    for expected in ("What I tried.", "name: mine", "2024 finished abc", "NVIDIA Synthetic", "0123456789abcdef"):
        assert expected in text
    assert "python 3.11.7, torch 2.15.0" in text and "/data/runs" in text and "2024-05-06 07:08 UTC" in text
    assert "Nothing failed." in text


def test_costs_are_means_per_trial_of_each_method(everything):
    """Mean costs make methods with different numbers of trials comparable."""
    text = Elements(page_of(everything)).text
    lth = everything.trials[everything.trials["sparsifier"] == "lth"]
    total = (lth["train_flops"] + lth["prerequisite_flops"]).mean()
    exponent = math.floor(math.log10(total))
    row = re.search(r"LTH\s+(\d+)\s+[\d.]+ × 10\s+\d+\s+([\d.]+) × 10\s+(\d+)", text)
    assert (int(row[1]), row[2], int(row[3])) == (len(lth), f"{total / 10**exponent:.1f}", exponent)


def test_embedded_trials_equal_the_table(page, everything):
    data = data_in(page)
    assert data["count"] == len(everything.trials)
    expected = everything.trials.sort_values("trial")
    for name in ("trial", "test_accuracy", "sparsity", "seed", "robust_accuracy", "sparsifier_parameters"):
        column = pd.Series(decode(data["columns"][name]))
        values = expected[name].reset_index(drop=True)
        pd.testing.assert_series_equal(column.astype(values.dtype), values, check_names=False)
    assert data["table_columns"] == [name for name in schemas.SCHEMAS["trials"].names if name != "spec"]
    assert data["t"][:3] == [None, None, pytest.approx(12.7062, abs=1e-4)]


def test_requested_points_without_trials_are_missing_in_the_page(everything):
    requested = pd.concat([everything.trials, trials_of([make_row("set", 0.7, 0, None)])])
    data = page_data.data(everything.trials, requested)
    assert data["missing"] == [["cifar100 / resnet18, EL2N", 0.3, "SET", 0.7]]
    assert page_data.data(everything.trials, everything.trials)["missing"] == []


def test_tables_omit_the_intermediate_sparsities_of_lth():
    fields = [f'{{"rounds":3,"through":{through},"rewind_to":0}}' for through in ("[0.5,0.75]", "[0.2,0.36]")]
    rows = [
        make_row("lth", s, 0, 0.6, sparsifier_parameters=text, undertrained=True, epochs_to_fit=None, fit_accuracy=0.5)
        for s, text in zip((0.875, 0.488), fields, strict=True)
    ]
    text = Elements(page_of(Results(trials_of(rows)))).text
    assert "through" not in text.split("Convergence")[-1].split("Provenance")[0]


def test_required_epochs_are_formatted_once():
    rows = [make_row("set", 0.5, seed, 0.6, undertrained=True, fit_accuracy=0.5) for seed in (0, 1)]
    rows[0]["epochs_to_fit"] = 400
    text = Elements(page_of(Results(trials_of(rows)))).text
    assert "400 or more" in text and "or more or more" not in text


def decode(column):
    return column.get("values") or [column["levels"][code] for code in column["codes"]]


def test_repeated_seed_is_counted_once():
    trials = trials_of([make_row("set", 0.5, 0, 0.6), make_row("set", 0.5, 0, 0.6, evaluation_every=10)])
    assert sorted(decode(page_data.data(trials)["columns"]["counted"])) == [False, True]


def test_columns_with_few_values_are_encoded_and_nan_is_null():
    assert page_data.column(pd.Series(["a"] * 9 + ["b"])) == {"levels": ["a", "b"], "codes": [0] * 9 + [1]}
    assert page_data.column(pd.Series([1.5, np.nan, 2.5])) == {"values": [1.5, None, 2.5]}
    assert page_data.column(pd.Series([True, None], dtype="boolean")) == {"values": [True, None]}


@pytest.mark.parametrize("sparsifier", style.SPARSIFIERS)
def test_page_uses_the_styles_of_the_figures(sparsifier):
    style_options = page_data.style_kwargs(sparsifier, 0)
    assert style_options["color"] == style.of(sparsifier).color
    assert style_options["marker"].startswith("M") != (sparsifier == "dense")
    assert re.fullmatch(r"([MLQC]-?\d+\.\d+,-?\d+\.\d+( -?\d+\.\d+,-?\d+\.\d+)*|Z)*", style_options["marker"])


def test_markers_have_the_shape_of_matplotlib():
    assert page_data.marker("s") == "M-0.500,0.500L0.500,0.500L0.500,-0.500L-0.500,-0.500Z"
    assert page_data.dashes("-") == "" and page_data.dashes((0, (10, 1.5))) == "16 2.4"


def test_figures_and_their_csv_are_embedded(elements, everything):
    sources = [a["src"] for tag, a in elements.elements if tag == "img"]
    assert len(sources) == len(figures.FIGURES)
    assert all(base64.b64decode(source.split(",", 1)[1]).lstrip().startswith(b"<?xml") for source in sources)
    downloads = {a["download"]: a["href"] for tag, a in elements.elements if {"download", "href"} <= a.keys()}
    csv = base64.b64decode(downloads["ratio_heatmap.csv"].split(",", 1)[1]).decode()
    assert csv == figures.ratio_heatmap.table(everything.trials).to_csv(index=False, lineterminator="\n")


def test_claims_are_listed_with_their_verdicts(elements):
    assert "11 claims" not in elements.text
    for claim in paper_claims():
        assert claim.claim in elements.text and claim.statement in elements.text
    assert "not tested, and what they need" in elements.text


def test_user_text_is_escaped():
    malicious = '</script><img src=x onerror="alert(1)">'
    row = make_row(malicious, 0.5, 0, 0.6, dataset=malicious, device=malicious, versions=json.dumps({malicious: "1"}))
    failures = schemas.build_table("failures", [make_failure("f" * 16, malicious)]).to_pandas()
    failed = {"trial": "f" * 16, "what": malicious, "error": "E", "message": malicious, "attempt": 1, "node": malicious}
    page = page_of(Results(trials_of([row]), failures=failures), standing(failures=[failed]))
    assert '<img src=x onerror="alert(1)">' not in page.replace("&lt;", "_")
    assert data_in(page)["columns"]["dataset"]["values"] == [malicious]
    assert [tag for tag, a in Elements(page).elements if a.get("onerror")] == []


def test_sweep_with_only_failures_has_a_page():
    run = {"trial": "f" * 16, "what": "set 0.5 on digits", "attempt": 3, "node": "worker-1"}
    failed = {**run, "error": "OutOfMemoryError", "message": "CUDA out of memory"}
    blocked = {"trial": "b" * 16, "what": "lth 0.5 on digits", "by": "f" * 16}
    newest = {**make_failure("f" * 16, "CUDA out of memory", 3), "at": NOW.replace(year=2025)}
    rows = [make_failure("f" * 16, "first", 1), newest]
    results = Results(trials_of([]), failures=schemas.build_table("failures", rows).to_pandas())
    report = {"failed": 1, "blocked": 1, "done": 0, "failures": [failed], "blocked_by": [blocked]}
    text = Elements(page_of(results, standing(**report))).text
    assert "0 of 3" in text and "CUDA out of memory" in text and "waits for" in text
    assert "RuntimeError: CUDA out of memory" in text and "RuntimeError: first" not in text  # newest only
    assert "there is no finished trial to draw" in text
    assert "11 not tested" in text


def test_missing_dense_partner_is_noted(frame, row):
    text = Elements(page_of(Results(frame([row("set", 0.5, 0, 0.6)])))).text
    assert "no finished sparse trial has a dense partner" in text


def test_several_sweeps_share_one_page(everything):
    second = SweepSection("more", "", "name: more\n", "", standing().report)
    text = Elements(page_of(everything, standing(), second)).text
    assert "mine + more" in text and "more as it was run" in text and "name: more" in text


def test_page_data_per_trial_is_small(everything):
    """One trial takes about 250 bytes of data, so a page of 10,000 trials is smaller than 20 MB."""
    rows = [make_row("set", 0.5, seed, 0.123456789012345 + seed / 1e7, spec="x" * 2000) for seed in range(1000)]
    size = len(page_data.as_script(page_data.data(trials_of(rows))))
    assert size < 1000 * 500
