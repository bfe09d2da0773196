"""Base classes of specifications (frozen, validated values) and registries of them by name.

A trial consists only of these values. A value cannot change and rejects unknown fields. Its JSON form is complete
(defaults included), so the hash of the JSON identifies a trial permanently.
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
    """Error for an invalid field of a specification.

    Attributes:
        path: Dotted path of the field, relative to the validated value. Empty for the value itself.
        reason: The problem, with the given value and the valid choices.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.reason = path, reason

    def moved(self, old: str, new: str) -> SpecError:
        """Return this error with the path prefix ``old`` replaced by ``new``.

        Args:
            old: Dotted prefix. If the path does not start with it, the error is returned unchanged.
            new: Dotted prefix to use instead.
        """
        has_prefix = self.path == old or self.path.startswith(f"{old}.")
        return SpecError(new + self.path[len(old) :], self.reason) if has_prefix else self


HASH_CONTEXT = {"for": "id"}
"""Pydantic context for hashing: exclude file paths, keep content digests."""


class FrozenModel(BaseModel):
    """Frozen pydantic model. An unknown field raises an error that lists the valid fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the class docstring, or an empty string if there is no docstring."""
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


class PartlyHashed(FrozenModel):
    """Value with fields that are excluded from its JSON form or from its hash.

    Attributes:
        unhashed: Names of fields that do not change a training. They are excluded from the hash. One example is a file
            path: it depends on the node, and another field holds the digest of the file.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset()

    @property
    def idle(self) -> frozenset[str]:
        """Names of fields without effect, given the other fields. They are excluded from the JSON form."""
        return frozenset()

    @model_serializer(mode="wrap")
    def _without_idle_fields(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        excluded = self.idle | self.unhashed if info.context == HASH_CONTEXT else self.idle
        return {name: value for name, value in serialize(self).items() if name not in excluded}


class HashableDict(dict[str, float]):
    """Mapping of names to numbers with a hash. Fields of frozen models need one; do not modify it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class NamedSpec(FrozenModel):
    """Value with a ``name``. A subclass declares ``name`` as one literal, which is also its default."""

    name: str


MAX_SHOWN = 200
"""Maximum number of characters of a value or a reason in a message."""


def shortened(text: str) -> str:
    """Return ``text`` as one line of at most :data:`MAX_SHOWN` characters."""
    line = " ".join(text[: 4 * MAX_SHOWN].split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 4]} ..."


def shown(value: object) -> str:
    """Return the representation of any ``value`` for a message: one line, truncated if it is long."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # an integer with too many digits; a container that contains itself
        return f"a very long {type(value).__name__}"


def unknown_choice(kind: str, given: object, choices: Iterable[str]) -> str:
    """Return the message that ``given`` is not one of ``choices``, with the most similar choice.

    Args:
        kind: Noun for the choices, e.g. "field".
        given: The unknown value.
        choices: The valid names.
    """
    names = [str(choice) for choice in choices]
    matches = difflib.get_close_matches(str(given)[:MAX_SHOWN], names, n=1) if isinstance(given, str) else []
    hint = f" (did you mean {matches[0]}?)" if matches else ""
    return f"unknown {kind} {shown(given)}{hint}; choose from {', '.join(names)}"


T = TypeVar("T", bound=NamedSpec)


class Registry(Generic[T]):
    """Classes of one kind by name: ``registry["set"]``, ``registry.parse("set")``, ``registry.parse({...})``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Register ``cls`` under the default of its ``name`` field. Use as a class decorator.

        Raises:
            TypeError: The ``name`` field has no default.
            ValueError: Another class has the same name.
        """
        name = cls.model_fields["name"].default
        if not isinstance(name, str):
            raise TypeError(f"{cls.__name__}.name: no default. Set the default to the registered name.")
        known = self._classes.get(name, cls)  # a module that is imported again registers its classes again
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"name: two classes register as {self.kind} {name!r}. Rename one of them.")
        self._classes[name] = cls
        return cls

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        return sorted(self._classes)

    def __getitem__(self, name: str) -> type[T]:
        return self._classes[name]

    def parse(self, value: Any) -> T:
        """Return the value that ``value`` describes.

        Args:
            value: A registered name, a mapping with ``name`` and fields, or a value (returned unchanged).

        Raises:
            SpecError: The name is unknown, or a field is invalid.
        """
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
        """Import the modules of ``package``. Each module registers its classes.

        Args:
            package: The package to search.
            leave_out: Names of modules that are not imported.
        """
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if module.name.rpartition(".")[-1] not in leave_out:
                importlib.import_module(module.name)

    def cast(self, value: NamedSpec) -> T:
        """Return ``value`` with the static type of this registry. No check at run time."""
        return cast(T, value)


def first_error(error: ValidationError) -> tuple[str, str]:
    """Return path and reason of the first problem in ``error``, e.g. ``("recipe.epochs", "... (got 0)")``."""
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
    """Return one line for the first problem in ``error``."""
    path, reason = first_error(error)
    return f"{path}: {reason}" if path else reason
