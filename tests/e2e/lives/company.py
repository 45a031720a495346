"""A company in which lives are told: its tenant, its instance, the app as the host runs it, and what can be seen of it.

A life is an async generator. What it does before its first ``yield`` is how the company stands before the app's first cycle;
then it goes on, deed by deed, and waits after each until it is seen in ServiceNow or in the app's log. After its second
``yield``, if it has one, everything has come to rest, so that it can say what did not happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sandbox.instance.access import SYSTEM
from sandbox.tenant.assignments import DEFAULT_ACCESS
from tests.support.hosted import Hosted, hosted, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sandbox.instance import Instance, InstanceConfig
    from sandbox.tenant.directory import Tenant

type Life = Callable[[Company], AsyncGenerator[None]]

#: A turn takes a second or two; a machine that is busy with other things takes its time.
PATIENCE = 90.0
#: How often the app itself is asked, in seconds: asking costs it something.
_ASK_AGAIN = 0.5
AT_REST = "at rest"


@dataclass(frozen=True, slots=True)
class Company:
    """Deeds on both sides, and waiting for what the app makes of them."""

    hosted: Hosted

    @property
    def tenant(self) -> Tenant:
        return self.hosted.tenant.tenant

    @property
    def instance(self) -> Instance:
        return self.hosted.instance.instance

    # Deeds

    def hire(self, name: str, **properties: object) -> str:
        """A user called ``name``@contoso.com (or as ``userPrincipalName`` says); returns the object id."""
        upn = f"{name}@contoso.com"
        values = {
            "userPrincipalName": upn,
            "displayName": name.title(),
            "givenName": name.title(),
            "surname": "Sample",
            "mail": upn,
            "country": "FR",
            **properties,
        }
        return self.tenant.create_user(**values)

    def assign(self, principal_id: str, role_id: str = DEFAULT_ACCESS) -> str:
        """Give a user or a group access to the enterprise application; returns the assignment's id."""
        return str(self.tenant.assignments.assign(principal_id, None, role_id)["id"])

    def insert(self, table: str, **values: str) -> str:
        """A record made by ServiceNow's people; returns its sys_id."""
        return str(self.instance.insert(table, values, SYSTEM)["sys_id"])

    def edit(self, table: str, sys_id: str, **values: str) -> None:
        """What ServiceNow's people change, rules included."""
        self.instance.update(table, sys_id, values, SYSTEM)

    async def fire(self, function: str) -> None:
        """Let a timer fire, as an operator can (Azure Functions docs, "Manually run a non HTTP-triggered function")."""
        host = self.hosted.host
        url, headers = f"{host.url}/admin/functions/{function}", {"x-functions-key": host.keys["master"]}
        async with self.hosted.session.post(url, json={"input": ""}, headers=headers) as response:
            assert response.status == 202, await response.text()

    async def retry_escrow_of(self, object_id: str) -> None:
        """Ask the app to look again at whatever waits for this object's sake, as an operator does once the cause is gone."""

        async def found() -> list[str]:
            await asyncio.sleep(_ASK_AGAIN)
            waiting = (await self.hosted.get("escrows?$top=500"))["value"]
            return [escrow["id"] for escrow in waiting if escrow.get("objectId") == object_id]

        for escrow_id in await until(found, seconds=PATIENCE, what=f"an escrow of {object_id}"):
            await self.hosted.post(f"escrows/{quote(escrow_id, safe='')}/retry", status=202)

    # Seeing

    def record(self, name: str) -> Mapping[str, str] | None:
        """The one sys_user record of ``name``@contoso.com, as stored."""
        table = self.instance.table("sys_user")
        found = table.matches("user_name", f"{name}@contoso.com")
        assert len(found) <= 1, f"{len(found)} users are called {name}"
        return table.get(found[0]) if found else None

    def group(self, name: str) -> Mapping[str, str] | None:
        """The one sys_user_group record of a name, as stored."""
        found = [row for row in self.instance.table("sys_user_group") if row["name"] == name]
        assert len(found) <= 1, f"{len(found)} groups are called {name}"
        return found[0] if found else None

    def rows(self, table: str, **columns: str) -> list[Mapping[str, str]]:
        """The rows of a table that have these values."""
        return [row for row in self.instance.table(table) if all(row.get(column) == value for column, value in columns.items())]

    def members(self, name: str) -> list[str]:
        """User names, without their domain, of a group's memberships; sorted, doubles included."""
        group, users = self.group(name), self.instance.table("sys_user")
        rows = [row for row in self.instance.table("sys_user_grmember") if group is not None and row["group"] == group["sys_id"]]
        members = [users.get(row["user"]) or {"user_name": "nobody"} for row in rows]
        return sorted(member["user_name"].removesuffix("@contoso.com") for member in members)

    def written(self, sys_id: str, since: int) -> list[tuple[str, tuple[str, ...]]]:
        """Verb and columns of each write to a record after a commit number."""
        commits = self.instance.commits.since(since)
        return [(commit.verb, tuple(sorted(commit.fields))) for commit in commits if commit.sys_id == sys_id]

    # Waiting

    async def becomes(self, name: str, **columns: str) -> str:
        """Wait until the person's record has these values; its sys_id."""
        return await self._has(lambda: self.record(name), f"the record of {name}", columns)

    async def group_becomes(self, name: str, **columns: str) -> str:
        """Wait until the group's record has these values; its sys_id."""
        return await self._has(lambda: self.group(name), f"the group {name}", columns)

    async def vanishes(self, name: str) -> None:
        """Wait until nobody has the name any more."""
        await self._is(lambda: self.record(name) is None, True, f"nobody is called {name}")

    async def group_vanishes(self, name: str) -> None:
        await self._is(lambda: self.group(name) is None, True, f"no group is called {name}")

    async def group_has(self, name: str, *members: str) -> None:
        """Wait until these and no others are members of a group."""
        await self._is(lambda: self.members(name), sorted(members), f"the members of {name}")

    async def finds(self, table: str, **columns: str) -> None:
        """Wait until one row has these values."""
        await self._is(lambda: len(self.rows(table, **columns)), 1, f"rows of {table} with {columns}")

    async def finds_none(self, table: str, **columns: str) -> None:
        """Wait until no row has these values."""
        await self._is(lambda: self.rows(table, **columns), [], f"rows of {table} with {columns}")

    async def ends(self, object_id: str, status: str, code: str = "") -> None:
        """Wait until the newest log entry of an object has this status and error code."""
        newest: tuple[str, str] | None = None

        async def ended() -> bool:
            nonlocal newest
            entries = await self.log_of(object_id)
            if entries:
                info = entries[0]["provisioningStatusInfo"]
                newest = info["status"], (info["errorInformation"] or {}).get("errorCode", "")
            if newest != (status, code):
                await asyncio.sleep(_ASK_AGAIN)
            return newest == (status, code)

        await _explained(ended, lambda: f"the log ends with {newest} for {object_id}, not with {(status, code)}")

    async def log_of(self, object_id: str) -> list[dict[str, Any]]:
        """The provisioning log's entries of one object, newest first."""
        condition = quote(f"sourceIdentity/id eq '{object_id}'")
        entries: list[dict[str, Any]] = (await self.hosted.get(f"logs?$filter={condition}"))["value"]
        return entries

    async def rests(self) -> None:
        """Wait until no notification is on its way and no message is left, delayed ones and dead ones included."""
        left: dict[str, int] = {}

        async def nothing_left() -> bool:
            nonlocal left
            left = {"notifications": self.hosted.tenant.notifier.pending} | await self.hosted.queue_lengths()
            if any(left.values()):
                await asyncio.sleep(_ASK_AGAIN)
            return not any(left.values())

        await _explained(nothing_left, lambda: f"these are left: {left}", seconds=2 * PATIENCE)

    async def _has(self, look: Callable[[], Mapping[str, str] | None], what: str, columns: Mapping[str, str]) -> str:
        async def has() -> str:
            row = look()
            agrees = row is not None and all(row.get(column, "") == value for column, value in columns.items())
            return row["sys_id"] if row is not None and agrees else ""

        def explain() -> str:
            row = look()
            return f"{what}: {row and {column: row.get(column) for column in columns}} instead of {dict(columns)}"

        return await _explained(has, explain)

    @staticmethod
    async def _is(look: Callable[[], object], wanted: object, what: str) -> None:
        async def equal() -> bool:
            return look() == wanted

        await _explained(equal, lambda: f"{what}: {look()} instead of {wanted}")


