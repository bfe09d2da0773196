"""Programs held as text in tests use existing names. Tools do not apply renames to text, so this test checks them."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
IMPORT = re.compile(r"from (sparsweep[\w.]*) import (\w+)(?: as (\w+))?")


def texts(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def names_of(program: str) -> Iterator[str]:
    """Yield the names that ``program`` imports from sparsweep, and their attributes that it reads or replaces."""
    for module, name, alias in IMPORT.findall(program):
        yield f"{module}.{name}"
        used = rf"(?<![\w.]){alias or name}((?:\.\w+)+)"
        yield from (f"{module}.{name}{attributes}" for attributes in re.findall(used, program))


PROGRAMS = [
    pytest.param(text, id=f"{file.relative_to(TESTS)}-{number}")
    for file in sorted(TESTS.rglob("*.py"))
    for number, text in enumerate(texts(file))
    if file != Path(__file__) and IMPORT.search(text)
]


def test_names_of_a_program_are_found() -> None:
    program = "from sparsweep.trainables.runs import base as b\nb.Trained.train_epoch = None\n"
    assert list(names_of(program)) == [
        "sparsweep.trainables.runs.base",
        "sparsweep.trainables.runs.base.Trained.train_epoch",
    ]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_in_tests_use_existing_names(program: str) -> None:
    missing = []
    for name in names_of(program):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert not missing
