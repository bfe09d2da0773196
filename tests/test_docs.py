"""Pages of docs/ list the packages of the source code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("package", ["trainables", "tuner"])
def test_the_architecture_page_lists_every_package(package: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    section = page.split(f"## Subpackages of `{package}`")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    packages = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
    data_only = {"sweeps", "clusters"}
    assert sorted(listed) == sorted(set(packages) - data_only)
