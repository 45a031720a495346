"""The change events that travel in the queues.

An event names objects and why to look at them; what is to be done is decided from the present truth when it is processed.
Two events carry state, because reading it again would cost a read per object or per member: the complete snapshots of a full
cycle (``ObjectsSnapshot``), and the member slices of the serial groups-delta chain (``MembersChanged``).

On the wire an event is JSON ``{"v": 1, "kind": ..., "id": ..., "attempt": ..., ...}``; the queue wraps it in base64, as the
Functions host expects (extension 5.x, messageEncoding base64). A message holds at most 64 KiB, which is 48 KiB of JSON.
"""

from __future__ import annotations

import base64
import json
import uuid
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

#: The version that this code writes, and the newest that it can read.
VERSION = 1
#: Largest JSON text of one message, in bytes: 64 KiB less the base64 overhead.
MESSAGE_BYTES = 48 * 1024
#: Objects of one ``ObjectsChanged`` and members of one ``MembersChanged``: one table transaction, one query by a list.
CHUNK = 100

Kind = Literal["user", "group"]
Chain = Literal["users", "groups"]
Walk = Literal["verification", "plan", "discovery"]
Reason = Literal["notification", "delta", "confirm", "released", "retry", "request", "absent", "scope", "verify"]

USER_EVENTS, GROUP_EVENTS, CYCLE_EVENTS = "user-events", "group-events", "cycle-events"
QUEUES: tuple[str, ...] = (USER_EVENTS, GROUP_EVENTS, CYCLE_EVENTS)


class MalformedEvent(Exception):
    """The message is not an event: garbage, or a shape that this version never wrote. It ends in the poison queue."""


class NewerEvent(Exception):
    """The message was written by a newer version of the app: it is delayed until a worker of that version takes it."""


