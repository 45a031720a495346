"""The way in which Graph says no."""

from __future__ import annotations

from http import HTTPStatus


class GraphError(Exception):
    """A request that is refused: HTTP status, Graph's error code and message, and headers of the answer."""

    def __init__(self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = int(status)
        self.code = code
        self.message = message
        self.headers = headers or {}


def bad_request(message: str, *, code: str = "BadRequest") -> GraphError:
    """A request that Graph cannot understand."""
    return GraphError(HTTPStatus.BAD_REQUEST, code, message)


def invalid_value(message: str) -> GraphError:
    """A request that is understood, but whose values the directory does not take."""
    return GraphError(HTTPStatus.BAD_REQUEST, "Request_BadRequest", message)


def not_found(reference: str) -> GraphError:
    """The object is not there: it never was, is deleted, or a replica does not know it yet."""
    message = f"Resource '{reference}' does not exist or one of its queried reference-property objects are not present."
    return GraphError(HTTPStatus.NOT_FOUND, "Request_ResourceNotFound", message)
