"""A sweep file: grids of trials, and the resources to run them with.

The union of all grids is the set of trials. In a grid a list means each of its values, ``{from, to, step}`` a range,
and keys multiply; at any depth, so that a sparsifier's own fields can be swept too. ``base`` is what every grid
starts from; ``include`` adds the grids of other sweeps, each a figure of this one. Equal trials are one trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources as package_files
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, ValidationError, field_validator, model_validator

from sparsweep.trainables.data import Dataset, datasets
from sparsweep.trainables.specs.base import FrozenModel, SpecError, format_error, shortened, shown, unknown_choice
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import plain_yaml
from sparsweep.trainables.storage.plain_yaml import YAMLError
from sparsweep.trainables.storage.schemas import SCHEMAS
from sparsweep.trainables.storage.user_files import read_user_text
from sparsweep.trainables.training.execution import ExecutionConfig
from sparsweep.tuner.config.adaptive_seeds import AdaptiveSeeds
from sparsweep.tuner.config.grid import SweepError, expand, merge, num_combinations
from sparsweep.tuner.config.overrides import apply_override
from sparsweep.tuner.config.space import check_space

BUILT_IN = "built-in"
"""Source of the sweeps that come with the package."""
NUMBERS = [name for name in SCHEMAS["trials"].names if pa.types.is_floating(SCHEMAS["trials"].field(name).type)]
"""Columns of ``trials`` that a search can look at."""


MOST_GRIDS = 10_000
MOST_LEVELS = 20
"""Of sweeps that include one another."""
SWEEP_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"


class Resources(FrozenModel):
    """What one trial occupies while it runs."""

    cpus: int = Field(default=1, ge=1, description="CPU threads")
    gpus: float | Literal["auto"] = Field(default="auto", description="share of a GPU; auto: measured")
    execution: ExecutionConfig = Field(
        default=ExecutionConfig(), description="how training steps run; changes no trial"
    )
    trial_timeout: float | None = Field(
        default=None, gt=0, description="seconds without the end of an epoch, after which a trial is killed as hanging"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_former_name(cls, data: Any) -> Any:
        """Read sweeps that were recorded before 0.2.0, when ``execution`` was called ``engine``."""
        if isinstance(data, Mapping) and "engine" in data and "execution" not in data:
            return {("execution" if name == "engine" else name): value for name, value in data.items()}
        return data

    @field_validator("gpus")
    @classmethod
    def _share_or_whole(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ValueError(f"a share in [0, 1] or a whole number of GPUs, got {gpus}")
        return gpus


class Search(FrozenModel):
    """What a sweep looks for, in place of a grid (see ``space`` for the syntax of its space)."""

    space: dict[str, Any] | list[dict[str, Any]] = Field(description="fields of a trial, with ranges and choices")
    objectives: dict[str, Literal["maximize", "minimize"]] = Field(min_length=1, description="columns of trials")
    trials: int = Field(default=50, ge=1, description="suggestions in all")
    sampler: Literal["tpe", "gp", "nsga2", "random", "qmc"] = Field(default="tpe", description="Optuna's sampler")
    sampler_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the sampler")
    population: int = Field(default=20, ge=2, description="suggestions in a generation of nsga2; the first is random")
    stopping: Literal["none", "asha", "median"] = Field(default="none", description="of trials that fall behind")
    grace: int = Field(default=1, ge=1, description="epochs before a trial can be stopped")

    @field_validator("objectives")
    @classmethod
    def _columns_of_numbers(cls, objectives: dict[str, str]) -> dict[str, str]:
        for name in objectives:
            if name not in NUMBERS:
                raise ValueError(unknown_choice("column", name, NUMBERS))
        return objectives

    @model_validator(mode="after")
    def _stopping_needs_one_curve(self) -> Search:
        if self.stopping != "none" and self.objectives != {"test_accuracy": "maximize"}:
            raise SpecError(
                "stopping", f"{self.stopping} compares test_accuracy while training: it must be the one objective"
            )
        return self


class Sweep(FrozenModel):
    """A named set of trials with its resources."""

    name: str = Field(pattern=rf"^{SWEEP_NAME}$")
    description: str = Field(default="", description="what the sweep is for, in one line")
    base: dict[str, Any] = Field(default_factory=dict, description="fields of a trial that all grids start from")
    grids: tuple[dict[str, Any], ...] = Field(default=(), description="fields of trials; a list means all its values")
    search: Search | None = Field(default=None, description="what to look for, in place of grids")
    seeds: AdaptiveSeeds | None = Field(
        default=None, description="seeds that grow where they are needed, in place of seed"
    )
    figures: dict[str, int] = Field(
        default_factory=dict, description="included sweeps: how many of the grids, from the first on, each brought"
    )
    order: Literal["figures", "longest", "file"] = Field(
        default="figures", description="figures: the cheapest included sweep first; longest: trials; file: as written"
    )
    resources: Resources = Field(default=Resources(), description="what one trial occupies while it runs")
    allow_undertrained: bool = Field(
        default=False, description="claims are judged on under-trained networks too, and say so"
    )
    most_runs: int = Field(
        default=100_000, ge=1, description="runs that its trials may be and ask for; more are taken for a mistake"
    )
    retries: int = Field(default=2, ge=0, description="times that a trial that failed by itself is tried again")
    source: str | None = Field(default=None, description="file whose name the sweep bears; None if it names itself")

    @model_validator(mode="after")
    def _grids_or_search(self) -> Sweep:
        if bool(self.grids) == bool(self.search):
            raise SpecError("grids", "a sweep has grids (its own or included ones) or a search, one of the two")
        return self

    @model_validator(mode="after")
    def _seeds_are_stated_once(self) -> Sweep:
        if self.seeds and self.search:
            raise SpecError("seeds", "only the points of grids are compared with dense; leave it out with a search")
        if self.seeds and any("seed" in part for part in (self.base, *self.grids)):
            raise SpecError("seed", "the sweep has seeds, which says how many each point gets; leave seed out")
        return self

    @model_validator(mode="after")
    def _figures_have_their_grids(self) -> Sweep:
        if any(count < 0 for count in self.figures.values()) or sum(self.figures.values()) > len(self.grids):
            raise SpecError("figures", f"they bring {self.figures}, there are {len(self.grids)} grids")
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
            raise ValueError(f"{what}, more than most_runs, {self.most_runs:,}. Raise that if so many are meant.")

    @cached_property
    def trials_by_grid(self) -> tuple[dict[str, TrialSpec], ...]:
        """The trials of each grid by id, in the order of the file; SweepError if one of them cannot be."""
        cells = tuple(self._cells(number, grid) for number, grid in enumerate(self.grids))
        runs = sum(1 + trial.difficulty.num_scoring_runs(trial) for trials in cells for trial in trials.values())
        try:
            self._refuse_too_many(f"grids: {runs:,} runs, with those that score samples for each trial", runs)
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
        """The trials of all grids by id, each once."""
        return {run: trial for cells in self.trials_by_grid for run, trial in cells.items()}

    @property
    def trials_by_figure(self) -> list[list[str]]:
        """Ids of the trials of each included sweep, and last those of the sweep's own grids."""
        left = iter(self.trials_by_grid)
        counts = [*self.figures.values(), len(self.grids)]
        return [[run for cells in islice(left, count) for run in cells] for count in counts]

    @property
    def effective_base(self) -> dict[str, Any]:
        """What every grid starts from."""
        return self.base if self.seeds is None else {**self.base, "seed": self.seeds.numbers(self.seeds.start)}

    @property
    def candidate_datasets(self) -> list[Dataset]:
        """The data sets that a search can choose."""
        spaces = [] if self.search is None else self.search.space
        parts = [self.base, *(spaces if isinstance(spaces, list) else [spaces])]
        chosen = [cell for part in parts if "dataset" in part for cell in expand(part["dataset"], ("dataset",))]
        return [datasets.parse(cell) for cell in chosen]

    def dump(self) -> str:
        """YAML from which :func:`parse_sweep` makes the same sweep."""
        return plain_yaml.dump(self.model_dump(mode="json", by_alias=True))


