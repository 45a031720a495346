"""The subscriptions that the app holds at Microsoft Graph: one row per resource.

``state_hash`` is a hash of the secret that the subscription was made with: another secret needs another subscription.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.state.leases import moment
from shared.state.tables import Exists, Stale, row

if TYPE_CHECKING:
    from shared.state.tables import Tables

_TABLE = "subscriptions"
_PARTITION = "graph"
_TURN = ("turn", "turn")


@dataclass(frozen=True, slots=True)
class HeldSubscription:
    """One subscription: ``resource`` is ``users`` or ``groups``. ``error`` is the last failure to make or renew it."""

    resource: str
    id: str
    url: str
    state_hash: str
    expires_at: datetime | None
    error: str = ""


class HeldSubscriptions:
    """Read and write them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def all(self) -> list[HeldSubscription]:
        rows = await self._tables.query(_TABLE, "PartitionKey eq @partition", {"partition": _PARTITION})
        return [
            HeldSubscription(
                str(found["RowKey"]),
                str(found["id"]),
                str(found["url"]),
                str(found["state_hash"]),
                moment(found["expires_at"]),
                str(found["error"]),
            )
            for found in rows
        ]

    async def write(self, held: HeldSubscription) -> None:
        expires = held.expires_at.isoformat() if held.expires_at else ""
        properties = row(
            _PARTITION,
            held.resource,
            id=held.id,
            url=held.url,
            state_hash=held.state_hash,
            expires_at=expires,
            error=held.error,
        )
        await self._tables.upsert(_TABLE, properties)

    async def remove(self, resource: str) -> None:
        await self._tables.delete(_TABLE, _PARTITION, resource)

    async def take_turn(self, at: datetime, seconds: float) -> bool:
        """Whether it is ours to make and renew subscriptions for some seconds: two workers at once would make two of each."""
        found = await self._tables.get(_TABLE, *_TURN)
        until = row(*_TURN, until=(at + timedelta(seconds=seconds)).isoformat())
        try:
            if found is None:
                await self._tables.insert(_TABLE, until)
            else:
                taken_until = moment(found["until"])
                if taken_until is not None and taken_until > at:
                    return False
                await self._tables.replace(_TABLE, until, str(found["etag"]))
        except (Exists, Stale):
            return False
        return True

    async def end_turn(self) -> None:
        await self._tables.delete(_TABLE, *_TURN)
