"""The writes of Microsoft Graph that the demonstration changes the directory with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx


class Entra:
    """A tenant's write API; ``url`` ends in the version. Every method raises httpx.HTTPError when Graph refuses."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def create_user(self, properties: Mapping[str, Any]) -> str:
        """Create a person and return the object id."""
        created = await self._request("POST", "users", properties)
        return str(created["id"])

    async def update_user(self, user_id: str, properties: Mapping[str, Any]) -> None:
        await self._request("PATCH", f"users/{user_id}", properties)

    async def set_manager(self, user_id: str, manager_id: str) -> None:
        await self._request("PUT", f"users/{user_id}/manager/$ref", self._reference("users", manager_id))

    async def add_member(self, group_id: str, user_id: str) -> None:
        await self._request("POST", f"groups/{group_id}/members/$ref", self._reference("directoryObjects", user_id))

    async def remove_member(self, group_id: str, user_id: str) -> None:
        await self._request("DELETE", f"groups/{group_id}/members/{user_id}/$ref")

    async def delete_user(self, user_id: str) -> None:
        """Into the recycle bin, from which he can be restored for 30 days."""
        await self._request("DELETE", f"users/{user_id}")

    async def purge_user(self, user_id: str) -> None:
        """Out of the recycle bin, for good."""
        await self._request("DELETE", f"directory/deletedItems/{user_id}")

    def _reference(self, collection: str, object_id: str) -> dict[str, str]:
        return {"@odata.id": f"{self._url}/{collection}/{object_id}"}

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = await self._http.request(method, f"{self._url}/{path}", json=body, headers=self._headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None
