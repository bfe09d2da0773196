"""Generated calls, sweep files and stored files: each call exits with a known code and prints a few short lines.

``ODD_CALLS=1500`` generates 1500 random examples of each kind. The default is a small fixed set of examples.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sparsweep.analysis import figures
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.cli import run
from sparsweep.tuner.config.sweep import parse_sweep
from support.fake_results import write_results

EXAMPLES = int(os.environ.get("ODD_CALLS", "0"))
generated = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
CODES = {0, 1, 2, 129, 130, 143}
MOST_CHARACTERS = 2000
"""Maximum length of a line on standard error."""
MOST_LINES = 20
GUARD_SECONDS = 60
"""Only a call that does not terminate takes this long."""

VALID: dict[str, Any] = {
    "base": {"dataset": "digits", "model": "resnet8", "recipe": {"preset": "digits", "epochs": 1}},
    "grids": [{"sparsifier": "dense", "seed": [0, 1]}, {"sparsifier": "snip", "sparsity": 0.5, "seed": [0, 1]}],
}
SEARCH: dict[str, Any] = {
    "base": VALID["base"],
    "search": {
        "trials": 2,
        "objectives": {"test_accuracy": "maximize"},
        "space": {"sparsifier": "random", "sparsity": {"from": 0.1, "to": 0.9}},
    },
}
VALID_WITH_SEEDS: dict[str, Any] = {
    "base": {**VALID["base"], "data_ratio": 0.5, "difficulty": {"name": "el2n", "runs": 1, "epoch": 1}},
    "seeds": {"from": 2, "to": 3},
    "grids": [
        {"sparsifier": [{"name": "set", "update_every": 0.1}, "lth"], "sparsity": {"from": 0.1, "to": 0.9, "step": 0.4}}
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working folder of the calls, with a storage and files of all kinds."""
    folder = tmp_path_factory.mktemp("odd")
    write_results(Store(str(folder / "runs")), parse_sweep(yaml.safe_dump(VALID), "mine"))
    (folder / "mine.yaml").write_text(yaml.safe_dump(VALID))
    (folder / "self.yaml").write_text(yaml.safe_dump({**VALID, "include": ["self.yaml"]}))
    (folder / "one.yaml").write_text(yaml.safe_dump({**VALID, "include": ["other.yaml"]}))
    (folder / "other.yaml").write_text(yaml.safe_dump({**VALID, "include": ["./one.yaml"]}))
    (folder / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    for name, text in PLUGINS.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "empty.yaml").write_bytes(b"")
    (folder / "binary.yaml").write_bytes(bytes(range(256)))
    (folder / "folder.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")
    (folder / "circle.yaml").symlink_to(folder / "circle.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setattr(run, "execute_sweep", lambda *arguments: None)  # no training, which needs Ray
        patch.setattr(figures, "pictures", lambda *arguments: [])  # no drawing, which is slow
        yield folder


PLUGINS = {
    "exits": "import sys; sys.exit(3)",
    "raises": "raise RuntimeError('first\\nsecond' + 'x' * 10_000)",
    "broken": "def (",
    "stops": "raise KeyboardInterrupt",
    "twice": "from sparsweep.trainables.sparsifiers import sparsifiers; sparsifiers.register(int)",
}


def call(*arguments: str) -> None:
    """Run the command. Raise AssertionError for an unknown exit code, a traceback or too much output."""
    out, err = io.StringIO(), io.StringIO()
    with (
        time_limit(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["sparsweep", *arguments])
        patch.setattr(logging.getLogger(), "handlers", [])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
    stderr = err.getvalue()
    assert (exit_info.value.code or 0) in CODES, (exit_info.value.code, stderr)
    assert "Traceback" not in stderr and "sparsweep: unexpected " not in stderr, stderr
    lines = stderr.splitlines()
    assert len(lines) <= MOST_LINES and all(len(line) <= MOST_CHARACTERS for line in lines), stderr[:MOST_CHARACTERS]
    assert exit_info.value.code != 2 or lines, "exit code 2 without an error message"


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Abort a call that does not terminate."""

    def abort(signum: int, frame: object) -> None:
        raise AssertionError("the call does not terminate")

    original = signal.signal(signal.SIGALRM, abort)
    signal.alarm(GUARD_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, original)


NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**18, 10**400, 1e9, 1e18, 1e300, 1e-300, -0.0, 0.5, 1e-9]),
    st.floats(allow_nan=True, allow_infinity=True),
)
TEXT_VALUES = st.one_of(
    st.sampled_from(
        ["", " ", "dense", "snip", "lth", "null", "~", "a" * 3000, "\x1b[31m", "1e999999", "9" * 5000, "é", "-"]
    ),
    st.text(max_size=20),
)
RANGES = st.fixed_dictionaries({"from": NUMBERS, "to": NUMBERS, "step": NUMBERS})
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT_VALUES, RANGES),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT_VALUES | NUMBERS, inner, max_size=4)),
    max_leaves=6,
)
FIELDS = [
    "base",
    "grids",
    "search",
    "seeds",
    "include",
    "name",
    "figures",
    "resources",
    "resources.gpus",
    "retries",
    "source",
    "most_runs",
    "order",
    "base.dataset",
    "base.model",
    "base.model.name",
    "base.model.width",
    "base.recipe",
    "base.recipe.preset",
    "base.recipe.epochs",
    "base.recipe.steps",
    "base.recipe.batch_size",
    "base.recipe.lr",
    "base.recipe.milestones",
    "base.difficulty",
    "base.difficulty.runs",
    "base.difficulty.epoch",
    "base.difficulty.file",
    "base.difficulty.first_seed",
    "base.data_ratio",
    "base.seed",
    "base.sparsity",
    "base.sparsifier",
    "base.sparsifier.rounds",
    "base.sparsifier.through",
    "base.sparsifier.file",
    "base.evaluation",
    "base.evaluation.every",
    "base.profile",
    "search.space",
    "search.trials",
    "search.objectives",
    "search.sampler",
    "search.space.sparsity",
    "seeds.from",
    "seeds.to",
    "seeds.first",
    "seeds.margin",
    "grids.0",
    "grids.0.sparsifier",
    "grids.0.seed",
]


def replace_at(content: Any, path: list[str], value: Any) -> Any:
    """Return ``content`` with ``value`` at ``path``. Missing or wrong levels are replaced by mappings."""
    if not path:
        return value
    key, *rest = path
    if isinstance(content, list):
        position = int(key) if key.isdecimal() and int(key) < len(content) else 0
        return [replace_at(part, rest, value) if index == position else part for index, part in enumerate(content)]
    mapping = content if isinstance(content, dict) else {}
    return {**mapping, key: replace_at(mapping.get(key), rest, value)}


@st.composite
def sweep_files(draw: st.DrawFn) -> str:
    """Draw a valid sweep with one to three replaced values."""
    content = draw(st.sampled_from([VALID, SEARCH, VALID_WITH_SEEDS]))
    for path in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3)):
        content = replace_at(content, path.split("."), draw(VALUES))
    return yaml.safe_dump(content)


TEXTS = [
    "",
    "a",
    "- a",
    "grids: true",
    "base: null\ngrids: [{sparsifier: dense}]",
    "[" * 5000,
    "{a: " * 2000,
    f"seed: {'9' * 5000}",
    "a: &a [*a]",
    "&a {b: *a}",
    "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]),
    "\n".join(
        ["a0: &a0 {b: [1, 2]}", *(f"a{n}: &a{n} {{b: *a{n - 1}, c: *a{n - 1}}}" for n in range(1, 60)), "grids: [*a59]"]
    ),
    "!!python/object/apply:os.getcwd []",
    "!!int x",
    "!!timestamp 1-2-3",
    "!!binary =",
    "? {a: 1}\n: 2",
    "\x00",
    "a: 1\na: 2",
    "include: [self.yaml]",
    "include: [one.yaml, one.yaml]",
    "include: [search.yaml]",
    "include: [pipe.yaml]",
    "include: [../../../etc/passwd]",
    "grids: [" + ", ".join(["{sparsifier: dense}"] * 20_000) + "]",
    f"grids: [{{sparsifier: dense, seed: [{', '.join(map(str, range(200_000)))}]}}]",
]
SWEEP_ARGUMENTS = st.one_of(
    st.sampled_from(
        ["mine", "mine.yaml", "self.yaml", "one.yaml", "search.yaml", "pipe.yaml", "zero.yaml", "circle.yaml"]
    ),
    st.sampled_from(
        ["folder.yaml", "empty.yaml", "binary.yaml", "smoke", "none", "", ".", "/", "~nobody/x", "a" * 5000, "s3://b/x"]
    ),
    st.text(max_size=12).filter(lambda text: "/" not in text),
)
STORAGES = st.one_of(
    st.sampled_from(
        ["runs", "none", "", " ", ".", "mine.yaml", "pipe.yaml", "zero.yaml", "circle.yaml", "/dev/null", "/proc/self"]
    ),
    st.sampled_from(
        [
            "~",
            "~nobody",
            "s3:/b",
            "s3:",
            "s3://",
            "gs://",
            "abfs://c@a/x",
            "hdfs://x",
            "file://",
            "file:///",
            "file://x/y",
        ]
    ),
    st.sampled_from(
        ["http://x", "://", "a" * 5000, "a/" * 3000, "runs/results/trials", "-", "--json", "\x1b[31m", "\ud800"]
    ),
    st.text(max_size=12).filter(lambda text: "/" not in text),
)
OVERRIDES = st.one_of(
    st.builds(lambda path, value: f"{path}={yaml.safe_dump(value).strip()}", st.sampled_from(FIELDS), VALUES),
    st.builds(lambda path, value: f"{path.removeprefix('base.')}={value}", st.sampled_from(FIELDS), TEXT_VALUES),
    st.sampled_from(
        ["", "=", "a", "a=", "=1", ".=1", "seed", "seed=[", "recipe..epochs=1", "grids.99.seed=1", "grids.0=1"]
    ),
    st.sampled_from([f"recipe{'.a' * 5000}=1", f"seed={'9' * 5000}", f"seed={'x' * 100_000}", "name=../x", "name=a/b"]),
    st.sampled_from(["grids=1", "source=x", "include=[self.yaml]", "seed={from: 0, to: 1e9, step: 1}", "base=null"]),
)
COMMANDS = st.sampled_from(["plan", "run", "resume", "status", "figures", "claims", "report", "study"])
TRIAL_COMMANDS = st.sampled_from(["show", "export", "logs"])


@generated
@given(
    text=st.one_of(sweep_files(), st.sampled_from(TEXTS), st.text(max_size=200)),
    command=st.sampled_from(["plan", "run"]),
)
def test_any_sweep_file(folder: Path, text: str, command: str) -> None:
    (folder / "any.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    call(command, "any.yaml", "--storage", "any-runs" if command == "run" else "runs")


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_unusual_sweep_text(folder: Path, text: str) -> None:
    (folder / "any.yaml").write_text(text)
    call("plan", "any.yaml", "--storage", "runs")


@generated
@given(sweep=SWEEP_ARGUMENTS, overrides=st.lists(OVERRIDES, max_size=2), command=COMMANDS)
@example(sweep="mine.yaml", overrides=["base=null"], command="plan")
def test_any_sweep_with_any_overrides(folder: Path, sweep: str, overrides: list[str], command: str) -> None:
    options = [part for override in overrides for part in ("--set", override)]
    storage = "other-runs" if command in ("run", "resume") else "runs"
    call(command, *options if command != "study" else [], "--storage", storage, "--", sweep)


@generated
@given(
    storage=STORAGES,
    command=st.sampled_from(
        ["plan", "status", "figures", "claims", "report", "gc", "compact", "show", "export", "logs"]
    ),
)
def test_any_storage(folder: Path, storage: str, command: str) -> None:
    arguments = {"gc": [], "compact": [], "show": ["0"], "export": ["0"], "logs": ["0"]}.get(command, ["mine"])
    call(command, *arguments, f"--storage={storage}")


@generated
@given(
    options=st.lists(
        TEXT_VALUES | st.sampled_from(["--json", "--set", "--storage", "--plugin", "--help", "--watch"]), max_size=4
    ),
    command=COMMANDS | TRIAL_COMMANDS | TEXT_VALUES,
)
def test_any_arguments(folder: Path, options: list[str], command: str) -> None:
    call(command, *options)


@pytest.mark.parametrize("plugin", [*PLUGINS, "", ".", "..", "os;", "a.b", "no such", "tuner", "x" * 5000, "é", "-m"])
def test_any_plugin(folder: Path, plugin: str) -> None:
    for name in PLUGINS:
        sys.modules.pop(name, None)
    call("plan", "mine.yaml", "--storage", "runs", f"--plugin={plugin}")


STORED_PATHS = [
    "sweeps/mine/sweep.yaml",
    "sweeps/mine/plugins.json",
    "sweeps/mine/driver.json",
    "sweeps/mine/log.txt",
    "sweeps/sought/suggestions/000000.json",
    "calibration/x.json",
    "SPARSWEEP.TAG",
    "compacted/trials.parquet",
    "results/trials/0123456789abcdef.parquet",
    "results/failures/0123456789abcdef-1.parquet",
    "logs/0123456789abcdef.txt",
    "results/memberships/mine.parquet",
    "artifacts/scores/0123456789abcdef-el2n.parquet",
]
CONTENTS = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: yaml.safe_dump(value).encode(errors="replace")),
    st.sampled_from(
        [b"", b"PAR1PAR1", b"PAR1" + bytes(100) + b"PAR1", b"[" * 50_000, b"{}", b"null", b"\xff\xfe", b'{"a": NaN}']
    ),
)


@generated
@given(
    path=st.sampled_from(STORED_PATHS),
    content=CONTENTS,
    command=st.sampled_from(["status", "plan", "claims", "gc", "show", "logs"]),
)
def test_any_stored_file(folder: Path, path: str, content: bytes, command: str) -> None:
    store = Store(str(folder / "runs"))
    original = store.read(path)
    store.write(path, content)
    try:
        call(command, *{"gc": [], "show": ["0123"], "logs": ["0123"]}.get(command, ["mine"]), "--storage", "runs")
        call("status", "--storage", "runs")
    finally:
        store.delete(path)
        if original is not None:
            store.write(path, original)


@generated
@given(
    content=st.one_of(st.binary(max_size=100), VALUES.map(lambda value: yaml.safe_dump(value).encode(errors="replace")))
)
def test_any_claim_file(folder: Path, content: bytes) -> None:
    (folder / "claims.yaml").write_bytes(content)
    call("claims", "mine", "--storage", "runs", "--claims", "claims.yaml")


@generated
@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["any.pt", "any.npz", "any.parquet", "pipe.yaml", "zero.yaml", "none", "folder.yaml"]),
)
def test_any_mask_or_score_file(folder: Path, content: bytes, name: str) -> None:
    file = folder / name
    if name.startswith("any"):
        file.write_bytes(content)
    for part in (
        {"sparsity": 0.5, "sparsifier": {"name": "static", "file": str(file)}},
        {"sparsifier": "dense", "data_ratio": 0.5, "difficulty": {"name": "scores", "file": str(file)}},
    ):
        (folder / "any.yaml").write_text(yaml.safe_dump({"base": VALID["base"], "grids": [part]}))
        call("plan", "any.yaml", "--storage", "runs")
