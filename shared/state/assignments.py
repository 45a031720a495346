"""Who is assigned to the enterprise application, directly or through a group: the last complete picture.

One row per assigned principal with its app roles. A picture has a generation; a row of an older one is somebody who is no
longer assigned. Whether there is a picture at all is a row of its own: without one nobody may be taken for unassigned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.state.joins import bucket
from shared.state.tables import Operation, row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.events import Kind
    from shared.state.tables import Tables

_TABLE = "assignments"
_PICTURE = ("picture", "picture")


@dataclass(frozen=True, slots=True)
class Picture:
    """The last complete one. ``groups``: assigned groups, whose members are assigned through them."""

    generation: int = 0
    groups: tuple[str, ...] = ()


class Assignments:
    """Read and replace the picture."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def picture(self) -> Picture:
        found = await self._tables.get(_TABLE, *_PICTURE)
        if found is None:
            return Picture()
        return Picture(int(found["generation"]), tuple(json.loads(str(found["groups"]))))

    async def roles(self, kind: Kind, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The app roles of those who are assigned; who is not is left out."""
        rows = await self._tables.get_many(_TABLE, [(f"{kind}-{bucket(object_id)}", object_id) for object_id in ids])
        return {
            object_id: tuple(json.loads(str(found["roles"])))
            for object_id, found in zip(ids, rows, strict=True)
            if found is not None
        }

    async def all(self, kind: Kind) -> dict[str, tuple[str, ...]]:
        condition = "PartitionKey ge @first and PartitionKey lt @last"
        rows = await self._tables.query(_TABLE, condition, {"first": f"{kind}-", "last": f"{kind}."})
        return {str(found["RowKey"]): tuple(json.loads(str(found["roles"]))) for found in rows}

    async def write(self, kind: Kind, roles: Mapping[str, Sequence[str]]) -> None:
        operations = [
            Operation("upsert", row(f"{kind}-{bucket(object_id)}", object_id, roles=json.dumps(sorted(names))))
            for object_id, names in roles.items()
        ]
        await self._tables.apply(_TABLE, operations)

    async def remove(self, kind: Kind, ids: Iterable[str]) -> None:
        for object_id in ids:
            await self._tables.delete(_TABLE, f"{kind}-{bucket(object_id)}", object_id)

    async def finish(self, picture: Picture) -> None:
        groups = json.dumps(list(picture.groups))
        await self._tables.upsert(_TABLE, row(*_PICTURE, generation=picture.generation, groups=groups))
