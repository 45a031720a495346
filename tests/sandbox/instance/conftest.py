"""A running instance and an administrator's client for it."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from sandbox.instance import InstanceConfig, InstanceServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ADMIN = ("admin", "admin")
INTEGRATION = ("entra.provisioning", "provisioning")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Running:
    """A server with clients that keep no cookies between requests unless told to."""

    server: InstanceServer
    admin: httpx.AsyncClient
    integration: httpx.AsyncClient
    control: httpx.AsyncClient

    async def faults(self, **changes: Any) -> None:
        answer = await self.control.post("/control/faults", json=changes)
        assert answer.status_code == 200, answer.text

    async def create(self, table: str, **values: Any) -> dict[str, Any]:
        answer = await self.admin.post(f"/api/now/table/{table}", json=values)
        assert answer.status_code == 201, answer.text
        result: dict[str, Any] = answer.json()["result"]
        return result

    async def rows(self, table: str, **params: str) -> list[dict[str, Any]]:
        answer = await self.admin.get(f"/api/now/table/{table}", params=params)
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["result"]
        return result

    async def names(self, query: str, field: str = "user_name", table: str = "sys_user") -> list[str]:
        rows = await self.rows(table, sysparm_query=query, sysparm_fields=field)
        return [row[field] for row in rows]


def no_cookies(request: httpx.Request) -> None:
    request.headers.pop("Cookie", None)


async def drop_cookies(request: httpx.Request) -> None:
    no_cookies(request)


def client(url: str, auth: tuple[str, str] | None, **extra: Any) -> httpx.AsyncClient:
    hooks: Mapping[str, Any] = {"request": [drop_cookies]}
    limits = httpx.Limits(max_connections=100)
    return httpx.AsyncClient(base_url=url, auth=auth, event_hooks=dict(hooks), limits=limits, timeout=20, **extra)


@asynccontextmanager
async def running(config: InstanceConfig | None = None, **switches: Any) -> AsyncIterator[Running]:
    """Run an instance with the switches given."""
    async with (
        InstanceServer(config or InstanceConfig(**switches)) as server,
        client(server.url, ADMIN) as admin,
        client(server.url, INTEGRATION) as integration,
        client(server.url, None) as control,
    ):
        yield Running(server, admin, integration, control)


def batch(*items: tuple[str, str, Any], **extra: Any) -> dict[str, Any]:
    """Return a batch envelope of (method, url, body) items, numbered from 1."""
    headers = [{"name": "Content-Type", "value": "application/json"}, {"name": "Accept", "value": "application/json"}]
    return {
        "batch_request_id": 7,
        "rest_requests": [
            {
                "id": str(number),
                "method": method,
                "url": url,
                "headers": headers,
                **({} if body is None else {"body": base64.b64encode(json.dumps(body).encode()).decode()}),
                **extra,
            }
            for number, (method, url, body) in enumerate(items, 1)
        ],
    }


def item_body(item: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(item["body"]))
