"""The second act: people's lives change in Entra, and the time is taken until ServiceNow has committed what follows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.agreement import home_name
from sandbox.demo.cast import domain_of, new_hire
from sandbox.demo.first_cycle import StuckError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sandbox.demo.cast import Troupe
    from sandbox.demo.entra import Entra
    from sandbox.demo.servicenow import Commit, ServiceNow
    from sandbox.sides import Json, Row

_PATIENCE: Final = 60.0

type Seen = Callable[[Commit], Awaitable[bool]]
"""Whether a commit is one that was waited for."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One change: what it was, whose, what was written, and the seconds until then (None: not within a minute)."""

    change: str
    subject: str
    written: str
    seconds: float | None

    def line(self) -> str:
        took = f"{self.seconds:7.2f} s" if self.seconds is not None else f"not within {_PATIENCE:.0f} s"
        return f"  {self.change:18}{took}   {self.subject}: {self.written}"


class LiveChanges:
    """Plays them one after the other, each through Graph's write API."""

    def __init__(self, entra: Entra, servicenow: ServiceNow, troupe: Troupe) -> None:
        self._entra = entra
        self._servicenow = servicenow
        self._troupe = troupe

    async def play(self) -> AsyncIterator[Timing]:
        """Every change in turn, as soon as it is measured. Raises ``CastingError``, ``StuckError``, httpx.HTTPError."""
        troupe = self._troupe
        yield await self._hire()
        yield await self._rename(troupe.anybody())
        yield await self._move(troupe.anybody())
        leaver = troupe.anybody()
        yield await self._switch(leaver, enabled=False)
        yield await self._switch(leaver, enabled=True)
        yield await self._join(*troupe.outsider())
        yield await self._leave(*troupe.member())
        yield await self._new_manager(troupe.anybody())
        deleted, _ = troupe.member()
        row = await self._row(deleted)
        yield await self._delete(deleted, row)
        yield await self._purge(deleted, row)

    async def _hire(self) -> Timing:
        example, department = self._troupe.anybody(), self._troupe.departments[0]
        body = new_hire(department, domain=domain_of(example))
        name = body["userPrincipalName"]

        async def inserted(commit: Commit) -> bool:
            if (commit.table, commit.verb) != ("sys_user", "insert"):
                return False
            rows = await self._servicenow.rows("sys_user", f"sys_id={commit.sys_id}", fields="user_name")
            return any(row["user_name"] == name for row in rows)

        async def act() -> None:
            await self._entra.create_user(body)

        return await self._measure("new hire", name, f"account created, department {department}", act, inserted)

    async def _rename(self, person: Json) -> Timing:
        row = await self._row(person)
        former = person["userPrincipalName"]
        name = f"newly.wed{person['id'][:4]}@{domain_of(person)}"
        surname = "Wed-" + person["surname"][:30]
        changes = {"userPrincipalName": name, "surname": surname, "displayName": f"{person['givenName']} {surname}"}
        return await self._measure(
            "rename",
            former,
            f"user_name {name}, last_name {surname}",
            lambda: self._entra.update_user(person["id"], changes),
            _updated(row, "user_name", "last_name"),
        )

    async def _move(self, person: Json) -> Timing:
        row = await self._row(person)
        department = next(name for name in self._troupe.departments if name != person["department"])
        return await self._measure(
            "department change",
            person["userPrincipalName"],
            f"department {person['department']} -> {department}",
            lambda: self._entra.update_user(person["id"], {"department": department}),
            _updated(row, "department"),
        )

    async def _switch(self, person: Json, *, enabled: bool) -> Timing:
        row = await self._row(person)
        return await self._measure(
            "re-enable" if enabled else "disable",
            person["userPrincipalName"],
            "active, unlocked" if enabled else "inactive, locked out",
            lambda: self._entra.update_user(person["id"], {"accountEnabled": enabled}),
            _updated(row, "active", "locked_out"),
        )

    async def _join(self, person: Json, group: Json) -> Timing:
        row = await self._row(person)

        async def inserted(commit: Commit) -> bool:
            if (commit.table, commit.verb) != ("sys_user_grmember", "insert"):
                return False
            found = await self._servicenow.rows("sys_user_grmember", f"sys_id={commit.sys_id}", fields="user")
            return any(member["user"] == row["sys_id"] for member in found)

        return await self._measure(
            "group join",
            person["userPrincipalName"],
            f"member of {group['displayName']}",
            lambda: self._entra.add_member(group["id"], person["id"]),
            inserted,
        )

    async def _leave(self, person: Json, group: Json) -> Timing:
        row = await self._row(person)
        members = await self._memberships(row, group["displayName"])
        return await self._measure(
            "group leave",
            person["userPrincipalName"],
            f"no longer member of {group['displayName']}",
            lambda: self._entra.remove_member(group["id"], person["id"]),
            *(_deleted("sys_user_grmember", member["sys_id"]) for member in members),
        )

    async def _new_manager(self, person: Json) -> Timing:
        row = await self._row(person)
        manager = self._troupe.manager(but=(person.get("manager") or {}).get("id"))
        return await self._measure(
            "manager change",
            person["userPrincipalName"],
            f"manager {manager['userPrincipalName']}",
            lambda: self._entra.set_manager(person["id"], manager["id"]),
            _updated(row, "manager"),
        )

    async def _delete(self, person: Json, row: Row) -> Timing:
        members = await self._memberships(row)
        return await self._measure(
            "delete",
            person["userPrincipalName"],
            f"inactive, {len(members)} memberships removed",
            lambda: self._entra.delete_user(person["id"]),
            _updated(row, "active"),
            *(_deleted("sys_user_grmember", member["sys_id"]) for member in members),
        )

    async def _purge(self, person: Json, row: Row) -> Timing:
        return await self._measure(
            "permanent delete",
            person["userPrincipalName"],
            "account deleted",
            lambda: self._entra.purge_user(person["id"]),
            _deleted("sys_user", row["sys_id"]),
        )

    async def _row(self, person: Json) -> Row:
        row = await self._servicenow.user(home_name(person["userPrincipalName"]))
        if row is None:
            raise StuckError(f"{person['userPrincipalName']} has no account in ServiceNow, so no change of it can be followed")
        return row

    async def _memberships(self, row: Row, group: str = "") -> list[Row]:
        query = f"user={row['sys_id']}" + (f"^group.name={group}" if group else "")
        return await self._servicenow.rows("sys_user_grmember", query, fields="sys_id")

    async def _measure(self, change: str, subject: str, written: str, act: Callable[[], Awaitable[None]], *seen: Seen) -> Timing:
        """The time from right before the request to Graph until the last of the awaited writes is committed."""
        since = await self._servicenow.last_commit()
        began = time.time()
        await act()
        committed = await self._servicenow.committed(since, seen, patience=_PATIENCE)
        return Timing(change, subject, written, None if committed is None else max(0.0, committed - began))


def _updated(row: Row, *columns: str) -> Seen:
    async def seen(commit: Commit) -> bool:
        found = (commit.table, commit.verb, commit.sys_id) == ("sys_user", "update", row["sys_id"])
        return found and commit.fields.issuperset(columns)

    return seen


def _deleted(table: str, sys_id: str) -> Seen:
    async def seen(commit: Commit) -> bool:
        return (commit.table, commit.verb, commit.sys_id) == (table, "delete", sys_id)

    return seen
