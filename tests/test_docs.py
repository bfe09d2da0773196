"""Pages of docs/ list the packages of the source code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sparsweep
from sparsweep.analysis.claims import followup_claims
from sparsweep.tuner.config.sweep import built_in, parse_sweep

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("package", ["trainables", "tuner"])
def test_the_architecture_page_lists_every_package(package: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    section = page.split(f"## Subpackages of `{package}`")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    packages = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
    data_only = {"sweeps", "clusters", "root"}
    assert sorted(listed) == sorted(set(packages) - data_only)


def test_the_python_page_trains_a_trial(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/python.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example, {})
    assert "train_loss" in capsys.readouterr().out


def test_the_python_page_names_only_what_exists() -> None:
    page = (ROOT / "docs/python.md").read_text()
    for owner, name in re.findall(r"\b(sparsweep|sweep|results)\.([a-z_]+)[(`]", page):
        holder = {"sparsweep": sparsweep, "sweep": sparsweep.LoadedSweep, "results": sparsweep.SweepResults}[owner]
        assert hasattr(holder, name), f"{owner}.{name}"


def test_the_claims_page_lists_every_claim_of_a_followup() -> None:
    page = (ROOT / "docs/claims.md").read_text()
    for claim in followup_claims():
        assert f"| `{claim.claim}` | {claim.statement} |" in page
    assert set(re.findall(r"`([a-z-]+-(?:digits|cifar))`", page)) <= built_in().keys()


def test_the_recipe_of_the_page_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.DOTALL)
    sweep = parse_sweep(example + "  dataset: digits\n  model: resnet8\ngrids: [{sparsifier: dense}]\n", "recipes")
    (trial,) = sweep.trials.values()
    assert (trial.recipe.optimizer, trial.recipe.schedule, trial.recipe.lr) == ("adamw", "cosine", 0.002)
