"""Ids and types of directory objects, as they stand in urls, pages and notifications."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.errors import ProtocolError, SchemaMismatchError

type ObjectKind = Literal["user", "group"]

_OBJECT_ID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PROPERTY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A directory object that something points at. ``type`` is Graph's own word (user, group, device, servicePrincipal ...)."""

    id: str
    type: str | None


def is_object_id(value: object) -> bool:
    """Whether ``value`` is a directory object's id: a GUID in its 36-character form."""
    return isinstance(value, str) and _OBJECT_ID.fullmatch(value) is not None


def type_name(odata_type: object) -> str | None:
    """``user`` from ``#microsoft.graph.user``; notifications write ``#Microsoft.Graph.User``. None where Graph does not say."""
    if not isinstance(odata_type, str):
        return None
    name = odata_type.rpartition(".")[2].lstrip("#")
    return name[:1].lower() + name[1:] or None


def object_ref(raw: object, where: str) -> ObjectRef:
    """One row of a relation (``{@odata.type, id}``). ``where`` names the route for the error.

    Raises ProtocolError for a row without an id: it cannot be acted upon and must not vanish.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str) or not raw["id"]:
        raise ProtocolError(f"Graph sent a row without an id in {where}")
    return ObjectRef(raw["id"], type_name(raw.get("@odata.type")))


def checked_select(select: object) -> list[str]:
    """``$select`` without repeats, ``id`` first. Raises SchemaMismatchError for what cannot be a property's name."""
    names: dict[str, None] = {"id": None}
    for name in _strings(select):
        if _PROPERTY.fullmatch(name) is None:
            raise SchemaMismatchError(
                f"{name!r} is not the name of a Graph property",
                recommended_action="Correct the source attribute in the synchronization schema.",
            )
        names[name] = None
    return list(names)


def _strings(values: Any) -> list[str]:
    return [str(value) for value in values]