def parse_sweep(
    text: str, name: str, overrides: Sequence[str] = (), source: str | None = None, including: tuple[str, ...] = ()
) -> Sweep:
    """The sweep that the YAML ``text`` describes, called ``name`` if it does not name itself.

    ``overrides``: ``path=value`` strings, the value in YAML (so it may be a list); ``source``: the file of the text,
    None for a text that was dumped; ``including``: the files through which it is included. SweepError if anything is
    wrong, a trial of the sweep included.
    """
    try:
        content = plain_yaml.load(text)
    except YAMLError as error:
        raise SweepError(f"{name}: {error}") from None
    if not isinstance(content, dict):
        raise SweepError(f"{name}: a sweep is a mapping with {', '.join(Sweep.model_fields)}; got {shown(content)}")
    names_itself = "name" in content
    content = {"name": name, **content}
    for field, kind, words in (("base", dict, "a mapping of fields"), ("grids", list, "a list of mappings")):
        if content.get(field) is None:
            content[field] = kind()
        elif not isinstance(content[field], kind):
            raise SweepError(f"{name}: {field}: {words}, got {shown(content[field])}")
    content |= with_included(content, name, including)
    content.pop("include", None)
    for override in overrides:
        apply_override(content, override, list(Sweep.model_fields))
    if source is not None:
        content["source"] = None if names_itself or content["name"] != name else source
    try:
        sweep = Sweep.model_validate(content)
    except ValidationError as error:
        raise SweepError(f"{name}: {format_error(error)}") from None
    if not sweep.trials and not sweep.search:
        raise SweepError(f"{name}: grids: they hold no trial: an empty list stands for no value")
    return sweep


