"""Profiles: they fill in fields, explicit fields override them, and every choice is also a single field."""

from __future__ import annotations

from typing import Any

import pytest

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.profiles import PROFILES, Profile
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from support.tiny_trials import create_trainer, trial

METHODS = [(profile, name) for profile, parts in PROFILES.items() for name in parts.get("sparsifier", {})]
CHOICES = [
    (profile, name, field, value)
    for profile, name in METHODS
    for field, value in PROFILES[profile]["sparsifier"][name].items()
]


def sparse(name: str, **changes: Any) -> TrialSpec:
    return trial(sparsifier=name, sparsity=0.8, **changes)


def required_fields(name: str, field: str) -> dict[str, Any]:
    """Return the other fields that ``field`` requires: sampled counts require shuffled positions."""
    return {"shuffle": True} if field == "counts" and "shuffle" in sparsifiers[name].model_fields else {}


@pytest.mark.parametrize(("profile", "name"), METHODS)
def test_profile_fills_in_its_choices(profile: Profile, name: str) -> None:
    spec = sparse(name, profile=profile)
    assert {field: getattr(spec.sparsifier, field) for field in PROFILES[profile]["sparsifier"][name]} == PROFILES[
        profile
    ]["sparsifier"][name]
    assert from_json(to_json(spec)) == spec and spec.id != sparse(name).id


@pytest.mark.parametrize(("profile", "name", "field", "value"), CHOICES)
def test_each_choice_can_be_set_as_a_single_field(profile: Profile, name: str, field: str, value: Any) -> None:
    """The field can be set in the profile ``clean``. An explicit field overrides the profile."""
    others = required_fields(name, field)
    explicit = sparse({"name": name, field: value, **others})
    assert getattr(explicit.sparsifier, field) == value
    assert explicit.id != sparse({"name": name, **others}).id
    default = sparsifiers[name].model_fields[field].default
    rest = {"counts": "exact"} if field == "shuffle" else {}
    against = sparse({"name": name, field: default, **rest}, profile=profile)
    assert getattr(against.sparsifier, field) == default


@pytest.mark.parametrize(("profile", "name"), METHODS)
def test_profiles_contain_only_values_that_differ_from_the_default(profile: Profile, name: str) -> None:
    fields = sparsifiers[name].model_fields
    for field, value in PROFILES[profile]["sparsifier"][name].items():
        assert fields[field].default != value, f"{profile}: {name}.{field} equals the default"


@pytest.mark.parametrize("name", ["random", "uniform", "snip", "random_snip", "gmp", "set"])
def test_sparsifiers_train_with_profile_authors(name: str, digits: DeviceData) -> None:
    spec = sparse(name, profile="authors", recipe={"preset": "digits", "epochs": 16}, data_ratio=1.0)
    run = create_trainer(spec, digits)
    for _ in range(16):
        run.train_epoch()
    expected = spec.sparsifier.num_active_at(run.masks.size, run.timeline.steps, spec, run.timeline)
    kept = sum(run.masks.counts().values())
    assert abs(kept - expected) <= spec.sparsifier.count_tolerance(run.masks.size, spec)
    assert run.masked_params.gradient_densities == dict.fromkeys(run.masks, 1.0), "D7: gradients are dense"
