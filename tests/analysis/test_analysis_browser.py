"""The report in a real browser: no errors, filters that change the figures, a table that sorts, a complete print."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sparsweep.analysis.groups import paired_differences, summarise
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.report_page import page_of
from support.synthetic_tables import make_row, make_sweep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync_api: Any = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Without its sandbox, which a container's root cannot have; the page is our own.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(everything: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(everything), encoding="utf-8")
    return path


def opened(browser: Any, path: Path, width: int = 1400) -> Any:
    """The page of ``path``, ready; what it complains of and asks for is in ``page.said`` and ``page.asked``."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(120_000)  # a machine may be busy
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    return page


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    page = opened(browser, report)
    yield page
    assert page.said == []
    page.close()


def chip(page: Any, facet: str, choice: str) -> Any:
    return page.locator(f'[data-facet="{facet}"] label:has(input[data-choice="{choice}"])')


def captions(page: Any, figure: str) -> list[str]:
    return page.locator(f"#{figure} figcaption span:first-child").all_inner_texts()


def column(page: Any, name: str) -> list[str]:
    place = page.evaluate(
        "name => [...document.querySelectorAll('#trials-head th')].findIndex(th => th.dataset.column === name)", name
    )
    return page.locator(f"#trials tbody tr td:nth-child({place + 1})").all_inner_texts()


def sort_by(page: Any, name: str) -> None:
    page.click(f'#trials-head th[data-column="{name}"] button')


def test_it_loads_without_errors_and_asks_for_nothing(page, report):
    assert page.asked == [report.as_uri()] or all(url.startswith("data:") for url in page.asked[1:])
    assert page.said == []
    assert page.locator("#accuracy svg").count() == 3  # EL2N at two ratios, adversarial at one
    assert page.locator("figure.paper img").evaluate_all("images => images.every(image => image.naturalWidth > 0)")


def test_the_numbers_are_those_of_python(page, everything):
    """Means, deviations, paired differences and intervals that the page computes itself."""
    page.click("#numbers-box summary")
    rows = [row.split("\t") for row in page.locator("#numbers tbody tr").all_inner_texts()]
    known = everything.trials[everything.trials["difficulty"] == "el2n"]
    arms = summarise(known).set_index(["data_ratio", "sparsifier", "sparsity"])
    gains = paired_differences(known).set_index(["data_ratio", "sparsifier", "sparsity"])
    names = {"dense": "dense", "SET": "set", "SNIP": "snip", "LTH": "lth", "uniform": "uniform"}
    checked = 0
    for setting, ratio, method, sparsity, n, mean, std, gain, interval in rows:
        if "EL2N" not in setting:
            continue
        key = (float(ratio), names[method], float(sparsity))
        assert (int(n), float(mean)) == (arms.loc[key, "n"], pytest.approx(100 * arms.loc[key, "mean"], abs=0.006))
        assert float(std) == pytest.approx(100 * arms.loc[key, "std"], abs=0.006)
        if method != "dense":
            low, high = (float(bound.replace("−", "-")) for bound in interval.split(" to "))
            assert float(gain.replace("−", "-")) == pytest.approx(100 * gains.loc[key, "mean"], abs=0.006)
            assert low == pytest.approx(100 * gains.loc[key, "low"], abs=0.006)
            assert high == pytest.approx(100 * gains.loc[key, "high"], abs=0.006)
        checked += 1
    assert checked == 2 * (1 + 4 * 2)


def test_a_method_that_is_left_out_leaves_figures_and_table(page):
    series = page.locator("#accuracy figure").first.locator("g.series")
    before, shown = series.count(), page.inner_text("#shown")
    assert any("SNIP" in title for title in captions(page, "heatmap"))
    chip(page, "method", "SNIP").click()
    assert series.count() == before - 1 and page.inner_text("#shown") != shown
    assert not any("SNIP" in title for title in captions(page, "heatmap"))
    page.fill("#search", "SNIP")
    assert column(page, "trial") == []
    chip(page, "method", "SNIP").click()
    assert series.count() == before and page.inner_text("#shown") == shown


