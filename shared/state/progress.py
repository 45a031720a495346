"""How much of a full round is done: a sum over rows that a replay writes again, one per chunk of a page.

The chain announces the chunks of a page before their messages are queued, and again if it has to read the page again; a worker
announces what it leaves of a chunk when that is queued, and before the chunk is done. The worker that processed a chunk writes
the counts of its outcomes over that (``done``). A chunk processed twice counts once.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.state.tables import Exists, Operation, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.state.tables import Tables

_TABLE = "progress"


@dataclass(frozen=True, slots=True)
class Progress:
    """Sums of one round: chunks and objects announced and done, and the outcomes by name."""

    chunks: int = 0
    chunks_done: int = 0
    #: Chunks whose message the host gave up on.
    chunks_dead: int = 0
    objects: int = 0
    objects_done: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return self.chunks_done >= self.chunks

    @property
    def is_ended(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.chunks_done + self.chunks_dead >= self.chunks


class ProgressRows:
    """Announce chunks, mark them done, and add up."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def announce(self, round_key: str, chunks: Sequence[tuple[str, int]]) -> None:
        """Chunks as (key, number of objects). One that is there already, perhaps done, is left as it is."""
        operations = [Operation("insert", row(round_key, key, objects=objects, done=False)) for key, objects in chunks]
        await self._tables.apply(_TABLE, operations)

    async def announce_page(self, round_key: str, prefix: str, chunks: Sequence[tuple[str, int]]) -> None:
        """All chunks of a page, whose keys begin with ``prefix``. Nobody waits for what an earlier reading of it announced only.

        Whoever read the page before may have died before he queued it; what he did queue may be processed all the same.
        """
        condition = "PartitionKey eq @round and RowKey ge @first and RowKey lt @last and done eq false"
        parameters = {"round": round_key, "first": prefix, "last": f"{prefix}~"}
        earlier = await self._tables.query(_TABLE, condition, parameters, select=["objects"])
        mine = tuple(key for key, _ in chunks)
        for found in earlier:
            if not str(found["RowKey"]).startswith(mine):
                await self._tables.delete(_TABLE, round_key, str(found["RowKey"]))
        await self.announce(round_key, chunks)

    async def done(self, round_key: str, key: str, objects: int, outcomes: Mapping[str, int]) -> None:
        properties = row(round_key, key, objects=objects, done=True, outcomes=json.dumps(dict(outcomes)))
        await self._tables.upsert(_TABLE, properties)

    async def dead(self, round_key: str, key: str, objects: int) -> None:
        """Nobody is to wait for this chunk, unless it is done after all."""
        properties = row(round_key, key, objects=objects, done=False, dead=True)
        try:
            await self._tables.insert(_TABLE, properties)
        except Exists:
            found = await self._tables.get(_TABLE, round_key, key)
            if found is not None and not found["done"]:
                await self._tables.replace(_TABLE, properties, str(found["etag"]))

    async def sum(self, round_key: str) -> Progress:
        chunks = done = dead = objects = objects_done = 0
        outcomes: Counter[str] = Counter()
        for found in await self._tables.query(_TABLE, "PartitionKey eq @round", {"round": round_key}):
            chunks += 1
            objects += int(found["objects"])
            if found["done"]:
                done += 1
                objects_done += int(found["objects"])
                outcomes.update(json.loads(str(found.get("outcomes", "{}"))))
            elif found.get("dead"):
                dead += 1
        return Progress(chunks, done, dead, objects, objects_done, dict(outcomes))


def round_key(chain: str, generation: int) -> str:
    """The partition of one full round of a chain."""
    return f"{chain}-{generation:010d}"
