"""Subscriptions to changes: what may be asked for, the validation handshake, and their end.

Sources: "subscription resource type", "Receive change notifications through webhooks" and "Reduce missing change
notifications", Microsoft Graph docs.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from sandbox.tenant.errors import GraphError, bad_request, not_found
from sandbox.tenant.objects import Change, Kind, State, timestamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.tenant.directory import Tenant

_RESOURCE = re.compile(r"/?(?P<set>users|groups)(?:/(?P<id>[0-9a-f-]{36})(?:/(?P<part>members|owners))?)?/?", re.IGNORECASE)
_CHANGE_TYPES = ("updated", "deleted")
_TLS = ("v1_0", "v1_1", "v1_2", "v1_3")
_LONGEST_CLIENT_STATE = 128
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CHANGEABLE = frozenset({"expirationDateTime", "notificationUrl", "clientState"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription. Times are seconds since 1970; ``reauthorize_by`` is when delivery pauses if nobody answers."""

    id: str
    resource: str
    kind: Kind
    object_id: str | None
    part: str | None
    change_types: tuple[str, ...]
    notification_url: str
    lifecycle_url: str | None
    expires: float
    client_state: str | None
    tls: str
    reminded: float = 0.0
    reauthorize_by: float | None = None

    def wants(self, change: Change) -> str | None:
        """The change type under which this subscription reports a change, or ``None``."""
        if change.subject.kind is not self.kind or self.part == "owners":
            return None
        if self.object_id is not None and change.subject.id != self.object_id:
            return None
        if self.part == "members" and not change.members:
            return None
        change_type = "deleted" if change.state_after is State.PURGED else "updated"
        return change_type if change_type in self.change_types else None