def new_id() -> str:
    return str(uuid.uuid4())


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have. ``attempt`` counts the tries that ended in a retryable failure; ``id`` names the change in logs."""

    id: str = field(default_factory=new_id)
    attempt: int = 0

    def again(self) -> Self:
        """The same event for its next try."""
        return replace(self, attempt=self.attempt + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsChanged(Event):
    """Look at these objects. ``occurred_at``: our clock when we heard of it.

    ``gone`` is Graph's own word that the objects are deleted for good (a delta ``@removed`` of reason ``deleted``, or a
    notification of change type ``deleted``): the evidence that a hard delete needs.
    """

    kind: Kind
    ids: tuple[str, ...]
    reason: Reason
    occurred_at: datetime
    gone: bool = False
    cycle_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsSnapshot(Event):
    """Complete objects of one page of a full cycle, as read at ``read_at``. ``chunk`` numbers the parts of the page.

    ``part`` tells the rest of a chunk that comes again from the chunk itself. ``schema``: version of the schema whose
    attributes were asked for; "" if that is not known.
    """

    kind: Kind
    generation: int
    page: int
    chunk: int
    cycle_id: str
    read_at: datetime
    items: tuple[dict[str, Any], ...]
    schema: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersChanged(Event):
    """Members of one group that were added or removed, in the order (generation, page) of the groups-delta chain.

    ``full`` marks a slice of a full round, which names present members only; ``absent`` one that takes out whom a complete
    round did not name. ``part`` tells the rest of a slice that comes
    again from the slice itself.
    """

    group_id: str
    generation: int
    page: int
    chunk: int
    cycle_id: str
    read_at: datetime
    added: tuple[str, ...]
    removed: tuple[str, ...]
    full: bool = False
    absent: bool = False
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsDue(Event):
    """Memberships, as (group id, user id), that may have to be written: one side of them has just changed its state."""

    pairs: tuple[tuple[str, str], ...]
    reason: Reason
    cycle_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMembersDue(Event):
    """All memberships of one group may have to be written: the group itself has just appeared or gone."""

    group_id: str
    reason: Reason
    after: str = ""
    cycle_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMembershipsDue(Event):
    """All memberships of one user are read again from Graph (memberOf): restored, re-enabled, or back in scope."""

    user_id: str
    reason: Reason
    cycle_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedMembersDue(Event):
    """A full round found groups among the members of a group: its members at any depth are to be named, in that page's place."""

    group_id: str
    generation: int
    page: int
    cycle_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NestingChanged(Event):
    """A group became a member of another group, is none any more, or came or went itself: everybody in it is concerned."""

    group_id: str
    cycle_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportsDue(Event):
    """A manager has come back from the recycle bin: the people whom he manages are concerned, and Graph announces nothing.

    ``doubt``: his record was made anew in ServiceNow, so that what their own records say of him is not to be believed.
    """

    manager_id: str
    cycle_id: str = ""
    doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpsDue(Event):
    """Objects were committed.

    ``appeared`` have a record now, ``returned`` are in scope again, ``gone_ids`` were deleted; ``sys_ids`` are the records of
    people who are gone, whose reports are looked at again. ``remade`` had a record that was lost in ServiceNow, and have another.
    """

    kind: Kind
    appeared: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    gone_ids: tuple[str, ...] = ()
    sys_ids: tuple[str, ...] = ()
    remade: tuple[str, ...] = ()
    cycle_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainAdvance(Event):
    """Process one page of a chain, if the chain still stands at that page of that generation."""

    chain: Chain
    generation: int
    page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPoke(Event):
    """Make sure that a chain runs. ``full`` asks for a new generation; ``repeat`` asks for one more round after the grace."""

    chain: Chain
    full: bool = False
    repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionsDue(Event):
    """Graph says that a subscription must be reauthorized or has been removed: renew or recreate now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkDue(Event):
    """Take the next step of a walk over everything that is provisioned, if it still stands there."""

    walk: Walk
    run: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionDue(Event):
    """An operator decided about every deed that was staged up to ``occurred_at``: carry that out for the next of them."""

    approved: bool
    occurred_at: datetime
    by: str = ""


_KINDS: dict[str, type[Event]] = {
    "walkDue": WalkDue,
    "decisionDue": DecisionDue,
    "subscriptionsDue": SubscriptionsDue,
    "objectsChanged": ObjectsChanged,
    "objectsSnapshot": ObjectsSnapshot,
    "membersChanged": MembersChanged,
    "pairsDue": PairsDue,
    "groupMembersDue": GroupMembersDue,
    "userMembershipsDue": UserMembershipsDue,
    "nestedMembersDue": NestedMembersDue,
    "nestingChanged": NestingChanged,
    "reportsDue": ReportsDue,
    "followUpsDue": FollowUpsDue,
    "chainAdvance": ChainAdvance,
    "chainPoke": ChainPoke,
}
#: Events whose own "kind" travels as "objects", because the envelope has that name.
_OF_OBJECTS = frozenset({ObjectsChanged, ObjectsSnapshot, FollowUpsDue})
_NAMES = {kind: name for name, kind in _KINDS.items()}
_TIMES = frozenset({"occurred_at", "read_at"})
_TUPLES = frozenset({"ids", "added", "removed", "appeared", "returned", "gone_ids", "sys_ids", "remade"})
#: A page of plausible objects shrinks about six times; a limit keeps a forged message from filling the memory.
_UNPACKED_BYTES = 16 * 1024 * 1024


def encode(event: Event) -> str:
    """The event as JSON text. Raises ``ValueError`` when it is larger than a message can be."""
    text = _encode(event)
    if len(text.encode()) > MESSAGE_BYTES:
        raise ValueError(f"the event is larger than a queue message of {MESSAGE_BYTES} bytes")
    return text


def decode(text: str | bytes) -> Event:
    """The event in a message. Raises ``MalformedEvent`` or ``NewerEvent``."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent("the message is not JSON") from error
    if not isinstance(document, dict):
        raise MalformedEvent("the message is not a JSON object")
    version = document.pop("v", None)
    if not isinstance(version, int) or version < 1:
        raise MalformedEvent("the message has no version")
    if version > VERSION:
        raise NewerEvent(f"the message has version {version}, this app reads up to {VERSION}")
    event_class = _KINDS.get(str(document.pop("kind", "")))
    if event_class is None:
        raise MalformedEvent("the message has no known kind")
    if event_class in _OF_OBJECTS:
        document["kind"] = document.pop("objects", None)
    try:
        event = event_class(**{name: _plain(name, value) for name, value in document.items()})
    except (TypeError, ValueError, OverflowError, RecursionError, AttributeError, zlib.error) as error:
        raise MalformedEvent(f"the message is no {_NAMES[event_class]}: {type(error).__name__}") from error
    _check(event)
    return event


