"""What can be wrong with an operator's request."""

from __future__ import annotations

from shared.graph.identities import is_object_id


class BadRequest(Exception):
    """A request that cannot be understood (400); the message says why."""


class NotNow(Exception):
    """The request is understood, but the present state does not allow it (409). ``retry_after``: when it may, in seconds."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class Unknown(Exception):
    """What the request names is not there (404)."""


class Faulty(Exception):
    """A document that is refused whole (400), with every fault under its JSON path."""

    def __init__(self, code: str, message: str, faults: list[tuple[str, str]]) -> None:
        super().__init__(message)
        self.code = code
        self.faults = faults


def object_id_of(value: object, name: str = "objectId") -> str:
    """The id of a directory object, in lower case as Graph writes it. Raises ``BadRequest`` for anything else.

    Graph would take a user principal name as well, and a second link would be made for the same person under it.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not is_object_id(text):
        raise BadRequest(f"{name} must be the id of a user or a group, a GUID")
    return text.lower()
