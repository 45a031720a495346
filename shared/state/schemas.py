"""The synchronization schemas that were ever active, and which one is.

| row | holds |
|---|---|
| ``active`` / ``active`` | the version in use, its number in the sequence of activations, and when |
| ``active`` / ``history-{number}`` | each activation, written together with the row above |
| ``version-{version}`` / ``document`` | the JSON text, compressed and cut over properties: one does not hold an export |

A version is a hash of the content, so that putting a schema back finds its row again.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.state.leases import moment
from shared.state.tables import Exists, Operation, Stale, row

if TYPE_CHECKING:
    from datetime import datetime

    from shared.state.tables import Tables

_TABLE = "schemas"
_ACTIVE = "active"
_DOCUMENT = "document"
#: A property holds 32 Ki characters.
_PART = 30_000
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Activation:
    """One time that a version became the active one. ``number`` counts up from 1."""

    version: str
    number: int
    at: datetime | None
    etag: str = ""


class Schemas:
    """Read and replace the active schema."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def active(self) -> Activation | None:
        """Which version is active; None before the first start."""
        found = await self._tables.get(_TABLE, _ACTIVE, _ACTIVE)
        if found is None:
            return None
        return Activation(str(found["version"]), int(found["number"]), moment(found.get("at")), str(found["etag"]))

    async def history(self) -> list[Activation]:
        """All activations, the newest first."""
        condition = "PartitionKey eq @partition and RowKey gt @after"
        rows = await self._tables.query(_TABLE, condition, {"partition": _ACTIVE, "after": "history-"})
        found = [Activation(str(row["version"]), int(row["number"]), moment(row.get("at"))) for row in rows]
        return sorted(found, key=lambda activation: activation.number, reverse=True)

    async def document(self, version: str) -> str | None:
        """The JSON text of a version, or None if it was never put."""
        found = await self._tables.get(_TABLE, f"version-{version}", _DOCUMENT)
        if found is None:
            return None
        packed = "".join(str(found[f"part_{number}"]) for number in range(int(found["parts"])))
        return zlib.decompress(base64.b64decode(packed)).decode()

    async def seed(self, version: str, document: str, at: datetime) -> Activation:
        """Make this the active version if there is none yet; the active one comes back."""
        await self._keep(version, document)
        await self._activate(None, version, at)
        found = await self.active()
        if found is None:
            raise Stale("the active schema was deleted while the app started")
        return found

    async def activate(self, version: str, document: str, at: datetime) -> Activation:
        """Make this the active version, whichever was. The document is there before anybody is told of it."""
        await self._keep(version, document)
        for _ in range(_ATTEMPTS):
            before = await self.active()
            if before is not None and before.version == version:
                return before
            if await self._activate(before, version, at):
                return Activation(version, before.number + 1 if before else 1, at)
        raise Stale("the active schema is changed by too many at once")

    async def _activate(self, before: Activation | None, version: str, at: datetime) -> bool:
        number = before.number + 1 if before else 1
        properties = {"version": version, "number": number, "at": at.isoformat()}
        active = row(_ACTIVE, _ACTIVE, **properties)
        head = Operation("replace", active, before.etag) if before else Operation("insert", active)
        try:
            await self._tables.transact(_TABLE, [head, Operation("upsert", row(_ACTIVE, f"history-{number:08d}", **properties))])
        except (Stale, Exists):
            return False
        return True

    async def _keep(self, version: str, document: str) -> None:
        packed = base64.b64encode(zlib.compress(document.encode(), 9)).decode()
        parts = [packed[start : start + _PART] for start in range(0, len(packed), _PART)]
        properties = {f"part_{number}": part for number, part in enumerate(parts)}
        await self._tables.upsert(_TABLE, row(f"version-{version}", _DOCUMENT, parts=len(parts), **properties))