def pack(events_of: list[dict[str, Any]], event: ObjectsSnapshot) -> list[ObjectsSnapshot]:
    """Cut a page's objects into snapshots that fit a message, of at most ``CHUNK`` objects; ``chunk`` counts up from 0."""
    parts: list[ObjectsSnapshot] = []
    pending = [events_of[start : start + CHUNK] for start in range(0, len(events_of), CHUNK)]
    while pending:
        items = pending.pop(0)
        candidate = replace(event, id=new_id(), chunk=len(parts), items=tuple(items))
        if _fits(candidate):
            parts.append(candidate)
        elif len(items) == 1:
            raise ValueError(f"the object {items[0].get('id')} is larger than a queue message")
        else:
            half = len(items) // 2
            pending[:0] = [items[:half], items[half:]]
    return parts


def chunks[T](values: list[T], size: int = CHUNK) -> list[list[T]]:
    """The values in parts of at most ``size``."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def _fits(event: ObjectsSnapshot) -> bool:
    """Whether a message can hold it, packed, and its reader will unpack it."""
    return len(_encode(event)) <= MESSAGE_BYTES and len(_json(event.items)) <= _UNPACKED_BYTES


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _encode(event: Event) -> str:
    document: dict[str, Any] = {"v": VERSION, "kind": _NAMES[type(event)]}
    for name in event.__dataclass_fields__:
        value = getattr(event, name)
        if isinstance(value, datetime):
            value = value.astimezone(UTC).isoformat()
        if name == "kind":
            name = "objects"  # noqa: PLW2901 - "kind" is taken by the envelope
        if name == "items":
            packed = zlib.compress(_json(value).encode())
            value = base64.b64encode(packed).decode()
        document[name] = value
    return _json(document)


def _plain(name: str, value: Any) -> Any:
    if name in _TIMES:
        return datetime.fromisoformat(value).astimezone(UTC)
    if name in _TUPLES:
        return tuple(_text(item) for item in _list(value))
    if name == "pairs":
        return tuple((_text(group), _text(user)) for group, user in _list(value))
    if name == "items":
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.b64decode(value, validate=True), _UNPACKED_BYTES)
        return tuple(dict(item) for item in json.loads(text))
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _check(event: Event) -> None:
    for name, wanted in _PLAIN_FIELDS[type(event)].items():
        value = getattr(event, name)
        # JSON's true is an int in Python, but no number to us.
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise MalformedEvent(f"{name} of the message's {_NAMES[type(event)]} has the wrong type")
    if isinstance(event, (ObjectsChanged, ObjectsSnapshot, FollowUpsDue)) and event.kind not in get_args(Kind):
        raise MalformedEvent("the message names no kind of object")
    if isinstance(event, (ChainAdvance, ChainPoke)) and event.chain not in get_args(Chain):
        raise MalformedEvent("the message names no chain")
    if isinstance(event, WalkDue) and event.walk not in get_args(Walk):
        raise MalformedEvent("the message names no walk")


def _plain_fields(event_class: type[Event]) -> dict[str, type]:
    """The fields that hold a text, a number or a yes/no; a literal is a text."""
    hints = get_type_hints(event_class)
    texts: dict[str, type] = {name: str for name, hint in hints.items() if get_origin(hint) is Literal}
    return texts | {name: hint for name, hint in hints.items() if hint in {str, int, bool}}


_PLAIN_FIELDS = {event_class: _plain_fields(event_class) for event_class in _KINDS.values()}
