"""What Graph posts to the webhooks. Pure parsing: nothing here believes anything.

A notification is a hint with an id. Its sender is known only by the clientState, which the caller compares for every item
(``client_state_matches``) together with the subscription id. Sources: Microsoft Graph docs, "receive change notifications
through webhooks", "lifecycle notifications", "changeNotification resource type".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shared.graph.identities import is_object_id, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.graph.identities import ObjectKind

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_ITEMS: Final = 5_000
MAX_DEPTH: Final = 64
MAX_VALIDATION_TOKEN: Final = 8_192
_KINDS: Final[Mapping[str, ObjectKind]] = {"users": "user", "groups": "group"}
_CHANGE_TYPES: Final = frozenset({"created", "updated", "deleted"})
# Users/{id}, /users/{id}, users('{id}'), and what may follow (a relation).
_RESOURCE: Final = re.compile(r"/?(users|groups)(?:/|\(')([^/()']+)(?:'\))?(?:/.*)?", re.IGNORECASE)
# A string that never ends is consumed to the end, so that no input makes this look at a byte twice.
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class MalformedNotification(ValueError):
    """A body that is no collection of notifications, or more of one than Graph would send. Nothing of it is used."""


@dataclass(frozen=True, slots=True)
class ChangeNotification:
    """Graph says: look at this object. ``change_type`` "deleted" is a permanent delete; everything else is "updated".

    ``client_state`` is what was received, unchecked. ``event_time`` and ``sequence_number`` (above 2**53) are absent where
    Graph leaves them out.
    """

    subscription_id: str
    client_state: str | None = field(repr=False)
    kind: ObjectKind
    object_id: str
    change_type: str
    tenant_id: str | None = None
    event_time: datetime | None = None
    sequence_number: int | None = None


@dataclass(frozen=True, slots=True)
class LifecycleNotification:
    """Graph speaks about a subscription: ``reauthorizationRequired``, ``subscriptionRemoved``, ``missed``, or a newer word."""

    subscription_id: str
    client_state: str | None = field(repr=False)
    event: str
    tenant_id: str | None = None
    subscription_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """An item that cannot be used: its place in the batch and why, without its content."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedNotifications:
    """A batch: ``items`` in their order, changes and lifecycle events mixed, and what was rejected among them."""

    items: tuple[ChangeNotification | LifecycleNotification, ...]
    rejected: tuple[RejectedItem, ...]

    @property
    def changes(self) -> tuple[ChangeNotification, ...]:
        return tuple(item for item in self.items if isinstance(item, ChangeNotification))

    @property
    def lifecycle(self) -> tuple[LifecycleNotification, ...]:
        return tuple(item for item in self.items if isinstance(item, LifecycleNotification))


@dataclass(frozen=True, slots=True)
class ValidationReply:
    """The answer to Graph's validation request: 200, plain text, the token as it was before url-encoding."""

    body: str
    headers: Mapping[str, str]
    status: int = 200


def parse_notifications(body: bytes, *, limit_bytes: int = MAX_BYTES, limit_items: int = MAX_ITEMS) -> ParsedNotifications:
    """The notifications of one POST; a bad item is rejected alone.

    Raises MalformedNotification when the body is too large, too deeply nested, not JSON, or not ``{"value": [...]}``.
    """
    if len(body) > limit_bytes:
        raise MalformedNotification(f"a body of {len(body)} bytes is above the limit of {limit_bytes}")
    items = _collection(body)
    if len(items) > limit_items:
        raise MalformedNotification(f"{len(items)} notifications are above the limit of {limit_items}")
    good: list[ChangeNotification | LifecycleNotification] = []
    rejected: list[RejectedItem] = []
    for position, item in enumerate(items):
        try:
            good.append(_item(item))
        except _UnusableError as error:
            rejected.append(RejectedItem(position, str(error)))
    return ParsedNotifications(tuple(good), tuple(rejected))


def client_state_matches(received: str | None, secrets: Sequence[str]) -> bool:
    """Whether ``received`` is one of ``secrets`` (the current one and, while it rotates, the one before).

    Takes the same time whichever secret matches, how much of it, and how long it is. An empty secret matches nothing.
    """
    given = _digest(received or "")
    matches = False
    for secret in secrets:
        same = hmac.compare_digest(given, _digest(secret))
        matches |= same and bool(secret)
    return matches


