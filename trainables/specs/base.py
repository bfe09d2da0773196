"""Frozen, validated values, and registries of them by name.

Everything a trial is made of is such a value: it cannot change, it refuses what it does not know, and its
JSON form is complete (defaults included), so that a hash of it identifies a trial for ever.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Collection, Iterable, Mapping
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)


class SpecError(ValueError):
    """A field of a specification is wrong.

    Attributes:
        path: Dotted path of the field, from the value that is validated. Empty for the value itself.
        reason: What is wrong with it, with the value and the choices.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.reason = path, reason

    def moved(self, old: str, new: str) -> SpecError:
        """Return the error with ``new`` in place of the beginning ``old`` of its path."""
        inside = self.path == old or self.path.startswith(f"{old}.")
        return SpecError(new + self.path[len(old) :], self.reason) if inside else self


HASH_CONTEXT = {"for": "id"}
"""Serialisation context in which a value leaves out what says where something lies and not what it is."""


class FrozenModel(BaseModel):
    """A frozen value whose unknown fields are refused by name, with the fields there are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def summary(cls) -> str:
        """First line of the class's docstring, for listings; empty if it has none."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            fields = [info.alias or name for name, info in cls.model_fields.items()]
            for field in data:
                if field not in fields:
                    raise SpecError("", unknown_choice("field", field, fields))
        return data


class FileBacked(FrozenModel):
    """A value with fields that are not always part of it.

    ``path_fields`` names those that say where something lies on a machine: a digest among the other fields says what
    lies there. :attr:`idle` names those that change nothing.
    """

    path_fields: ClassVar[frozenset[str]] = frozenset()

    @property
    def idle(self) -> frozenset[str]:
        """Fields that change nothing, given the others. They hold their defaults and are left out of the JSON form."""
        return frozenset()

    @model_serializer(mode="wrap")
    def _without_idle_fields(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        left_out = self.idle | self.path_fields if info.context == HASH_CONTEXT else self.idle
        return {name: value for name, value in serialize(self).items() if name not in left_out}


class HashableDict(dict[str, float]):
    """A field's mapping of names to numbers, which can be hashed since nothing changes it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class NamedSpec(FrozenModel):
    """A value with a ``name``; subclasses narrow it to one literal with that literal as the default."""

    name: str


MAX_SHOWN = 200
"""Characters of a value or a reason that a message shows."""


def shortened(text: str) -> str:
    """Return ``text`` as one line of at most :data:`SHOWN` characters."""
    line = " ".join(text[: 4 * MAX_SHOWN].split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 4]} ..."


def shown(value: object) -> str:
    """Return ``value`` as messages show it: on one line, cut where it is long, whatever it is."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # a number of more digits than Python writes; what holds itself
        return f"a very long {type(value).__name__}"


def unknown_choice(kind: str, given: object, choices: Iterable[str]) -> str:
    """Say that ``given`` is not one of ``choices``, and which of them was probably meant."""
    names = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(given)[:MAX_SHOWN], names, n=1) if isinstance(given, str) else []
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown {kind} {shown(given)}{hint}; choose from {', '.join(names)}"


T = TypeVar("T", bound=NamedSpec)


class Registry(Generic[T]):
    """The classes of one kind by name: ``registry["set"]``, ``registry.parse("set")``, ``registry.parse({...})``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator: make ``cls`` known under the default of its ``name`` field."""
        name = cls.model_fields["name"].default
        if not isinstance(name, str):
            raise TypeError(f"{cls.__name__}.name must have a default: the name it registers under")
        known = self._classes.get(name, cls)  # a module that is imported again registers its classes again
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"two classes register as {self.kind} {name!r}")
        self._classes[name] = cls
        return cls

    def names(self) -> list[str]:
        return sorted(self._classes)

    def __getitem__(self, name: str) -> type[T]:
        return self._classes[name]

    def parse(self, value: Any) -> T:
        """Build a value from a name, a mapping with ``name``, or the value itself; ValueError if there is no such."""
        if isinstance(value, NamedSpec):
            return value  # type: ignore[return-value]
        fields = dict(value) if isinstance(value, Mapping) else {"name": value}
        name = fields.get("name")
        if not isinstance(name, str) or name not in self._classes:
            raise SpecError("", unknown_choice(self.kind, name, self.names()))
        try:
            return self._classes[name].model_validate(fields)
        except ValidationError as error:
            raise SpecError(*first_error(error)) from None

    def load_all(self, package: ModuleType, leave_out: Collection[str] = ()) -> None:
        """Import the modules of ``package``, so that a new file registers its class. ``leave_out``: names of others."""
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if module.name.rpartition(".")[-1] not in leave_out:
                importlib.import_module(module.name)

    def cast(self, value: NamedSpec) -> T:
        """Return ``value``, which is of this kind, under its full type."""
        return cast(T, value)


def first_error(error: ValidationError) -> tuple[str, str]:
    """Path and reason of the first problem in ``error``, e.g. ``("recipe.epochs", "... (got 0)")``."""
    problem = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        return ".".join(part for part in (path, cause.path) if part), cause.reason
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in {"value_error", "missing"}:
        return path, reason
    return shortened(path), f"{reason} (got {shown(problem['input'])})"


def format_error(error: ValidationError) -> str:
    """One line for the first problem in ``error``."""
    path, reason = first_error(error)
    return f"{path}: {reason}" if path else reason
