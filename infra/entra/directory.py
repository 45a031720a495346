"""The few verbs of Microsoft Graph that setting up needs.

Objects that were just made are not everywhere at once: a request that names one is repeated for a minute when Graph does not
know it yet (source: Microsoft Graph docs, "Best practices for working with Microsoft Graph", eventual consistency).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

GRAPH = "https://graph.microsoft.com/v1.0"
SCOPE = "https://graph.microsoft.com/.default"
_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class Token(Protocol):
    """What a credential of azure-identity gives."""

    @property
    def token(self) -> str: ...


class Credential(Protocol):
    """The one thing that is asked of a credential of azure-identity."""

    async def get_token(self, *scopes: str) -> Token: ...


class DirectoryFault(Exception):
    """Graph refused; the message is Graph's own, with the request that it refused."""


class Directory:
    """Microsoft Graph, signed in. Close with ``async with``."""

    def __init__(
        self,
        credential: Credential,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._credential = credential
        self._client = httpx.AsyncClient(transport=transport, timeout=60)
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """One object. Raises ``DirectoryFault``."""
        return await self._ask("GET", path, query=query)

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Every entry of a collection, over all of its pages."""
        entries: list[dict[str, Any]] = []
        page = await self._ask("GET", path, query=query)
        while True:
            entries += page["value"]
            following = page.get("@odata.nextLink")
            if following is None:
                return entries
            page = await self._ask("GET", following)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create and return what was created."""
        return await self._ask("POST", path, body=body, patient=True)

    async def change(self, path: str, body: dict[str, Any]) -> None:
        """Change some properties."""
        await self._ask("PATCH", path, body=body, patient=True)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        patient: bool = False,
    ) -> dict[str, Any]:
        url = path if path.startswith("https://") else f"{GRAPH}{path}"
        parameters = {f"${name}": value for name, value in (query or {}).items()} or None
        for wait in (*_WAITS, None):
            token = (await self._credential.get_token(SCOPE)).token
            headers = {"Authorization": f"Bearer {token}"}
            answer = await self._client.request(method, url, params=parameters, json=body, headers=headers)
            if answer.is_success:
                return dict(answer.json()) if answer.content else {}
            code, message = _error(answer)
            unknown_yet = patient and (answer.status_code == httpx.codes.NOT_FOUND or "does not reference a valid" in message)
            busy = answer.status_code in {429, 503, 504}
            if wait is None or not (unknown_yet or busy):
                raise DirectoryFault(f"{method} {path.removeprefix(GRAPH)}: {answer.status_code} {code}: {message}")
            stated = answer.headers.get("Retry-After", "")
            await self._sleep(float(stated) if stated.isdigit() else wait)
        raise AssertionError


def _error(answer: httpx.Response) -> tuple[str, str]:
    try:
        error = answer.json()["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "unknown", "the answer is not one of Graph's"