def validation_reply(token: str) -> ValidationReply:
    """The reply to a handshake whose (already url-decoded) ``validationToken`` is ``token``.

    The token comes back exactly, as text that no browser may read as a page. Raises MalformedNotification for one that is
    empty or longer than any that Graph sends.
    """
    if not 0 < len(token) <= MAX_VALIDATION_TOKEN:
        raise MalformedNotification(f"a validation token of {len(token)} characters")
    return ValidationReply(
        body=token,
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'",
        },
    )


class _UnusableError(Exception):
    """Why one item is rejected."""


def _collection(body: bytes) -> list[Any]:
    _refuse_deep_nesting(body)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedNotification(f"the body is not JSON ({type(error).__name__})") from None
    items = document.get("value") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise MalformedNotification("the body is not a collection of notifications")
    return items


def _refuse_deep_nesting(body: bytes) -> None:
    # A body without that many brackets cannot be that deep; Graph's own batches are checked once more, exactly.
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKETS.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedNotification(f"the body is nested deeper than {MAX_DEPTH}")
        elif first in b"]}":
            depth -= 1


def _item(item: Any) -> ChangeNotification | LifecycleNotification:
    if not isinstance(item, dict):
        raise _UnusableError("not an object")
    subscription_id = item.get("subscriptionId")
    if not isinstance(subscription_id, str) or not is_object_id(subscription_id):
        raise _UnusableError("subscriptionId is not a GUID")
    client_state = item.get("clientState")
    if client_state is not None and not isinstance(client_state, str):
        raise _UnusableError("clientState is not a string")
    tenant_id = item.get("tenantId") if is_object_id(item.get("tenantId")) else None
    event = item.get("lifecycleEvent")
    if event is not None:
        if not isinstance(event, str) or not event:
            raise _UnusableError("lifecycleEvent is not a word")
        return LifecycleNotification(
            subscription_id.lower(),
            client_state,
            event,
            tenant_id,
            _moment(item.get("subscriptionExpirationDateTime")),
        )
    return _change(item, subscription_id.lower(), client_state, tenant_id)


def _change(item: dict[str, Any], subscription_id: str, client_state: str | None, tenant_id: str | None) -> ChangeNotification:
    change_type = str(item.get("changeType") or "").lower()
    if change_type not in _CHANGE_TYPES:
        raise _UnusableError("changeType is not one of updated, deleted")
    data = item.get("resourceData")
    data = data if isinstance(data, dict) else {}
    kind, object_id = _target(item.get("resource"), data)
    number = data.get("sequenceNumber")
    return ChangeNotification(
        subscription_id,
        client_state,
        kind,
        object_id,
        "deleted" if change_type == "deleted" else "updated",
        tenant_id,
        _moment(data.get("eventTime")),
        number if isinstance(number, int) and not isinstance(number, bool) else None,
    )


def _target(resource: Any, data: dict[str, Any]) -> tuple[ObjectKind, str]:
    """The object that an item is about: its resource path, which what resourceData says must not contradict."""
    match = _RESOURCE.fullmatch(resource) if isinstance(resource, str) else None
    if match is None:
        raise _UnusableError("resource is not a user or a group")
    kind, object_id = _KINDS[match[1].lower()], match[2].lower()
    if not is_object_id(object_id):
        raise _UnusableError("the id in resource is not a GUID")
    named = data.get("id")
    if named is not None and (not isinstance(named, str) or named.lower() != object_id):
        raise _UnusableError("resource and resourceData name different objects")
    stated = type_name(data.get("@odata.type"))
    if stated is not None and stated != kind:
        raise _UnusableError("resource and resourceData name different types")
    return kind, object_id


def _moment(value: Any) -> datetime | None:
    """A time as Graph writes it, with seven digits of a second; None for anything else: it only informs."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _digest(text: str) -> bytes:
    # Lone surrogates pass through JSON; they must not become an exception that tells them from a wrong secret.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
