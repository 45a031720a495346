"""Names of departments, locations, companies and cost centres, resolved to sys_ids by ServiceNow and kept in storage.

An answer is believed for a day if the record was found, and for a few minutes if it was not; whoever waits for a missing record
is released by the cycle's tick, which asks for all awaited names at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.servicenow.references import Ambiguous, Resolved, resolve_names
from shared.state.lookups import Lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.provisioning.services import Services

_FOUND = timedelta(days=1)
_MISSING = timedelta(minutes=10)
_DISPLAY_COLUMN = "name"


class References:
    """Look names up, in storage first."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def look_up(
        self, table: str, names: Sequence[str], *, columns: Sequence[str] = (_DISPLAY_COLUMN,), refresh: bool = False
    ) -> dict[str, Lookup]:
        """The answer for each name; ``columns`` are asked in this order until one knows it.

        ``refresh`` asks ServiceNow again for every name that is not known to be there.
        """
        services = self._services
        at = services.clock()
        known = await services.lookups.get_many(table, names)
        asked = [
            name
            for name in dict.fromkeys(names)
            if (found := known.get(name)) is None
            or at - found.at > (_FOUND if found.sys_id else _MISSING)
            or (refresh and not found.sys_id)
        ]
        for column in columns:
            if not asked:
                break
            answers = await resolve_names(services.servicenow, table, column, asked)
            fresh = [
                Lookup(
                    table,
                    name,
                    answer.sys_id if isinstance(answer, Resolved) else "",
                    isinstance(answer, Ambiguous),
                    at,
                )
                for name, answer in answers.items()
            ]
            await services.lookups.write(fresh)
            known |= {lookup.name: lookup for lookup in fresh}
            asked = [lookup.name for lookup in fresh if not lookup.sys_id and not lookup.ambiguous]
        return {name: known[name] for name in names}
