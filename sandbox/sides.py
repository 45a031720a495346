"""Both sides as they are now: the directory through Microsoft Graph, the records through the instance's control routes.

The control routes take no slot of the instance and need no login: looking disturbs neither limits nor measurements.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

type Json = Mapping[str, Any]
"""An object of Graph, as it came."""

type Row = Mapping[str, str]
"""A record of ServiceNow: stored values by column, references as sys_ids."""

REFERENCE_TABLES: Final = ("cmn_department", "cmn_location", "core_company", "cmn_cost_center")

_USER: Final = (
    "id,userPrincipalName,accountEnabled,givenName,surname,displayName,mail,jobTitle,businessPhones,mobilePhone,streetAddress,"
    "city,state,postalCode,country,employeeId,preferredLanguage,department,officeLocation,companyName,employeeOrgData,userType"
)
_GROUP: Final = "id,displayName,description,mail,groupTypes"
_PAGE: Final = 999
_TOO_MANY_REQUESTS: Final = 429
#: Groups whose members are read at the same time.
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Directory:
    """An Entra tenant: live and soft-deleted objects, and the object ids of each live group's direct members who are users.

    A user who has a manager carries ``manager: {"id"}``.
    """

    users: tuple[Json, ...]
    deleted_users: tuple[Json, ...]
    groups: tuple[Json, ...]
    deleted_groups: tuple[Json, ...]
    members: Mapping[str, frozenset[str]]

    @property
    def enabled(self) -> frozenset[str]:
        """Object ids of the people whose account is enabled."""
        return frozenset(user["id"] for user in self.users if user.get("accountEnabled") is not False)

    @property
    def memberships(self) -> int:
        """How many memberships of users in groups there are."""
        return sum(map(len, self.members.values()))


@dataclass(frozen=True, slots=True)
class Records:
    """A ServiceNow instance: rows by sys_id, reference records as table → sys_id → name, text columns' lengths."""

    users: Mapping[str, Row]
    groups: Mapping[str, Row]
    memberships: Mapping[str, Row]
    names: Mapping[str, Mapping[str, str]]
    lengths: Mapping[tuple[str, str], int]


async def read_directory(http: httpx.AsyncClient, graph_url: str, token: str) -> Directory:
    """Read a whole tenant; ``graph_url`` ends in the version. Waits out 429; raises httpx.HTTPError for any other refusal."""
    graph = _Graph(http, graph_url.rstrip("/"), token)
    users = await graph.all(f"users?$select={_USER}&$expand=manager($select=id)&$top={_PAGE}")
    deleted_users = await graph.all(f"directory/deletedItems/microsoft.graph.user?$select={_USER}&$top={_PAGE}")
    groups = await graph.all(f"groups?$select={_GROUP}&$top={_PAGE}")
    deleted_groups = await graph.all(f"directory/deletedItems/microsoft.graph.group?$select={_GROUP}&$top={_PAGE}")
    gate = asyncio.Semaphore(_AT_ONCE)

    async def members(group: Json) -> frozenset[str]:
        async with gate:
            found = await graph.all(f"groups/{group['id']}/members/microsoft.graph.user?$select=id&$top={_PAGE}")
        return frozenset(member["id"] for member in found)

    sets = await asyncio.gather(*map(members, groups))
    by_group = {group["id"]: ids for group, ids in zip(groups, sets, strict=True)}
    return Directory(tuple(users), tuple(deleted_users), tuple(groups), tuple(deleted_groups), by_group)


async def read_records(http: httpx.AsyncClient, instance_url: str) -> Records:
    """Read everything that provisioning may touch or refer to; raises httpx.HTTPError."""
    names = {
        table: {row["sys_id"]: row["name"] for row in await rows_of(http, instance_url, table, fields="sys_id,name")}
        for table in REFERENCE_TABLES
    }
    dictionary = await rows_of(http, instance_url, "sys_dictionary", fields="name,element,internal_type,max_length")
    return Records(
        users=_by_id(await rows_of(http, instance_url, "sys_user")),
        groups=_by_id(await rows_of(http, instance_url, "sys_user_group")),
        memberships=_by_id(await rows_of(http, instance_url, "sys_user_grmember", fields="sys_id,user,group")),
        names=names,
        lengths={
            (row["name"], row["element"]): int(row["max_length"])
            for row in dictionary
            if row["max_length"].isdigit() and row["internal_type"] != "reference"
        },
    )


async def rows_of(http: httpx.AsyncClient, instance_url: str, table: str, query: str = "", *, fields: str = "") -> list[Row]:
    """The stored rows of a table that match an encoded query; raises httpx.HTTPError."""
    params = {"table": table, "query": query, "fields": fields}
    answer = await http.get(f"{instance_url}/control/rows", params=params)
    answer.raise_for_status()
    rows: list[Row] = answer.json()["rows"]
    return rows


def _by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["sys_id"]: row for row in rows}


class _Graph:
    """GET with paging and patience."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def all(self, path: str) -> list[Json]:
        found: list[Json] = []
        following: str | None = f"{self._url}/{path}"
        while following is not None:
            answer = await self._http.get(following, headers=self._headers)
            if answer.status_code == _TOO_MANY_REQUESTS:
                await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
                continue
            answer.raise_for_status()
            page = answer.json()
            found += page["value"]
            following = page.get("@odata.nextLink")
        return found