class Subscriptions:
    """The subscriptions of the tenant's one application. ``ask`` sends a validation request, see ``ask_over_http``."""

    def __init__(self, tenant: Tenant, ask: Callable[[str, str, float], Awaitable[bool]]) -> None:
        self._tenant = tenant
        self._rules = tenant.config.subscriptions
        self._ask = ask
        self._held: dict[str, Subscription] = {}
        self.on_lifecycle: list[Callable[[Subscription, str], None]] = []

    def live(self) -> list[Subscription]:
        """Those that have not ended; the others vanish without a word."""
        now = self._tenant.clock()
        for ended in [held.id for held in self._held.values() if held.expires <= now]:
            del self._held[ended]
        return list(self._held.values())

    def get(self, subscription_id: str) -> Subscription:
        """Raises ``GraphError`` 404 for an unknown or ended one."""
        self.live()
        held = self._held.get(subscription_id.lower())
        if held is None:
            raise GraphError(HTTPStatus.NOT_FOUND, "ResourceNotFound", not_found(subscription_id).message)
        return held

    async def create(self, body: dict[str, Any]) -> Subscription:
        """Check the request, validate both URLs, and only then subscribe; raises ``GraphError`` 400 or 403."""
        match = _RESOURCE.fullmatch(str(body.get("resource", "")))
        if match is None or (match["part"] and match["set"].lower() != "groups"):
            raise bad_request(f"Resource '{body.get('resource')}' is not supported.", code="InvalidRequest")
        change_types = tuple(part.strip().lower() for part in str(body.get("changeType") or "").split(","))
        for change_type in change_types:
            if change_type not in _CHANGE_TYPES:
                raise bad_request(f"Invalid 'changeType' attribute: '{change_type}'.", code="InvalidRequest")
        if body.get("includeResourceData") or body.get("encryptionCertificate"):
            raise bad_request("Rich notifications are not supported for this resource.", code="InvalidRequest")
        tls = body.get("latestSupportedTlsVersion") or "v1_2"
        if tls not in _TLS:
            raise bad_request("Invalid 'latestSupportedTlsVersion' attribute.", code="InvalidRequest")
        lifecycle_url = body.get("lifecycleNotificationUrl")
        made = Subscription(
            id=str(uuid.uuid4()),
            resource=body["resource"],
            kind=Kind.USER if match["set"].lower() == "users" else Kind.GROUP,
            object_id=match["id"].lower() if match["id"] else None,
            part=match["part"].lower() if match["part"] else None,
            change_types=change_types,
            notification_url=_url(body.get("notificationUrl"), "notificationUrl"),
            lifecycle_url=_url(lifecycle_url, "lifecycleNotificationUrl") if lifecycle_url is not None else None,
            expires=self._expiration(body.get("expirationDateTime")),
            client_state=_client_state(body.get("clientState")),
            tls=tls,
        )
        self._check_quotas()
        await self._validate(made.notification_url)
        if made.lifecycle_url is not None:
            await self._validate(made.lifecycle_url)
        self._check_quotas()  # others may have subscribed meanwhile
        self._held[made.id] = made
        return made

    async def update(self, subscription_id: str, body: dict[str, Any]) -> Subscription:
        """Renew, or move to another URL, which is validated; raises ``GraphError`` 400 for what cannot be changed."""
        held = self.get(subscription_id)
        for name in body:
            if name not in _CHANGEABLE and "@" not in name:
                raise bad_request(f"The property '{name}' cannot be updated.", code="InvalidRequest")
        url = _url(body["notificationUrl"], "notificationUrl") if "notificationUrl" in body else held.notification_url
        expires = self._expiration(body["expirationDateTime"]) if "expirationDateTime" in body else held.expires
        state = _client_state(body["clientState"]) if "clientState" in body else held.client_state
        if "notificationUrl" in body:
            await self._validate(url)
        changed = replace(self.get(subscription_id), notification_url=url, expires=expires, client_state=state)
        if "expirationDateTime" in body:
            changed = replace(changed, reauthorize_by=None, reminded=0.0)
        self._held[changed.id] = changed
        return changed

    def reauthorize(self, subscription_id: str) -> None:
        """Delivery goes on; the life is not extended."""
        held = self.get(subscription_id)
        self._held[held.id] = replace(held, reauthorize_by=None)

    def delete(self, subscription_id: str) -> None:
        del self._held[self.get(subscription_id).id]

    def announce(self, subscription_id: str, event: str) -> None:
        """Send a lifecycle event: ``reauthorizationRequired``, ``subscriptionRemoved`` (and remove it) or ``missed``."""
        held = self.get(subscription_id)
        for listener in self.on_lifecycle:
            listener(held, event)
        if event == "subscriptionRemoved":
            del self._held[held.id]
        elif event == "reauthorizationRequired":
            now = self._tenant.clock()
            by = held.reauthorize_by or now + self._rules.reauthorization_grace
            self._held[held.id] = replace(held, reminded=now, reauthorize_by=by)

    def remind(self) -> None:
        """Announce reauthorizationRequired for whatever is about to end, again and again."""
        now = self._tenant.clock()
        for held in self.live():
            near = held.expires - now <= self._rules.reminder_lead
            if near and now - held.reminded >= self._rules.reminder_every:
                for listener in self.on_lifecycle:
                    listener(held, "reauthorizationRequired")
                self._held[held.id] = replace(held, reminded=now)

    def paused(self, held: Subscription) -> bool:
        """Whether delivery has stopped because reauthorizationRequired was not answered."""
        return held.reauthorize_by is not None and self._tenant.clock() > held.reauthorize_by

    def rendered(self, held: Subscription) -> dict[str, Any]:
        """As Graph shows it: ``clientState`` is never given back."""
        config = self._tenant.config
        return {
            "id": held.id,
            "resource": held.resource,
            "applicationId": config.application_id,
            "changeType": ",".join(held.change_types),
            "clientState": None,
            "notificationUrl": held.notification_url,
            "notificationQueryOptions": None,
            "lifecycleNotificationUrl": held.lifecycle_url,
            "expirationDateTime": timestamp(held.expires),
            "creatorId": config.creator_id,
            "includeResourceData": None,
            "latestSupportedTlsVersion": held.tls,
            "encryptionCertificate": None,
            "encryptionCertificateId": None,
            "notificationUrlAppId": None,
        }

    def _check_quotas(self) -> None:
        count = len(self.live())
        for limit, scope in (
            (self._rules.per_application_and_tenant, "application and tenant"),
            (self._rules.per_tenant, "tenant"),
            (self._rules.per_application, "application"),
        ):
            if count >= limit:
                message = f"The maximum number of subscriptions per {scope} has been reached: {limit}."
                raise GraphError(HTTPStatus.FORBIDDEN, "Forbidden", message)

    def _expiration(self, text: Any) -> float:
        now = self._tenant.clock()
        try:
            wanted = dt.datetime.fromisoformat(text)
        except (TypeError, ValueError) as error:
            raise bad_request("Invalid 'expirationDateTime' attribute.", code="InvalidRequest") from error
        expires = (wanted if wanted.tzinfo else wanted.replace(tzinfo=dt.UTC)).timestamp()
        if expires <= now or expires > now + self._rules.longest:
            minutes = round(self._rules.longest / 60)
            message = f"Subscription expiration can only be {minutes} minutes in the future."
            raise bad_request(message, code="InvalidRequest")
        return max(expires, now + self._rules.shortest)

    async def _validate(self, url: str) -> None:
        # The token is opaque; Graph's own holds spaces and colons. An endpoint that does not decode it fails.
        token = f"Validation: Testing client application reachability for subscription Request-Id: {uuid.uuid4()} <1+1=2>"
        if not await self._ask(url, token, self._rules.validation_timeout):
            message = (
                "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request."
            )
            raise bad_request(message, code="ValidationError")


async def ask_over_http(session: aiohttp.ClientSession, url: str, token: str, timeout: float) -> bool:  # noqa: ASYNC109 - passed on to aiohttp
    """POST the token to ``url``; True if it is answered by 200, ``text/plain`` and the decoded token in time."""
    asked = f"{url}{'&' if urlsplit(url).query else '?'}validationToken={quote(token, safe='')}"
    try:
        async with session.post(
            URL(asked, encoded=True),
            headers={"Content-Type": "text/plain; charset=utf-8"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout),
        ) as response:
            body = await response.text()
            return response.status == HTTPStatus.OK and response.content_type == "text/plain" and body == token
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
        return False


def _url(text: Any, name: str) -> str:
    """An https URL, or http on the loopback interface: the only place where a local tenant departs from Graph."""
    parts = urlsplit(text) if isinstance(text, str) else None
    if (
        parts is None
        or not parts.hostname
        or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))
    ):
        raise bad_request(f"Invalid '{name}' attribute: an https URL is needed.", code="InvalidRequest")
    return str(text)


def _client_state(text: Any) -> str | None:
    if text is not None and (not isinstance(text, str) or len(text) > _LONGEST_CLIENT_STATE):
        message = f"Invalid 'clientState' attribute: at most {_LONGEST_CLIENT_STATE} characters."
        raise bad_request(message, code="InvalidRequest")
    return text
