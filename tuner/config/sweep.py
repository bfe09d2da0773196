"""Sweep files: grids of trials and their resources.

A sweep runs the union of all grids; equal trials run once. In a grid, a list stands for each of its values and
``{from, to, step}`` for a range. Keys multiply (Cartesian product), also inside a sparsifier. Every grid starts from
``base``. ``include`` adds the grids of other sweeps; each included sweep is one figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources as package_files
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from sparsweep.trainables.data import Dataset, datasets
from sparsweep.trainables.specs.base import FrozenModel, SpecError, format_error, shortened, shown, unknown_choice
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import plain_yaml
from sparsweep.trainables.storage.plain_yaml import YAMLError
from sparsweep.trainables.storage.user_files import read_user_text
from sparsweep.tuner.config.adaptive_seeds import AdaptiveSeeds
from sparsweep.tuner.config.grid import SweepError, expand, merge, num_combinations
from sparsweep.tuner.config.overrides import apply_override
from sparsweep.tuner.config.resources import Resources
from sparsweep.tuner.config.search import Search
from sparsweep.tuner.config.space import check_space

BUILT_IN = "built-in"
"""Source of the sweeps in the package."""
MOST_GRIDS = 10_000
MOST_LEVELS = 20
"""Maximum depth of nested ``include``."""
SWEEP_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"


class Sweep(FrozenModel):
    """A named set of trials and their resources."""

    name: str = Field(pattern=rf"^{SWEEP_NAME}$")
    description: str = Field(default="", description="purpose of the sweep, in one line")
    base: dict[str, Any] = Field(default_factory=dict, description="fields of a trial, shared by all grids")
    grids: tuple[dict[str, Any], ...] = Field(
        default=(), description="fields of trials; a list stands for each of its values"
    )
    search: Search | None = Field(default=None, description="hyperparameter search, in place of grids")
    seeds: AdaptiveSeeds | None = Field(default=None, description="adaptive number of seeds, in place of seed")
    figures: dict[str, int] = Field(
        default_factory=dict, description="number of grids of each included sweep; these grids come first, in order"
    )
    order: Literal["figures", "longest", "file"] = Field(
        default="figures",
        description="run order. figures: cheapest included sweep first; longest: longest first; file: as written",
    )
    resources: Resources = Field(default=Resources(), description="resources of one trial")
    allow_undertrained: bool = Field(
        default=False, description="also test claims on under-trained networks; the verdict mentions them"
    )
    most_runs: int = Field(
        default=100_000, ge=1, description="maximum number of trials and their prerequisites, against typing errors"
    )
    retries: int = Field(default=2, ge=0, description="number of retries of a trial after its own errors")
    source: str | None = Field(default=None, description="file that gives the sweep its name; null if name is set")

    @model_validator(mode="after")
    def _grids_or_search(self) -> Sweep:
        if bool(self.grids) == bool(self.search):
            raise SpecError("grids", "needs either grids (own or included) or search, not both and not neither")
        return self

    @model_validator(mode="after")
    def _seeds_are_stated_once(self) -> Sweep:
        if self.seeds and self.search:
            raise SpecError("seeds", "not available with search, because only grid points are compared with dense")
        if self.seeds and any("seed" in part for part in (self.base, *self.grids)):
            raise SpecError("seed", "conflicts with seeds, which sets the seeds of each point. Remove seed.")
        return self

    @model_validator(mode="after")
    def _figures_have_their_grids(self) -> Sweep:
        if any(count < 0 for count in self.figures.values()) or sum(self.figures.values()) > len(self.grids):
            raise SpecError("figures", f"more grids than the sweep has, {len(self.grids)} (got {self.figures})")
        return self

    @model_validator(mode="after")
    def _no_more_runs_than_meant(self) -> Sweep:
        trials = sum(num_combinations(merge(self.effective_base, grid)) for grid in self.grids)
        self._refuse_too_many(f"grids: {trials:,} trials", trials)
        if self.search is not None:
            self._refuse_too_many(f"search.trials: {self.search.trials:,}", self.search.trials)
        return self

    def _refuse_too_many(self, what: str, runs: int) -> None:
        if runs > self.most_runs:
            raise ValueError(f"{what}, more than most_runs, {self.most_runs:,}. Increase most_runs if intended.")

    @cached_property
    def trials_by_grid(self) -> tuple[dict[str, TrialSpec], ...]:
        """Trials of each grid by id, in the order of the file. Raise SweepError if a trial is invalid."""
        cells = tuple(self._cells(number, grid) for number, grid in enumerate(self.grids))
        runs = sum(1 + trial.difficulty.num_scoring_runs(trial) for trials in cells for trial in trials.values())
        try:
            self._refuse_too_many(f"grids: {runs:,} runs, including scoring runs", runs)
        except ValueError as error:
            raise SweepError(f"{self.name}: {error}") from None
        return cells

    def _cells(self, number: int, grid: Mapping[str, Any]) -> dict[str, TrialSpec]:
        trials: dict[str, TrialSpec] = {}
        for cell in expand(merge(self.effective_base, grid)):
            try:
                trial = TrialSpec.model_validate(cell)
            except ValidationError as error:
                raise SweepError(f"{self.name}: grids.{number}: {format_error(error)}") from None
            trials[trial.id] = trial
        return trials

    @cached_property
    def trials(self) -> dict[str, TrialSpec]:
        """Trials of all grids by id, without duplicates."""
        return {run: trial for cells in self.trials_by_grid for run, trial in cells.items()}

    @property
    def trials_by_figure(self) -> list[list[str]]:
        """Trial ids of each included sweep, and last of the sweep's own grids."""
        remaining = iter(self.trials_by_grid)
        counts = [*self.figures.values(), len(self.grids)]
        return [[run for cells in islice(remaining, count) for run in cells] for count in counts]

    @property
    def effective_base(self) -> dict[str, Any]:
        """Fields that every grid starts from: ``base`` with the initial adaptive seeds."""
        return self.base if self.seeds is None else {**self.base, "seed": self.seeds.numbers(self.seeds.start)}

    @property
    def candidate_datasets(self) -> list[Dataset]:
        """Data sets that a search can choose."""
        spaces = [] if self.search is None else self.search.space
        parts = [self.base, *(spaces if isinstance(spaces, list) else [spaces])]
        paths = (("dataset",), ("evaluation", "ood"))
        values = [(path, _value_at(part, path)) for part in parts for path in paths]
        return [datasets.parse(cell) for path, value in values if value is not None for cell in expand(value, path)]

    def dump(self) -> str:
        """Return YAML from which :func:`parse_sweep` builds an equal sweep."""
        return plain_yaml.dump(self.model_dump(mode="json", by_alias=True))


