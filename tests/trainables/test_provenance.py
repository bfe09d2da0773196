"""Which code made a result: digests of sources, the modules of a run, and what is said where they differ."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsweep.trainables import plugins
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.runs.origins import code_of, modules_of
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage import provenance
from sparsweep.trainables.storage.provenance import changed_modules, dump_code, load_code, loaded_code, merge_code
from sparsweep.trainables.storage.store import Store
from support.tiny_trials import inputs, trial

METHOD = '''
from typing import Literal
from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, InitContext, sparsifiers
from sparsweep.trainables.sparsifiers.masks import Masks, top_k_global

@sparsifiers.register
class Mine(MaskedSparsifier):
    """The first weights of all."""

    name: Literal["mine"] = "mine"

    def initialize(self, start: InitContext) -> Masks:
        return top_k_global({name: weight * 0 for name, weight in start.weights.items()}, start.num_active)
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path; what a test imports from there, and what is known of it, is forgotten after it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_named", {})
    monkeypatch.setattr(sparsifiers, "_classes", dict(sparsifiers._classes))
    loaded_code.cache_clear()
    yield tmp_path
    loaded_code.cache_clear()
    for module in [name for name in sys.modules if name.startswith("their_")]:
        del sys.modules[module]


def edited(path: Path, content: str) -> None:
    """Change a module as a user would: the next process reads it anew, and asks for its digest anew."""
    path.write_text(content)
    loaded_code.cache_clear()


def test_digest_of_a_module_is_that_of_its_file(folder: Path) -> None:
    (folder / "their_single.py").write_text("a = 1\n")
    plugins.load_plugins(["their_single"])
    content = hashlib.sha256(b"a = 1\n").hexdigest()
    whole = hashlib.sha256(f"their_single.py\0{content}\0".encode()).hexdigest()
    assert loaded_code("their_single") == f"? {whole[:16]}"


def test_digest_of_a_package_is_that_of_all_its_files(folder: Path) -> None:
    (folder / "their_package/inner").mkdir(parents=True)
    (folder / "their_package/__init__.py").write_text("__version__ = '1.2'\n")
    (folder / "their_package/inner/part.py").write_text("a = 1\n")
    importlib.import_module("their_package")
    before = loaded_code("their_package")
    assert before.startswith("1.2 ")
    edited(folder / "their_package/inner/part.py", "a = 2\n")
    assert loaded_code("their_package") != before
    edited(folder / "their_package/inner/part.py", "a = 1\n")
    assert loaded_code("their_package") == before


def test_what_was_imported_counts_though_it_was_edited_since(folder: Path) -> None:
    (folder / "their_single.py").write_text("a = 1\n")
    plugins.load_plugins(["their_single"])
    (folder / "their_single.py").write_text("a = 2\n")
    of_import = loaded_code("their_single")
    loaded_code.cache_clear()
    assert loaded_code("their_single") != of_import


def test_what_has_no_source_is_unknown() -> None:
    assert loaded_code("no_such_module") == "? ?"


def test_a_trial_comes_from_this_package_and_from_the_plugins_of_its_parts(folder: Path) -> None:
    (folder / "their_methods.py").write_text(METHOD)
    plugins.load_plugins(["their_methods"])
    assert modules_of(trial()) == {"sparsweep"}
    assert modules_of(trial(sparsifier="mine", sparsity=0.5)) == {"sparsweep", "their_methods"}


def test_codes_are_read_as_they_were_written() -> None:
    code = {"sparsweep": frozenset({"0.1 a", "0.1 b"}), "theirs": frozenset({"? c"})}
    assert load_code(dump_code(code)) == code


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"a": 3}', "null"])
def test_a_damaged_code_is_not_known(text: str | None) -> None:
    assert load_code(text) == {}


def test_codes_are_joined_by_module() -> None:
    first, second = {"a": frozenset({"1"})}, {"a": frozenset({"2"}), "b": frozenset({"3"})}
    assert merge_code(first, second) == {"a": frozenset({"1", "2"}), "b": frozenset({"3"})}


def test_only_modules_that_are_loaded_here_with_another_source_have_changed(folder: Path) -> None:
    (folder / "their_single.py").write_text("a = 1\n")
    plugins.load_plugins(["their_single"])
    code = {module: frozenset({loaded_code(module)}) for module in ("sparsweep", "their_single")}
    assert changed_modules(code) == []
    assert changed_modules({**code, "never_loaded": frozenset({"1 a"})}) == []
    edited(folder / "their_single.py", "a = 2\n")
    assert changed_modules(code) == ["their_single"]
    both = {"their_single": code["their_single"] | {loaded_code("their_single")}}
    assert changed_modules(both) == ["their_single"], "a part of it was made by other code"


def test_a_trial_resumed_under_other_code_says_both(
    folder: Path, digits: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "their_methods.py").write_text(METHOD)
    plugins.load_plugins(["their_methods"])
    spec = trial(sparsifier="mine", sparsity=0.5)
    assert spec.recipe.epochs > 1
    first = code_of(spec)["their_methods"]
    open_run(spec, inputs(digits), store, "test").run_for(0.0)
    edited(folder / "their_methods.py", METHOD + "# and a remark\n")
    second = code_of(spec)["their_methods"]
    while not open_run(spec, inputs(digits), store, "test").run_for(0.0).is_finished:
        pass
    found = row(store, spec.id)
    assert load_code(found["code"])["their_methods"] == first | second


def test_a_trial_says_what_made_the_weights_that_it_started_from(
    digits: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = trial(sparsifier="omp", sparsity=0.5)
    (parent,) = child.prerequisites()
    complete_by_code("earlier", parent, digits, store, monkeypatch)
    complete_by_code("newer", child, digits, store, monkeypatch)
    assert digests_of(child, store) == {"earlier", "newer"}


def test_a_trial_says_what_made_the_scores_that_chose_its_samples(
    digits: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they were there already, made before the code was changed, and nobody made them again."""
    child = trial(difficulty={"name": "el2n", "runs": 1, "epoch": 1}, data_ratio=0.3)
    (scoring,) = child.prerequisites()
    complete_by_code("earlier", scoring, digits, store, monkeypatch)
    complete_by_code("newer", child, digits, store, monkeypatch)
    assert digests_of(child, store) == {"earlier", "newer"}


def complete_by_code(
    digest: str, spec: RunSpec, data: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run ``spec`` to its end as if this package had that digest."""
    monkeypatch.setattr(provenance, "_digest_of", lambda module: digest)
    loaded_code.cache_clear()
    open_run(spec, inputs(data), store, "test").run_for(float("inf"))


def digests_of(spec: RunSpec, store: Store) -> set[str]:
    """Digests of this package that a trial's row names."""
    return {source.split()[1] for source in load_code(row(store, spec.id)["code"])["sparsweep"]}


def row(store: Store, run: str) -> dict[str, Any]:
    from sparsweep.trainables.storage import tables

    table, _ = tables.read_table(store.storage, "trials", trials=[run])
    (found,) = table.to_pylist()
    return dict(found)