def with_included(content: Mapping[str, Any], name: str, including: tuple[str, ...]) -> dict[str, Any]:
    """``grids`` and ``figures`` with those of the sweeps that ``include`` names: what is run is written out in full."""
    names = content.get("include") or []
    if not isinstance(names, list) or not all(isinstance(other, str) for other in names):
        raise SweepError(f"{name}: include: a list of sweeps, got {shown(names)}")
    if name in names:
        raise SweepError(f"{name}: include: {name} cannot include itself")
    if len(including) > MOST_LEVELS:
        raise SweepError(f"{name}: include: more than {MOST_LEVELS} sweeps that include one another")
    others = [read_sweep(other, including=including) for other in names]
    if searching := [other.name for other in others if other.search]:
        raise SweepError(f"{name}: include: {searching[0]} is a search, which has no grids to add")
    if grown := [other.name for other in others if other.seeds and not content.get("seeds")]:
        raise SweepError(f"{name}: include: {grown[0]} has seeds that grow; give this sweep seeds of its own")
    grids = [merge(other.base, grid) for other in others for grid in other.grids]
    if len(grids) > MOST_GRIDS:
        raise SweepError(f"{name}: include: {len(grids):,} grids, at most {MOST_GRIDS:,}")
    figures = {other.name: len(other.grids) for other in others}
    return {"grids": [*grids, *content["grids"]], **({"figures": figures} if figures else {})}


def built_in() -> dict[str, Path]:
    """The sweep files that come with the package, by name, fig2 before fig10."""
    folder = Path(str(package_files.files("sparsweep.tuner.sweeps")))
    paths = sorted(folder.glob("*.yaml"), key=lambda path: (path.stem.rstrip("0123456789"), len(path.stem), path.stem))
    return {path.stem: path for path in paths}


def description(path: Path) -> str:
    """What the sweep file at ``path`` says of itself; its trials are not made for it."""
    return str(plain_yaml.load(path.read_text(encoding="utf-8")).get("description", ""))


def checked(sweep: Sweep) -> Sweep:
    """``sweep``; SweepError if a method would never change its masks though it should, or a search cannot end well."""
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
    """The sweep called ``name``: a built-in one, or a path to a YAML file. SweepError if anything is wrong.

    ``including``: the files through which it is included.
    """
    path = built_in().get(name) or Path(name)
    try:
        place = str(path.resolve())
        text = read_user_text(place)
    except FileNotFoundError:
        raise SweepError(f"{unknown_choice('sweep', name, built_in())}, or give the path of a YAML file") from None
    except (OSError, ValueError, RuntimeError) as error:  # a RuntimeError: links that lead in a circle
        raise SweepError(f"{shortened(name)}: cannot be read: {shortened(str(error))}") from None
    if place in including:
        raise SweepError(f"{name}: include: it includes itself, in the end")
    source = BUILT_IN if name in built_in() else place
    return checked(parse_sweep(text, path.stem, overrides, source, (*including, place)))
