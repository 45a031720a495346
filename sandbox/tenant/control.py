"""Routes beside Graph that change how the tenant behaves while it runs, and show what it has done.

Graph has nothing like them: no application under rehearsal may use them.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.tenant.errors import GraphError, bad_request
from sandbox.tenant.objects import Kind, State

if TYPE_CHECKING:
    from sandbox.tenant.api import GraphApi
    from sandbox.tenant.notifications import Notifier
    from sandbox.tenant.routing import Services
    from sandbox.tenant.subscriptions import Subscription

_EVENTS = ("reauthorizationRequired", "subscriptionRemoved", "missed")
_CHANGE_TYPES = ("updated", "deleted")


class Control:
    """The control routes of one tenant. Answers are JSON; refusals carry an ``error`` with a message."""

    def __init__(self, services: Services, api: GraphApi, notifier: Notifier) -> None:
        self._services = services
        self._tenant = services.tenant
        self._api = api
        self._notifier = notifier

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/control/state", self.state),
            web.get("/control/faults", self.show_faults),
            web.post("/control/faults", self.set_faults),
            web.post("/control/notify", self.notify),
            web.post("/control/lifecycle", self.lifecycle),
            web.get("/control/requests", self.requests),
            web.delete("/control/requests", self.forget_requests),
        ]

    async def state(self, _: web.Request) -> web.Response:
        """How many of everything there are."""
        order = self._tenant.order
        return web.json_response(
            {
                "tenantId": self._tenant.config.tenant_id,
                "servicePrincipalId": self._tenant.config.service_principal_id,
                "users": _count(order[Kind.USER], State.LIVE),
                "deletedUsers": _count(order[Kind.USER], State.DELETED),
                "groups": _count(order[Kind.GROUP], State.LIVE),
                "deletedGroups": _count(order[Kind.GROUP], State.DELETED),
                "devices": _count(order[Kind.DEVICE], State.LIVE),
                "memberships": sum(len(group.members) for group in order[Kind.GROUP] if group.state is State.LIVE),
                "assignments": len(self._tenant.assignments),
                "subscriptions": len(self._services.subscriptions.live()),
                "changes": self._tenant.position,
                "notifications": {"pending": self._notifier.pending, **self._notifier.counts},
                "throttled": self._api.throttle.refused,
            }
        )

    async def show_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self._switches())

    async def set_faults(self, request: web.Request) -> web.Response:
        """Change switches; ``expire_delta_tokens`` and ``reset_delta_tokens`` are done once, to the tokens made so far."""
        try:
            switches = await _json_object(request)
            once = {name: switches.pop(name, False) for name in ("expire_delta_tokens", "reset_delta_tokens")}
            self._tenant.faults = self._tenant.faults.merged(switches)
        except GraphError as error:
            return _refused(error)
        if once["expire_delta_tokens"]:
            self._services.delta_tokens.expire()
        if once["reset_delta_tokens"]:
            self._services.delta_tokens.reset()
        return web.json_response(self._switches())

    async def notify(self, request: web.Request) -> web.Response:
        """Send notifications at once, past all switches; the answer lists the endpoint's statuses.

        ``{"replay": n}`` sends the last n POSTs again. Otherwise a notification is made up for each live subscription or
        the one in ``subscriptionId``: ``objectId``, ``changeType``, ``clientState`` (forged), ``count``. ``value`` sends the
        given items just as they are.
        """
        try:
            wanted = await _json_object(request)
            posts = self._posts(wanted)
        except GraphError as error:
            return _refused(error)
        statuses = [await self._notifier.post(url, items) for url, items in posts]
        return web.json_response({"statuses": statuses})

    async def lifecycle(self, request: web.Request) -> web.Response:
        """Announce ``event`` for one subscription (``subscriptionId``) or for all."""
        try:
            wanted = await _json_object(request)
            if wanted.get("event") not in _EVENTS:
                raise bad_request(f"The events are: {', '.join(_EVENTS)}.")
            held = self._addressed(wanted)
            for one in held:
                self._services.subscriptions.announce(one.id, wanted["event"])
        except GraphError as error:
            return _refused(error)
        return web.json_response({"announced": len(held)})

    async def requests(self, _: web.Request) -> web.Response:
        """How often each route was asked, parts of batches included."""
        return web.json_response(dict(sorted(self._api.requests.items())))

    async def forget_requests(self, _: web.Request) -> web.Response:
        self._api.requests.clear()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _posts(self, wanted: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
        if "replay" in wanted:
            last = list(self._notifier.delivered)[-_number(wanted["replay"]) :]
            return [(post.url, list(post.items)) for post in last]
        held = self._addressed(wanted)
        if "value" in wanted:
            if not isinstance(wanted["value"], list):
                raise bad_request("'value' takes a list of notifications.")
            return [(one.notification_url, wanted["value"]) for one in held[:1]]
        change_type = wanted.get("changeType", "updated")
        if change_type not in _CHANGE_TYPES:
            raise bad_request(f"The change types are: {', '.join(_CHANGE_TYPES)}.")
        subject = self._tenant.objects.get(str(wanted.get("objectId", "")))
        posts = []
        for one in held:
            if subject is not None and subject.kind is not one.kind:
                continue
            object_id = subject.id if subject else str(wanted.get("objectId", ""))
            items = [self._notifier.item(one, one.kind, object_id, change_type) for _ in range(_number(wanted.get("count", 1)))]
            if "clientState" in wanted:
                items = [item | {"clientState": wanted["clientState"]} for item in items]
            posts.append((one.notification_url, items))
        return posts

    def _addressed(self, wanted: dict[str, Any]) -> list[Subscription]:
        subscriptions = self._services.subscriptions
        named = wanted.get("subscriptionId")
        return [subscriptions.get(named)] if named else subscriptions.live()

    def _switches(self) -> dict[str, Any]:
        faults = self._tenant.faults
        return {name: getattr(faults, name) for name in faults.__dataclass_fields__}


def _count(subjects: list[Any], state: State) -> int:
    return sum(1 for subject in subjects if subject.state is state)


def _number(value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise bad_request(f"A number above 0 is needed, not {value!r}.")
    return value


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except json.JSONDecodeError as error:
        raise bad_request("The body is no JSON.") from error
    if not isinstance(body, dict):
        raise bad_request("The body is no JSON object.")
    return body


def _refused(error: GraphError) -> web.Response:
    return web.json_response({"error": {"code": error.code, "message": error.message}}, status=error.status)
