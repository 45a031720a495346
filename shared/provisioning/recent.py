"""Links of users as they were a few seconds ago: enough for the members of a full round, which come by the hundred.

A slice of a group would otherwise read a hundred joins, most of which the slice before it has read. What may go wrong is mended
by design: whoever loses his link has his memberships looked at once more after the time for which a link is believed here
(``following.AFTERWARDS``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.provisioning.following import AFTERWARDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.provisioning.services import Services
    from shared.state.joins import Join

_BELIEVED = timedelta(seconds=AFTERWARDS - 2.0)
#: Links kept at the most; the memory of one is under a kilobyte.
_KEPT = 50_000


class RecentLinks:
    """Joins of users, read once in a while."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[str, tuple[datetime, Join]] = {}

    async def of_users(self, ids: Sequence[str]) -> dict[str, Join]:
        """The joins of these users; linked ones may be some seconds old, all others are read now."""
        at = self._services.clock()
        found = {
            object_id: known[1]
            for object_id in ids
            if (known := self._known.get(object_id)) is not None and at - known[0] < _BELIEVED
        }
        unread = [object_id for object_id in ids if object_id not in found]
        for join in await self._services.joins.get_many("user", unread):
            found[join.object_id] = join
            if join.is_linked:
                self._known[join.object_id] = (at, join)
        if len(self._known) > _KEPT:
            self._known = {object_id: known for object_id, known in self._known.items() if at - known[0] < _BELIEVED}
        return found
