"""Control routes below ``/control``: state, faults, counters, the commit log, and edits by hand.

They are for tests, benches and demos; a real instance has nothing like them. They take no slot and need no login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from .access import SYSTEM
from .answers import RefusalError
from .config import public_settings
from .encoded_query import parse
from .incoming import as_text
from .seed import seed_from_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .service import Service

LONGEST_WAIT = 30.0


class Control:
    """The handlers of the control routes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._instance = service.instance

    def add_routes(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [
                web.get("/control/state", self.state),
                web.get("/control/faults", self.faults),
                web.post("/control/faults", self.merge_faults),
                web.get("/control/requests", self.requests),
                web.delete("/control/requests", self.forget_requests),
                web.get("/control/commits", self.commits),
                web.get("/control/rows", self.rows),
                web.post("/control/rows", self.edit_rows),
                web.post("/control/seed", self.seed),
                web.post("/control/revoke-tokens", self.revoke_tokens),
            ]
        )

    async def state(self, _: web.Request) -> web.Response:
        """Row counts and what is going on now."""
        return web.json_response(
            {
                "rows": {name: len(table) for name, table in self._instance.tables.items()},
                "last_commit": self._instance.commits.last,
                "scripts_evaluated": self._instance.scripts_evaluated,
                "failed_logins": self._service.authentication.failed_logins,
                **self._capacity(),
                "requests": self._service.counters.as_json(),
            }
        )

    async def faults(self, _: web.Request) -> web.Response:
        """Return the switches as they stand."""
        return web.json_response(public_settings(self._instance.config))

    async def merge_faults(self, request: web.Request) -> web.Response:
        """Merge a JSON object into the switches."""
        changes = await _json_object(request)
        try:
            self._instance.configure(**changes)
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.json_response(public_settings(self._instance.config))

    async def requests(self, _: web.Request) -> web.Response:
        """Return counters since they were last forgotten, and how busy the slots were."""
        commits = dict(sorted(self._instance.commits.counts.items()))
        return web.json_response({**self._service.counters.as_json(), "commits": commits, **self._capacity()})

    async def forget_requests(self, _: web.Request) -> web.Response:
        """Start counting again."""
        self._service.forget_counts()
        return web.Response(status=204)

    async def commits(self, request: web.Request) -> web.Response:
        """Return commits after ``since``, of one ``table`` or ``sys_id``; ``wait`` seconds for a first one if given."""
        since = int(_number(request, "since"))
        if wait := min(_number(request, "wait"), LONGEST_WAIT):
            await self._instance.commits.wait(since, wait)
        table, sys_id = request.query.get("table"), request.query.get("sys_id")
        shown = [
            commit.as_json()
            for commit in self._instance.commits.since(since)
            if table in {None, commit.table} and sys_id in {None, commit.sys_id}
        ]
        return web.json_response(shown)

    async def rows(self, request: web.Request) -> web.Response:
        """Return the stored rows of ``table`` that match ``query``, with ``fields`` only if given."""
        fields = [name for name in request.query.get("fields", "").split(",") if name]
        try:
            table = self._instance.table(request.query.get("table", ""))
            ids = self._instance.find(table.name, parse(request.query.get("query", "")), SYSTEM)
        except RefusalError as refusal:
            raise web.HTTPBadRequest(text=refusal.message) from None
        rows = [row for sys_id in ids if (row := table.get(sys_id)) is not None]
        wanted = fields or list(table.columns)
        return web.json_response({"rows": [{name: row.get(name, "") for name in wanted} for row in rows]})

    async def edit_rows(self, request: web.Request) -> web.Response:
        """Edit by hand: ``{"table", "insert": [{...}], "patch": [{"sys_id" or "where", ...}], "delete": [...]}``.

        ``where`` is an encoded query; an item of ``delete`` is a sys_id or ``{"where": ...}``. Business rules run,
        access rules and limits do not. What comes before an error stays done.
        """
        edit = await _json_object(request)
        try:
            table = self._instance.table(str(edit.get("table", ""))).name
            inserted = [self._instance.insert(table, values, SYSTEM)["sys_id"] for values in _objects(edit, "insert")]
            patched = [sys_id for values in _objects(edit, "patch") for sys_id in self._patch(table, values)]
            deleted = [sys_id for item in edit.get("delete", []) for sys_id in self._delete(table, item)]
        except RefusalError as refusal:
            raise web.HTTPConflict(text=f"{refusal.message}: {refusal.detail}") from None
        return web.json_response({"inserted": inserted, "patched": patched, "deleted": deleted})

    async def seed(self, request: web.Request) -> web.Response:
        """Add reference records and people: ``{"departments": [names], ..., "people": [{columns}]}``."""
        try:
            seed_from_json(self._instance, await _json_object(request))
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.Response(status=204)

    async def revoke_tokens(self, _: web.Request) -> web.Response:
        """Make every access token invalid."""
        self._service.authentication.forget_tokens()
        return web.Response(status=204)

    def _capacity(self) -> dict[str, Any]:
        semaphores = self._service.semaphores
        return {
            "slots": self._instance.config.concurrency,
            "active": semaphores.active,
            "waiting": semaphores.waiting,
            "busy_seconds": round(semaphores.busy_seconds, 3),
            "now": round(self._instance.clock(), 3),
        }

    def _patch(self, table: str, values: dict[str, Any]) -> list[str]:
        ids = self._targets(table, values)
        changes = {name: as_text(value) for name, value in values.items() if name not in {"where", "sys_id"}}
        for sys_id in ids:
            self._instance.update(table, sys_id, changes, SYSTEM)
        return ids

    def _delete(self, table: str, item: Any) -> list[str]:
        ids = self._targets(table, item if isinstance(item, dict) else {"sys_id": item})
        for sys_id in ids:
            self._instance.delete(table, sys_id, SYSTEM)
        return ids

    def _targets(self, table: str, item: dict[str, Any]) -> list[str]:
        if where := item.get("where"):
            return list(self._instance.find(table, parse(str(where)), SYSTEM))
        return [str(item.get("sys_id", ""))]


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        value = await request.json()
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise web.HTTPBadRequest(text="a JSON object is expected")
    return value


def _objects(edit: dict[str, Any], name: str) -> Iterable[dict[str, Any]]:
    items = edit.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise web.HTTPBadRequest(text=f"{name!r} must be a list of objects")
    return items


def _number(request: web.Request, name: str) -> float:
    try:
        return float(request.query.get(name, "0"))
    except ValueError:
        raise web.HTTPBadRequest(text=f"{name!r} must be a number") from None
