"""The Table API: ``/api/now[/v1|/v2]/table/{table}[/{sys_id}]`` (ServiceNow docs, "Table API")."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from .answers import ApiAnswer, ApiRequest, RefusalError, json_answer, no_record, unreadable_request
from .encoded_query import Condition, EncodedQuery, parse
from .presentation import Presentation

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .access import Caller
    from .dictionary import Row
    from .instance import Instance
    from .table import Table

DEFAULT_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class TableApi:
    """Answers Table API calls on an instance."""

    instance: Instance
    chance: random.Random

    def handle(self, request: ApiRequest, caller: Caller, version: str, segments: Sequence[str]) -> ApiAnswer:
        """Answer a call; ``segments`` are the path's parts after ``table``. Raise RefusalError for a refusal."""
        table = self.instance.table(segments[0])
        verb = (request.method, len(segments) > 1)
        if verb == ("GET", False):
            return self._list(request, caller, table, version)
        if verb == ("GET", True):
            row = self.instance.get(table.name, segments[1], caller)
            return json_answer(200, {"result": self._presentation(request, caller, table).written(row)})
        if verb == ("POST", False):
            return self._insert(request, caller, table)
        if verb in {("PUT", True), ("PATCH", True)}:
            return self._update(request, caller, table, segments[1])
        if verb == ("DELETE", True):
            self.instance.delete(table.name, segments[1], caller)
            return ApiAnswer(204, wrote=True)
        raise RefusalError(405, "Method not supported", f"{request.method} {request.path}")

    def _list(self, request: ApiRequest, caller: Caller, table: Table, version: str) -> ApiAnswer:
        query = self._query(request, table)
        ids = self.instance.find(table.name, query, caller)
        if self.instance.config.unstable_order and not query.order:
            ids = self.chance.sample(ids, len(ids))
        if version == "v1" and not ids:
            raise no_record()
        limit = _count(request, "sysparm_limit", DEFAULT_LIMIT)
        offset = _count(request, "sysparm_offset", 0)
        rows = (table.get(sys_id) for sys_id in ids[offset : offset + limit])
        visible = [row for row in rows if row is not None and self.instance.visible(table.name, row, caller)]
        presentation = self._presentation(request, caller, table)
        headers = {} if request.flag("sysparm_no_count") else {"X-Total-Count": str(len(ids))}
        if not request.flag("sysparm_suppress_pagination_header") and limit:
            headers |= _links(request, limit, offset, len(ids))
        return json_answer(200, {"result": [presentation.written(row) for row in visible]}, headers)

    def _query(self, request: ApiRequest, table: Table) -> EncodedQuery:
        if text := request.params.get("sysparm_query", ""):
            return parse(text)
        named = {name: value for name, value in request.params.items() if not name.startswith("sysparm_")}
        return EncodedQuery((tuple(self._named(table, name, value) for name, value in named.items()),))

    def _named(self, table: Table, name: str, value: str) -> tuple[Condition, ...]:
        """Return the alternatives for a ``name=value`` parameter: the stored value, or what a user sees."""
        equal = Condition(name, "=", value)
        column = table.column(name)
        if column is None or not value:
            return (equal,)
        if column.type == "reference" and column.reference in self.instance.tables:
            display = self.instance.tables[column.reference].definition.display
            return (equal, Condition(f"{name}.{display}", "=", value))
        chosen = self.instance.labels.choice_value(table.name, name, value)
        return (equal,) if chosen is None else (equal, Condition(name, "=", chosen))

    def _insert(self, request: ApiRequest, caller: Caller, table: Table) -> ApiAnswer:
        values = _record(request.body)
        row = self.instance.insert(table.name, values, caller, display=request.flag("sysparm_input_display_value"))
        location = f"{request.origin}{request.path}/{quote(row['sys_id'], safe='')}"
        return self._wrote(201, request, caller, table, row, {"Location": location})

    def _update(self, request: ApiRequest, caller: Caller, table: Table, sys_id: str) -> ApiAnswer:
        values = _record(request.body)
        display = request.flag("sysparm_input_display_value")
        row = self.instance.update(table.name, sys_id, values, caller, display=display)
        return self._wrote(200, request, caller, table, row, {})

    def _wrote(
        self, status: int, request: ApiRequest, caller: Caller, table: Table, row: Row, headers: dict[str, str]
    ) -> ApiAnswer:
        silent = request.headers.get("x-no-response-body", "").casefold() == "true"
        if silent or not self.instance.access(caller).may("read", table.name):
            return ApiAnswer(status, headers=headers, wrote=True)
        return json_answer(status, {"result": self._presentation(request, caller, table).written(row)}, headers, wrote=True)

    def _presentation(self, request: ApiRequest, caller: Caller, table: Table) -> Presentation:
        return Presentation.asked_for(request, self.instance, table, self.instance.access(caller))


def _record(body: bytes) -> dict[str, Any]:
    """Return the one record of a request body; of a list, further ones are ignored."""
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError as error:
        raise unreadable_request(str(error)) from None
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        raise unreadable_request("The payload is not valid JSON.")
    return value


def _count(request: ApiRequest, name: str, default: int) -> int:
    text = request.params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def _links(request: ApiRequest, limit: int, offset: int, total: int) -> dict[str, str]:
    """Return the Link header, empty where one page holds everything; relations joined by a comma without a blank."""
    if total <= limit:
        return {}
    kept = [
        part for part in request.query_string.split("&") if part and not part.startswith(("sysparm_offset=", "sysparm_limit="))
    ]
    base = f"{request.origin}{request.path}?" + "".join(f"{part}&" for part in kept)
    offsets = {"first": 0, "prev": offset - limit, "next": offset + limit, "last": (total - 1) // limit * limit}
    shown = {rel: start for rel, start in offsets.items() if rel in {"first", "last"} or 0 <= start < total}
    links = (f'<{base}sysparm_offset={start}&sysparm_limit={limit}>;rel="{rel}"' for rel, start in shown.items())
    return {"Link": ",".join(links)}
