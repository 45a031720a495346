"""How far each chain has come: the one truth about a cycle.

A watermark moves by compare-and-set, under its own generation, after everything of its page is durably queued. ``link`` is the
next link while a round runs and the delta link between rounds. A second chain, a restart or a changed mapping raises the
generation; whoever still works for the old one finds it gone and ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from shared.errors import UnavailableError
from shared.events import new_id
from shared.state.leases import moment
from shared.state.tables import Exists, Stale, row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.events import Chain
    from shared.state.tables import Tables

_TABLE = "watermarks"
_PARTITION = "chain"
#: A text property holds 64 KiB of UTF-16, 32 Ki characters; a link longer than that is cut over several properties.
_LINK_PART = 30_000

#: ``reading``: pages are being read. ``settling``: a full round is read, its events are not all processed yet.
#: ``idle``: between rounds.
Phase = Literal["idle", "reading", "settling"]


@dataclass(frozen=True, slots=True)
class Watermark:
    """One chain's row, as read. ``generation`` 0 means that the chain never ran."""

    chain: Chain
    generation: int = 0
    page: int = 0
    link: str = ""
    phase: Phase = "idle"
    full: bool = False
    #: A full round is to be started as soon as it may be.
    wants_full: bool = False
    #: Another round is to follow this one at once: something changed after its pages may have been read.
    again: bool = False
    #: One more round is to follow after Graph's replicas have had time to agree.
    repeat: bool = False
    #: Hash of what the delta link was asked for: another selection needs another link.
    selection: str = ""
    cycle_id: str = ""
    started_at: datetime | None = None
    heartbeat: datetime | None = None
    finished_at: datetime | None = None
    full_finished_at: datetime | None = None
    #: Generation of the last full round that was completed.
    complete: int = 0
    #: Of the move that made the row: whoever got no answer to his own finds it by this.
    move_id: str = ""
    etag: str = ""


class Watermarks:
    """Read and move watermarks."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, chain: Chain) -> Watermark:
        found = await self._tables.get(_TABLE, _PARTITION, chain)
        return Watermark(chain) if found is None else _from_row(chain, found)

    async def move(self, before: Watermark, **changes: Any) -> Watermark | None:
        """Compare and set; None when somebody else moved it since it was read.

        A chain whose move was made and not answered would have nobody to carry it: so we look whether it was.
        """
        after = replace(before, **changes, move_id=new_id())
        try:
            if before.etag:
                etag = await self._tables.replace(_TABLE, _to_row(after), before.etag)
            else:
                etag = await self._tables.insert(_TABLE, _to_row(after))
        except (Stale, Exists):
            return await self._as_made(after)
        except UnavailableError:
            made = await self._as_made(after)
            if made is None:
                raise
            return made
        return replace(after, etag=etag)

    async def _as_made(self, wanted: Watermark) -> Watermark | None:
        """The row if it is the one that we wanted to write."""
        found = await self.get(wanted.chain)
        return found if found.move_id == wanted.move_id else None


def _to_row(mark: Watermark) -> dict[str, Any]:
    parts = [mark.link[start : start + _LINK_PART] for start in range(0, len(mark.link), _LINK_PART)]
    return row(
        _PARTITION,
        mark.chain,
        generation=mark.generation,
        page=mark.page,
        phase=mark.phase,
        full=mark.full,
        wants_full=mark.wants_full,
        again=mark.again,
        repeat=mark.repeat,
        selection=mark.selection,
        cycle_id=mark.cycle_id,
        complete=mark.complete,
        move_id=mark.move_id,
        link_parts=len(parts),
        **{f"link_{number}": part for number, part in enumerate(parts)},
        **{
            name: value.isoformat()
            for name in ("started_at", "heartbeat", "finished_at", "full_finished_at")
            if (value := getattr(mark, name)) is not None
        },
    )


def _from_row(chain: Chain, found: Mapping[str, Any]) -> Watermark:
    return Watermark(
        chain=chain,
        generation=int(found["generation"]),
        page=int(found["page"]),
        link="".join(str(found[f"link_{number}"]) for number in range(int(found["link_parts"]))),
        phase=found["phase"],
        full=bool(found["full"]),
        wants_full=bool(found.get("wants_full", False)),
        again=bool(found["again"]),
        repeat=bool(found["repeat"]),
        selection=str(found["selection"]),
        cycle_id=str(found["cycle_id"]),
        complete=int(found["complete"]),
        move_id=str(found.get("move_id", "")),
        started_at=moment(found.get("started_at")),
        heartbeat=moment(found.get("heartbeat")),
        finished_at=moment(found.get("finished_at")),
        full_finished_at=moment(found.get("full_finished_at")),
        etag=str(found["etag"]),
    )
