"""A Graph request and its answer, apart from how they travel: alone over HTTP, or as a part of a batch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from sandbox.tenant.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"(?P<name>[A-Za-z]+)\((?P<key>[^()]*)\)")


@dataclass(frozen=True, slots=True)
class GraphRequest:
    """One request. ``path`` is below the version and still encoded, ``base`` is ``http://host/v1.0``.

    ``segments`` are decoded and unified: ``users('1')`` becomes ``users``, ``1``; ``delta()`` and ``microsoft.graph.delta``
    become ``delta``; ``servicePrincipals(appId='2')`` becomes ``servicePrincipals``, ``appId=2``.
    ``options`` are the query options without ``$``, lower case. Header names are lower case.
    """

    method: str
    base: str
    path: str
    segments: tuple[str, ...]
    options: Mapping[str, str]
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @classmethod
    def parse(cls, method: str, base: str, target: str, headers: Mapping[str, str], body: Any) -> GraphRequest:
        """A request for ``target``, the path and query below the version."""
        path, _, query = target.partition("?")
        segments: list[str] = []
        for raw in path.strip("/").split("/"):
            segments.extend(_segments(unquote(raw)))
        options = {name.lstrip("$").lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
        names = {name.lower(): value for name, value in headers.items()}
        return cls(method.upper(), base, "/" + path.strip("/"), tuple(segments), options, query, names, body)

    def json_object(self) -> dict[str, Any]:
        """The body; raises ``GraphError`` 400 if it is no JSON object."""
        if not isinstance(self.body, dict):
            raise bad_request(
                "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON."
            )
        return self.body


@dataclass(frozen=True, slots=True)
class GraphResponse:
    """An answer. ``body`` is a JSON value, text (for ``$count``) or nothing."""

    status: int = HTTPStatus.OK
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def _segments(segment: str) -> list[str]:
    match = _KEY.fullmatch(segment.removeprefix("microsoft.graph."))
    if match is None:
        return ["delta"] if segment == "microsoft.graph.delta" else [segment]
    name, key = match["name"], match["key"]
    if not key:
        return [name]
    return [name, key.replace("'", "")]
