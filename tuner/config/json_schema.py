"""JSON Schema of sweep files, for completion and checks in editors. Generated from the classes that parse the files.

An editor checks names, types and bounds. ``sparsweep plan`` also checks what depends on several fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from sparsweep.trainables.difficulties.shifts import Shifts
from sparsweep.trainables.specs.parts import Part, registry_of
from sparsweep.trainables.specs.recipe import RECIPE_PRESETS, Recipe
from sparsweep.trainables.specs.trial import Evaluation, TrialSpec
from sparsweep.tuner.config.sweep import SWEEP_NAME, Sweep

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
RANGE: Schema = {
    "type": "object",
    "description": "every value from one end to the other; in a search: an interval",
    "properties": {**{key: {"type": "number"} for key in ("from", "to", "step")}, "log": {"type": "boolean"}},
    "required": ["from", "to"],
    "additionalProperties": False,
}
BASES: dict[Part, str] = {
    "dataset": "DatasetSpec",
    "model": "ModelSpec",
    "sparsifier": "SparsifierSpec",
    "difficulty": "DifficultySpec",
}
"""Definition that pydantic refers to for a field with a registered part."""


def sweep_schema() -> Schema:
    """Return the JSON Schema of a sweep file. It knows the methods of loaded plug-ins."""
    sweep, of_sweep = _split(Sweep)
    fields, of_trial = _split(TrialSpec)
    definitions = {
        **of_sweep,
        **of_trial,
        **_registered(),
        **_nested(of_trial),
        "Search": _search(of_sweep["Search"]),
        "Difficulty": {"$ref": "#/$defs/DifficultySpec"},
        "range": RANGE,
        "cell": _object(TrialSpec, fields, optional=True),
    }
    return {
        "$schema": DIALECT,
        "title": "sparsweep sweep file",
        "type": "object",
        "additionalProperties": False,
        "properties": _sweep_fields(sweep),
        "$defs": _without_titles(definitions),
    }


def _sweep_fields(fields: Schema) -> Schema:
    """Return the fields of a sweep file. ``fields`` are those of the class, whose trials are plain mappings."""
    cell = {"$ref": "#/$defs/cell"}
    written = {name: field for name, field in fields.items() if name not in ("source", "figures")}
    written["name"] = {"type": "string", "pattern": f"^{SWEEP_NAME}$", "description": "default: name of the file"}
    written["base"] = {**cell, "description": fields["base"]["description"]}
    written["grids"] = {"type": "array", "items": cell, "description": fields["grids"]["description"]}
    included = "sweeps whose grids are added: names of built-in sweeps, or paths"
    written["include"] = {"type": "array", "items": {"type": "string"}, "description": included}
    return _without_titles(written)


def _split(cls: type[BaseModel]) -> tuple[Schema, Schema]:
    """Return the fields of a class and the definitions that they refer to."""
    schema = cls.model_json_schema(by_alias=True)
    return schema.get("properties", {}), schema.get("$defs", {})


def _object(cls: type[BaseModel], fields: Schema, optional: bool = False, **more: Schema) -> Schema:
    """Return the schema of a mapping whose values may be lists or ranges of values.

    Args:
        cls: The class of the mapping.
        fields: Schemas of its fields.
        optional: Whether all fields can be left out. Otherwise ``name`` is required.
        **more: Schemas of further fields.
    """
    varied = {name: field if name == "name" else _varied(field) for name, field in fields.items()}
    about = (cls.__doc__ or "").strip().partition("\n")[0]
    required = {} if optional else {"required": ["name"]}
    return {"type": "object", "description": about, "properties": {**varied, **more}, **required} | {
        "additionalProperties": False
    }


def _varied(field: Schema) -> Schema:
    """Return the schema of one value of ``field``, a list of such values, or a range."""
    outer: Schema = {key: field[key] for key in ("description", "default") if key in field}
    value = {key: part for key, part in field.items() if key not in outer}
    if not value.keys() - {"title"}:  # any value
        return field
    ranges = [{"$ref": "#/$defs/range"}] if _is_number(value) else []
    return {**outer, "anyOf": [value, {"type": "array", "items": value}, *ranges]}


def _is_number(value: Schema) -> bool:
    kinds = [value, *value.get("anyOf", [])]
    return any(kind.get("type") in ("number", "integer") for kind in kinds)


def _registered() -> Schema:
    """Return the definitions of the four registered parts, and what their fields refer to."""
    parts: Schema = {}
    others: Schema = {}
    for part in get_args(Part):
        registry, names = registry_of(part), registry_of(part).names()
        objects = []
        for name in names:
            fields, more = _split(registry[name])
            others |= more
            fields["name"] = {"const": name}
            objects.append(_object(registry[name], fields))
        several = {"type": "object", "properties": {"name": _names(names)}, "required": ["name"]}
        parts[BASES[part]] = {"anyOf": [{"enum": names}, *objects, several]}
    return others | parts


def _names(names: Iterable[str]) -> Schema:
    return {"type": "array", "items": {"enum": list(names)}}


def _nested(definitions: Mapping[str, Any]) -> Schema:
    """Return the definitions of the recipe, the evaluation and the shifted test images."""
    preset = {"enum": list(RECIPE_PRESETS), "description": "named set of values that the other fields override"}
    recipe = _object(Recipe, definitions["Recipe"]["properties"], optional=True, preset=_varied(preset))
    shifts, _ = _split(Shifts)
    return {
        "Recipe": {"anyOf": [{"enum": list(RECIPE_PRESETS)}, recipe]},
        "Evaluation": _object(Evaluation, definitions["Evaluation"]["properties"], optional=True),
        "ShiftsSpec": _object(Shifts, shifts, optional=True),
    }


def _search(search: Schema) -> Schema:
    """Return the definition of a search, whose space has the fields of a trial."""
    cell = {"$ref": "#/$defs/cell"}
    space = {**search["properties"]["space"], "anyOf": [cell, {"type": "array", "items": cell}]}
    return {**search, "properties": {**search["properties"], "space": space}}


def _without_titles(schema: Any) -> Any:
    """Return ``schema`` without the titles of pydantic, which repeat the names of the fields."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    is_title = isinstance(schema.get("title"), str)
    return {key: _without_titles(part) for key, part in schema.items() if not (key == "title" and is_title)}