def test_data_ratio_seed_and_data_set_filter_too(page):
    assert len(captions(page, "accuracy")) == 3
    chip(page, "data_ratio", "0.3").click()
    assert len(captions(page, "accuracy")) == 2
    notes = page.locator("#accuracy figcaption .note").all_inner_texts()
    assert set(notes) == {"n = 3"}
    chip(page, "seed", "2").click()
    assert set(page.locator("#accuracy figcaption .note").all_inner_texts()) == {"n = 2"}
    chip(page, "seed", "1").click()
    assert set(page.locator("#accuracy figcaption .note").all_inner_texts()) == {"n = 1: no spread"}
    assert page.locator("#accuracy line.bar").count() == 0  # no spread of one seed is drawn


def test_none_says_that_nothing_is_chosen_and_all_brings_it_back(page):
    page.click('[data-facet="method"] button:has-text("none")')
    assert "No trial with this accuracy is chosen." in page.inner_text("#accuracy")
    assert page.inner_text("#pages") == "0–0 of 0"
    page.click('[data-facet="method"] button:has-text("all")')
    assert page.locator("#accuracy svg").count() == 3


def test_without_dense_there_are_no_differences(page):
    chip(page, "method", "dense").click()
    assert "No method that is shown has a dense partner" in page.inner_text("#heatmap")
    assert page.locator("#accuracy svg").count() == 3


def test_another_accuracy_can_be_shown(page):
    page.select_option("#measure", "robust_accuracy")
    assert len(captions(page, "accuracy")) == 1
    assert "accuracy under attack (%)" in page.locator("#accuracy svg").first.text_content()


def test_the_mouse_shows_what_is_nearest(page, everything):
    svg = page.locator("#accuracy svg").nth(1)
    svg.scroll_into_view_if_needed()
    box = svg.locator("g.series path.mark").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    said = page.inner_text("#tip")
    assert re.search(r"^SNIP, sparsity 0\.5\n[\d.]+ % ± [\d.]+ \(standard deviation\)\nn = 3: seed 0 ", said)
    assert re.search(r"points to dense \[[+−][\d.]+, [+−][\d.]+\]$", said)
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_the_arrow_keys_go_through_the_points(page):
    svg = page.locator("#heatmap svg").first
    svg.focus()
    page.keyboard.press("ArrowRight")
    first = page.inner_text("#tip")
    page.keyboard.press("ArrowRight")
    assert "points to dense" in first and page.inner_text("#tip") != first
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_the_table_sorts_both_ways_with_what_is_missing_last(page, everything):
    sort_by(page, "test_accuracy")
    values = [float(text) for text in column(page, "test_accuracy")]
    assert values == sorted(values) and values[0] == round(100 * everything.trials["test_accuracy"].min(), 2)
    assert page.get_attribute('#trials-head th[data-column="test_accuracy"]', "aria-sort") == "ascending"
    sort_by(page, "test_accuracy")
    values = [float(text) for text in column(page, "test_accuracy")]
    assert values == sorted(values, reverse=True)
    for _ in range(2):
        sort_by(page, "robust_accuracy")
        assert column(page, "robust_accuracy")[0] != "–"
    page.click("#next")
    assert column(page, "robust_accuracy")[-1] == "–"


def test_the_table_has_pages_and_a_search(page, everything):
    count = len(everything.trials)
    assert page.inner_text("#pages") == f"1–50 of {count}" and page.is_disabled("#previous")
    page.click("#next")
    assert page.inner_text("#pages") == f"51–{min(100, count)} of {count}"
    wanted = everything.trials["trial"].iloc[7]
    page.fill("#search", wanted)
    assert column(page, "trial") == [wanted]


def test_the_trials_can_be_had_as_csv(page, everything, tmp_path):
    with page.expect_download() as waiting:
        page.click("#download-all")
    path = tmp_path / "trials.csv"
    waiting.value.save_as(path)
    found = pd.read_csv(path).set_index("trial").sort_index()
    expected = everything.trials.set_index("trial").sort_index()
    assert list(found.columns) == [name for name in expected.columns if name != "spec"]
    for name in ("test_accuracy", "robust_accuracy", "sparsity", "train_flops"):
        pd.testing.assert_series_equal(found[name], expected[name], check_exact=True, check_dtype=False)
    assert list(found["sparsifier_parameters"]) == list(expected["sparsifier_parameters"])
    page.fill("#search", "SNIP")
    with page.expect_download() as waiting:
        page.click("#download-chosen")
    waiting.value.save_as(path)
    with path.open() as file:
        assert {row["sparsifier"] for row in csv.DictReader(file)} == {"snip"}


