"""Plugin modules: imported by name or by entry point, passed on to workers, with errors in one line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsweep.trainables import plugins
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.tuner.cli.catalogue import Kind, catalogue

METHOD = '''
"""A method of a user."""
from typing import Literal
from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, InitContext, sparsifiers
from sparsweep.trainables.sparsifiers.masks import Masks, top_k_global

@sparsifiers.register
class Mine(MaskedSparsifier):
    """The first weights of all."""

    name: Literal["{name}"] = "{name}"

    def initialize(self, start: InitContext) -> Masks:
        return top_k_global({{name: weight * 0 for name, weight in start.weights.items()}}, start.num_active)
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Empty folder on the import path. Its modules and registered classes are removed after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_named", {})
    monkeypatch.setattr(sparsifiers, "_classes", dict(sparsifiers._classes))
    modules = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - modules:
        del sys.modules[module]


def test_named_module_registers_its_methods_and_is_passed_to_workers(folder: Path) -> None:
    (folder / "their_methods.py").write_text(METHOD.format(name="theirs"))
    plugins.load_plugins(["their_methods"])
    plugins.load_plugins(["their_methods"])
    assert "theirs" in sparsifiers.names()
    assert plugins.requested_modules() == ("their_methods",)


def test_entry_points_are_imported_without_being_named(folder: Path) -> None:
    (folder / "announced_methods.py").write_text(METHOD.format(name="announced"))
    info = folder / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sparsweep.plugins]\nanything = announced_methods\n")
    importlib.invalidate_caches()
    plugins.load_plugins()
    assert "announced" in sparsifiers.names()
    assert plugins.requested_modules() == (), "a worker finds the entry point in its installation"


DUPLICATE = "ValueError: name: two classes register as sparsifier 'snip'. Rename one of them."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "ModuleNotFoundError: No module named 'broken_methods'"),
        ("import nothing_there", "ModuleNotFoundError: No module named 'nothing_there'"),
        ("raise RuntimeError('one\\ntwo')", "RuntimeError: one"),
        (METHOD.format(name="snip"), DUPLICATE),
        (METHOD.format(name="snip").replace("Mine", "SNIP"), DUPLICATE),
        ("import sys; sys.exit()", "SystemExit: "),
    ],
)
def test_failed_import_is_a_one_line_error(content: str | None, reason: str, folder: Path) -> None:
    if content is not None:
        (folder / "broken_methods.py").write_text(content)
    with pytest.raises(plugins.PluginError) as caught:
        plugins.load_plugins(["broken_methods"])
    assert str(caught.value) == f"broken_methods: cannot be imported: {reason}"
    assert plugins.requested_modules() == ()


@pytest.mark.parametrize("given", ["their_methods.py", "./their_methods", "a/folder/their_methods.py"])
def test_file_instead_of_a_module_is_an_error_with_the_module_name(given: str, folder: Path) -> None:
    (folder / "their_methods.py").write_text(METHOD.format(name="theirs"))
    with pytest.raises(
        plugins.PluginError, match=r"is a file, not a module\. Run in its folder with the module name their_methods"
    ):
        plugins.load_plugins([given])


def test_class_without_a_docstring_is_listed(folder: Path) -> None:
    (folder / "their_methods.py").write_text(
        METHOD.format(name="bare").replace('    """The first weights of all."""\n', "")
    )
    plugins.load_plugins(["their_methods"])
    assert sparsifiers["bare"].summary() == ""
    assert {"name": "bare", "summary": ""} in catalogue(Kind.sparsifiers)