def _value_at(fields: Any, path: tuple[str, ...]) -> Any:
    """Return the value at ``path`` in nested mappings, or None."""
    for name in path:
        fields = fields.get(name) if isinstance(fields, Mapping) else None
    return fields


def parse_sweep(
    text: str, name: str, overrides: Sequence[str] = (), source: str | None = None, including: tuple[str, ...] = ()
) -> Sweep:
    """Parse and validate a sweep with all its trials.

    Args:
        text: YAML of the sweep.
        name: Name of the sweep if the text has none.
        overrides: ``path=value`` strings with values in YAML, which may be lists.
        source: File of the text, None for the output of :meth:`Sweep.dump`.
        including: Files that include this sweep, outermost first.

    Raises:
        SweepError: The sweep or one of its trials is invalid.
    """
    try:
        content = plain_yaml.load(text)
    except YAMLError as error:
        raise SweepError(f"{name}: {error}") from None
    has_name = isinstance(content, dict) and "name" in content
    content = _with_defaults(content, name)
    content |= with_included(content, name, including)
    content.pop("include", None)
    for override in overrides:
        apply_override(content, override, list(Sweep.model_fields))
    if source is not None:
        content["source"] = None if has_name or content["name"] != name else source
    try:
        sweep = Sweep.model_validate(content)
    except ValidationError as error:
        raise SweepError(f"{name}: {format_error(error)}") from None
    if not sweep.trials and not sweep.search:
        raise SweepError(f"{name}: grids: no trials. Every list needs at least one value.")
    return sweep


