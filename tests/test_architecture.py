"""Rules of the architecture, checked on the source code: import directions, sizes, docstrings and packaging."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sparsweep.analysis
import sparsweep.trainables
import sparsweep.tuner

ROOT = Path(__file__).parent.parent
PACKAGES = ("trainables", "tuner", "analysis")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_imports_run_one_way() -> None:
    """The contracts of ``[tool.importlinter]`` in pyproject.toml hold."""
    program = [str(Path(sys.executable).with_name("lint-imports")), "../../pyproject.toml", "--no-cache"]
    result = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT / ".ci/names")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_have_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_have_at_most_40_lines(path: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    lines = {function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions}
    assert {name: count for name, count in lines.items() if count > 40} == {}


def test_all_output_goes_through_one_module() -> None:
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        printing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not printing or path.relative_to(ROOT).as_posix() == "tuner/terminal.py", path


def test_every_public_method_has_a_docstring_where_it_is_declared() -> None:
    """Overrides need no docstring, but ruff's rule D102 would require one."""
    missing = []
    for package in (sparsweep.trainables, sparsweep.tuner, sparsweep.analysis):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for cls in [value for value in vars(module).values() if inspect.isclass(value)]:
                if cls.__module__ != module.__name__ or cls.__name__.startswith("_"):
                    continue
                for name, value in vars(cls).items():
                    method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                    if name.startswith("_") or not inspect.isfunction(method):
                        continue
                    if not any(getattr(vars(base).get(name), "__doc__", None) for base in cls.__mro__):
                        missing.append(f"{module.__name__}.{cls.__name__}.{name}")
    assert missing == []


def loaded(modules: str, of: tuple[str, ...]) -> str:
    """Import ``modules`` in a new process. Return the loaded packages among ``of``, as a printed list."""
    code = f"import sys, {modules}; print([name for name in {of!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return result.stdout.strip()


def test_the_command_loads_heavy_packages_only_when_needed() -> None:
    heavy = ("torch", "ray", "pandas", "matplotlib", "pyarrow", "sklearn", "pydantic", "yaml")
    assert loaded("sparsweep.tuner.cli.app", heavy) == "[]"


def test_read_only_commands_start_without_ray() -> None:
    modules = [f"sparsweep.tuner.planning.{name}" for name in ("status", "estimate", "gc")]
    assert loaded(", ".join(modules), ("ray",)) == "[]"


def test_tuner_and_analysis_do_not_load_pytorch() -> None:
    tuner = ("execution.driver", "execution.trackers", "hardware.throughput", "planning.estimate", "search.study")
    analysis = ("figures", "report", "claims", "snapshot")
    modules = [f"sparsweep.tuner.{name}" for name in tuner] + [f"sparsweep.analysis.{name}" for name in analysis]
    assert loaded(", ".join(modules), ("torch", "torchvision")) == "[]"


def test_constraints_pin_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 and "/" not in line and "@" not in line for line in pins)
    assert {"ray", "torch", "torchvision", "optuna", "pandas", "pyarrow", "matplotlib"} <= {
        line.partition("==")[0] for line in pins
    }


def test_every_folder_is_packaged() -> None:
    """Each folder of a package is installed under its name, and no other folder is."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    folders = {str(Path(file).parent) for file in tracked.split()}
    names = {folder: f"sparsweep.{folder.replace('/', '.')}" for folder in folders} | {"tuner/root": "sparsweep"}
    assert sorted(listed) == sorted(names.values())