async def _explained[T](condition: Callable[[], Awaitable[T]], explain: Callable[[], str], *, seconds: float = PATIENCE) -> T:
    """Wait for a condition; a failure tells what was there instead."""
    try:
        return await until(condition, seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"not within {seconds:g} s: {explain()}") from error


@contextlib.asynccontextmanager
async def company(
    storage: str,
    directory: Path,
    *,
    instance: InstanceConfig | None = None,
    schema: Mapping[str, Any] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Company]:
    """A company without people whose app has been started but has not cycled yet; ``schema`` is a mapping of its own."""
    changes = dict(settings or {})
    if schema is not None:
        file = directory / "schema.json"
        await asyncio.to_thread(file.write_text, json.dumps(schema), encoding="utf-8")
        changes["PROVISIONING_SCHEMA"] = str(file)
    async with hosted(storage, directory, users=0, groups=0, tenant=None, instance=instance, queue_lease=600, **changes) as here:
        yield Company(here)


async def tell(company: Company, lives: Mapping[str, Life]) -> dict[str, BaseException | None]:
    """Tell lives side by side; how each ended, None for well, and under ``AT_REST`` whether the company came to rest."""
    told = {name: life(company) for name, life in lives.items()}
    for life in told.values():
        await anext(life)
    await company.hosted.post("job/start")
    await company.hosted.cycled(seconds=2 * PATIENCE)
    lived = await asyncio.gather(*map(_go_on, told.values()), return_exceptions=True)
    (at_rest,) = await asyncio.gather(company.rests(), return_exceptions=True)
    rested = await asyncio.gather(*map(_go_on, told.values()), return_exceptions=True)
    outcomes = {name: first or second for name, first, second in zip(told, lived, rested, strict=True)}
    return outcomes | {AT_REST: at_rest}


async def _go_on(life: AsyncGenerator[None]) -> None:
    """To the next ``yield`` or to the end."""
    with contextlib.suppress(StopAsyncIteration):
        await anext(life)