def _with_defaults(content: Any, name: str) -> dict[str, Any]:
    """Return the content of a sweep file with name, ``base`` and ``grids``. Raise SweepError for wrong types."""
    if not isinstance(content, dict):
        fields = ", ".join(Sweep.model_fields)
        raise SweepError(f"{name}: a sweep must be a mapping with {fields} (got {shown(content)})")
    content = {"name": name, **content}
    for field, kind, expected in (("base", dict, "a mapping of fields"), ("grids", list, "a list of mappings")):
        if content.get(field) is None:
            content[field] = kind()
        elif not isinstance(content[field], kind):
            raise SweepError(f"{name}: {field}: must be {expected} (got {shown(content[field])})")
    return content


def with_included(content: Mapping[str, Any], name: str, including: tuple[str, ...]) -> dict[str, Any]:
    """Return ``grids`` and ``figures`` with the grids of all included sweeps, written out in full.

    Args:
        content: Content of a sweep file with ``include``.
        name: Name of the sweep.
        including: Files that include this sweep.

    Raises:
        SweepError: An included sweep is invalid, is a search, includes itself, or has its own seeds.
    """
    names = content.get("include") or []
    if not isinstance(names, list) or not all(isinstance(other, str) for other in names):
        raise SweepError(f"{name}: include: must be a list of sweeps (got {shown(names)})")
    if name in names:
        raise SweepError(f"{name}: include: {name} cannot include itself")
    if len(including) > MOST_LEVELS:
        raise SweepError(f"{name}: include: nested deeper than {MOST_LEVELS} sweeps")
    others = [read_sweep(other, including=including) for other in names]
    if searches := [other.name for other in others if other.search]:
        raise SweepError(f"{name}: include: {searches[0]} is a search and has no grids. Remove the search.")
    if adaptive := [other.name for other in others if other.seeds and not content.get("seeds")]:
        raise SweepError(f"{name}: include: {adaptive[0]} has adaptive seeds. Set seeds in this sweep too.")
    grids = [merge(other.base, grid) for other in others for grid in other.grids]
    if len(grids) > MOST_GRIDS:
        raise SweepError(f"{name}: include: too many grids (got {len(grids):,}, the maximum is {MOST_GRIDS:,})")
    figures = {other.name: len(other.grids) for other in others}
    return {"grids": [*grids, *content["grids"]], **({"figures": figures} if figures else {})}


def built_in() -> dict[str, Path]:
    """Return the paths of the built-in sweep files by name, fig2 before fig10."""
    folder = Path(str(package_files.files("sparsweep.tuner.sweeps")))
    paths = sorted(folder.glob("*.yaml"), key=lambda path: (path.stem.rstrip("0123456789"), len(path.stem), path.stem))
    return {path.stem: path for path in paths}


def description(path: Path) -> str:
    """Return the description in a sweep file without building its trials."""
    return str(plain_yaml.load(path.read_text(encoding="utf-8")).get("description", ""))


def checked(sweep: Sweep) -> Sweep:
    """Return ``sweep``. Raise SweepError if a method never updates its masks, or if the search space is invalid."""
    if sweep.search is not None:
        check_space(sweep.search.space, sweep.base, list(sweep.search.objectives))
    for number, cells in enumerate(sweep.trials_by_grid):
        for trial in cells.values():
            try:
                trial.sparsifier.check_updates(trial)
            except ValueError as error:
                raise SweepError(f"{sweep.name}: grids.{number}: {error}") from None
    return sweep


def read_sweep(name: str, overrides: Sequence[str] = (), including: tuple[str, ...] = ()) -> Sweep:
    """Read and validate a sweep.

    Args:
        name: A built-in sweep, or the path of a YAML file.
        overrides: ``path=value`` strings.
        including: Files that include this sweep.

    Raises:
        SweepError: The file is unreadable, or the sweep or one of its trials is invalid.
    """
    path = built_in().get(name) or Path(name)
    try:
        place = str(path.resolve())
        text = read_user_text(place)
    except FileNotFoundError:
        raise SweepError(f"{unknown_choice('sweep', name, built_in())}, or give the path of a YAML file") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: circular symlinks
        raise SweepError(f"{shortened(name)}: unreadable: {shortened(str(error))}") from None
    if place in including:
        raise SweepError(f"{name}: include: circular, the sweep includes itself through others")
    source = BUILT_IN if name in built_in() else place
    return checked(parse_sweep(text, path.stem, overrides, source, (*including, place)))
