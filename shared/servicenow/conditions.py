"""Predicates on rows: how each is written in the platform's query grammar, and how a returned row is tested against it.

``^OR`` binds only to the one condition before it, so a predicate is kept as OR of groups (``^NQ``) of AND (``^``) of clauses of
OR (``^OR``). Source: ServiceNow documentation, "Operators available for filters and queries", "Encoded query strings".
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from shared.servicenow.collation import collates, fold

if TYPE_CHECKING:
    from collections.abc import Mapping

type Row = Mapping[str, str]


class Condition(ABC):
    """A predicate on rows of one table."""

    __slots__ = ()

    @property
    @abstractmethod
    def groups(self) -> tuple[Group, ...]:
        """The predicate as OR of groups, a group as AND of clauses, a clause as OR of comparisons."""

    @property
    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The columns that must be in a row for it to be tested."""

    @abstractmethod
    def admits(self, row: Row) -> bool:
        """Whether the instance may return this row for what :meth:`encode` wrote."""

    @abstractmethod
    def matches(self, row: Row) -> bool:
        """Whether the row is what was meant, by the platform's collation."""

    @abstractmethod
    def matches_exactly(self, row: Row) -> bool:
        """Whether the row is what was meant, character by character."""

    def encode(self) -> str:
        """The encoded query, not yet quoted for a URL."""
        return "^NQ".join("^".join("^OR".join(c.text for c in clause) for clause in group) for group in self.groups)


class Comparison(Condition):
    """One column against one value or list."""

    __slots__ = ()
    column: str

    @property
    def groups(self) -> tuple[Group, ...]:
        return (((self,),),)

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({self.column})

    @property
    @abstractmethod
    def text(self) -> str:
        """The comparison in the query grammar."""

    def admits(self, row: Row) -> bool:
        return self.matches(row)


type Clause = tuple[Comparison, ...]
type Group = tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Equals(Comparison):
    column: str
    value: str

    @property
    def text(self) -> str:
        return f"{self.column}={self.value}"

    def matches(self, row: Row) -> bool:
        return collates(row.get(self.column, ""), self.value)

    def matches_exactly(self, row: Row) -> bool:
        return row.get(self.column) == self.value


@dataclass(frozen=True, slots=True)
class IsEmpty(Comparison):
    column: str

    @property
    def text(self) -> str:
        return f"{self.column}ISEMPTY"

    def matches(self, row: Row) -> bool:
        return row.get(self.column, "") == ""

    def matches_exactly(self, row: Row) -> bool:
        return self.matches(row)


@dataclass(frozen=True, slots=True)
class OneOf(Comparison):
    column: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.column}IN{','.join(self.values)}"

    def matches(self, row: Row) -> bool:
        found = row.get(self.column, "")
        return found in self.values or any(collates(found, value) for value in self.values)

    def matches_exactly(self, row: Row) -> bool:
        return row.get(self.column) in self.values


@dataclass(frozen=True, slots=True)
class After(Comparison):
    column: str
    value: str

    @property
    def text(self) -> str:
        return f"{self.column}>{self.value}"

    def matches(self, row: Row) -> bool:
        # Collations differ on whether "_" sorts before or after letters; either order is admitted.
        found = row.get(self.column, "")
        return found.upper() > self.value.upper() or found.lower() > self.value.lower()

    def matches_exactly(self, row: Row) -> bool:
        return row.get(self.column, "") > self.value


@dataclass(frozen=True, slots=True)
class StartsWith(Comparison):
    column: str
    value: str

    @property
    def text(self) -> str:
        return f"{self.column}STARTSWITH{self.value}"

    def admits(self, row: Row) -> bool:
        # The database may read "_" and "%" in the value as wildcards, which only widens the answer.
        pattern = "".join({"_": ".", "%": ".*"}.get(c, re.escape(c)) for c in fold(self.value))
        return re.match(pattern, fold(row.get(self.column, "")), re.DOTALL) is not None

    def matches(self, row: Row) -> bool:
        return fold(row.get(self.column, "")).startswith(fold(self.value))

    def matches_exactly(self, row: Row) -> bool:
        return row.get(self.column, "").startswith(self.value)


@dataclass(frozen=True, slots=True)
class Widened(Comparison):
    """Asks for rows that contain ``part``, means rows whose column equals ``value``."""

    column: str
    value: str
    part: str

    @property
    def text(self) -> str:
        return f"{self.column}LIKE{self.part}"

    def admits(self, row: Row) -> bool:
        return fold(self.part) in fold(row.get(self.column, ""))

    def matches(self, row: Row) -> bool:
        return collates(row.get(self.column, ""), self.value)

    def matches_exactly(self, row: Row) -> bool:
        return row.get(self.column) == self.value


@dataclass(frozen=True, slots=True)
class _Combined(Condition):
    parts: tuple[Condition, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset().union(*(part.columns for part in self.parts))


@dataclass(frozen=True, slots=True)
class AllOf(_Combined):
    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(tuple(clause for group in choice for clause in group) for choice in product(*(p.groups for p in self.parts)))

    def admits(self, row: Row) -> bool:
        return all(part.admits(row) for part in self.parts)

    def matches(self, row: Row) -> bool:
        return all(part.matches(row) for part in self.parts)

    def matches_exactly(self, row: Row) -> bool:
        return all(part.matches_exactly(row) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf(_Combined):
    @property
    def groups(self) -> tuple[Group, ...]:
        simple = [part for part in self.parts if isinstance(part, Comparison)]
        if len(simple) == len(self.parts):
            # ^OR binds to the one condition before it, so a run of comparisons is one clause; anything more needs ^NQ.
            return ((tuple(simple),),)
        return tuple(group for part in self.parts for group in part.groups)

    def admits(self, row: Row) -> bool:
        return any(part.admits(row) for part in self.parts)

    def matches(self, row: Row) -> bool:
        return any(part.matches(row) for part in self.parts)

    def matches_exactly(self, row: Row) -> bool:
        return any(part.matches_exactly(row) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Everything(Condition):
    @property
    def groups(self) -> tuple[Group, ...]:
        return ((),)

    @property
    def columns(self) -> frozenset[str]:
        return frozenset()

    def admits(self, row: Row) -> bool:  # noqa: ARG002  every row of the table was asked for
        return True

    def matches(self, row: Row) -> bool:  # noqa: ARG002  as above
        return True

    def matches_exactly(self, row: Row) -> bool:  # noqa: ARG002  as above
        return True