@pytest.mark.parametrize(("name", "beginning"), [("ratio_heatmap.csv", b"dataset,"), ("ratio_heatmap.svg", b"<?xml")])
def test_a_figure_and_its_numbers_are_downloaded(page, tmp_path, name, beginning):
    with page.expect_download() as waiting:
        page.click(f'a[download="{name}"]')
    assert waiting.value.suggested_filename == name
    waiting.value.save_as(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(beginning)


def test_light_and_dark(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.click("#theme")
    dark = page.evaluate(paper)
    assert light == "rgb(255, 255, 255)" and dark != light
    page.click("#theme")
    assert page.evaluate(paper) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) == light  # what was chosen stays


def test_the_print_is_complete(page, everything):
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#trials tbody tr").count() == len(everything.trials)
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("#numbers tbody tr").count() > 0
    hidden = page.evaluate(
        "[...document.querySelectorAll('section, figure, table, .claim')].filter(e => !e.offsetHeight).length"
    )
    assert hidden == 0
    cut = page.evaluate(
        "[...document.querySelectorAll('.scroll, pre')].filter(e => e.scrollHeight > e.clientHeight + 1).length"
    )
    assert cut == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.locator("#trials tbody tr").count() == 50
    assert len(page.pdf()) > 100_000


@pytest.mark.parametrize("width", [800, 390])
def test_narrow_windows_do_not_scroll_sideways(browser, report, width):
    page = opened(browser, report, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.said == []
    page.close()


def test_a_gap_is_left_where_a_sparsity_is_missing(browser, tmp_path):
    rows = [make_row("set", s, 0, 0.5 + s / 10) for s in (0.1, 0.9)] + [
        make_row("snip", s, 0, 0.5) for s in (0.1, 0.5, 0.9)
    ]
    path = tmp_path / "gap.html"
    path.write_text(page_of(Results(schemas.build_table("trials", rows).to_pandas())), encoding="utf-8")
    page = opened(browser, path)
    paths = page.locator("#accuracy path.line").evaluate_all("paths => paths.map(path => path.getAttribute('d'))")
    assert [d.count("M") for d in paths] == [1, 2] and [d.count("L") for d in paths] == [2, 0]
    assert page.locator("#accuracy path.lacking").count() == 1
    assert page.said == []
    page.close()


def test_points_with_another_number_of_seeds_are_numbered_and_ties_are_not_sure(browser, tmp_path):
    """SET has six seeds, all a point above dense, SNIP three that gain 2, 3 and 4 points."""
    rows = [make_row("dense", 0.0, seed, 0.5) for seed in range(6)]
    rows += [make_row("set", 0.5, seed, 0.51) for seed in range(6)]
    rows += [make_row("snip", 0.5, seed, 0.52 + seed / 100) for seed in range(3)]
    path = tmp_path / "numbered.html"
    path.write_text(page_of(Results(schemas.build_table("trials", rows).to_pandas())), encoding="utf-8")
    page = opened(browser, path)
    assert page.locator("#accuracy .note").inner_text() == "n = 6, others numbered"
    assert page.locator("#accuracy text.count").all_text_contents() == ["3"]
    assert page.locator("#heatmap text.cell").all_text_contents() == ["+3.0", "+1.0"]
    assert page.locator("#heatmap text.sure").all_text_contents() == ["+3.0"]
    assert page.said == []
    page.close()


def test_many_panels_are_drawn_when_asked_for(browser, tmp_path):
    rows = make_sweep(("set",), sparsities=(0.5,), ratios=[r / 20 for r in range(1, 16)], seeds=1)
    path = tmp_path / "many.html"
    path.write_text(page_of(Results(schemas.build_table("trials", rows).to_pandas())), encoding="utf-8")
    page = opened(browser, path)
    assert page.locator("#accuracy svg").count() == 12
    page.click("text=Draw all 15 panels")
    assert page.locator("#accuracy svg").count() == 15
    page.close()


def test_an_empty_report_has_no_errors(browser, tmp_path):
    path = tmp_path / "empty.html"
    path.write_text(page_of(Results(schemas.build_table("trials", []).to_pandas())), encoding="utf-8")
    page = opened(browser, path)
    assert "0 of 0 trials" in page.inner_text("#shown") and page.said == []
    page.close()
