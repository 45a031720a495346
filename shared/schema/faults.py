"""What is wrong with a synchronization schema: every fault at once, each with its JSON path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.errors import TerminalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``path`` is a JSON path such as ``$.synchronizationRules[0].objectMappings[1].scope``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class SchemaFaults(TerminalError):
    """A schema that is refused whole; the running one stays."""

    code = "InvalidSchema"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        count = f"{len(faults)} faults" if len(faults) != 1 else "1 fault"
        super().__init__(
            f"the synchronization schema has {count}: " + "; ".join(str(fault) for fault in faults),
            recommended_action="Correct the listed places and put the schema again.",
        )
        self.faults = faults

    def __reduce__(self) -> tuple[object, ...]:
        return SchemaFaults, (self.faults,)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a JSON document that reads its members by type and notes a fault where one does not fit."""

    value: Any
    path: str
    faults: list[Fault] = field(default_factory=list)

    def fault(self, message: str, key: str | None = None) -> None:
        self.faults.append(Fault(f"{self.path}.{key}" if key else self.path, message))

    @property
    def members(self) -> Mapping[str, Any]:
        return self.value if isinstance(self.value, dict) else {}

    def child(self, key: str) -> Cursor | None:
        """An object member; None where it is absent or null."""
        value = self.members.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fault("must be an object", key)
            return None
        return Cursor(value, f"{self.path}.{key}", self.faults)

    def items(self, key: str) -> Iterator[Cursor]:
        """The objects of an array member; absent and null are empty."""
        value = self.members.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            self.fault("must be an array", key)
            return
        for index, item in enumerate(value):
            place = Cursor(item, f"{self.path}.{key}[{index}]", self.faults)
            if isinstance(item, dict):
                yield place
            else:
                place.fault("must be an object")

    def text(self, key: str, default: str = "") -> str:
        value = self.members.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fault("must be text", key)
            return default
        return value

    def optional_text(self, key: str) -> str | None:
        return None if self.members.get(key) is None else self.text(key)

    def required_text(self, key: str) -> str:
        value = self.text(key)
        if not value.strip() and isinstance(self.members.get(key), str | None):
            self.fault("is missing", key)
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        value = self.members.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault("must be true or false", key)
            return default
        return value

    def integer(self, key: str, default: int = 0) -> int:
        value = self.members.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault("must be a whole number", key)
            return default
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of text; numbers and booleans in it are taken as their text."""
        value = self.members.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or any(isinstance(item, dict | list) or item is None for item in value):
            self.fault("must be an array of text", key)
            return ()
        return tuple(item if isinstance(item, str) else str(item) for item in value)

    def choice[T: str](self, key: str, allowed: tuple[T, ...], default: T) -> T:
        """One of some words, in any letter case."""
        text = self.text(key)
        if not text:
            return default
        for word in allowed:
            if word.lower() == text.lower():
                return word
        self.fault(f'"{text}" is not one of {", ".join(allowed)}', key)
        return default
