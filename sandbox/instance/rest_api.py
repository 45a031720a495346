"""Finding the REST interface that a path names, and the rules on headers that all of them share."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .aggregate_api import AggregateApi
from .answers import ApiAnswer, ApiRequest, RefusalError, no_resource
from .table_api import TableApi

if TYPE_CHECKING:
    import random

    from .access import Caller
    from .instance import Instance

_RESOURCE: Final = re.compile(r"/api/now(?:/(v[12]))?/(table|stats|batch)(?:/([^/]+))?(?:/([^/]+))?/?")
_NAMES: Final = {"table": "Table API", "stats": "Aggregate API", "batch": "Batch API"}
_WRITING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Resource:
    """What a path names: the interface, its version as written, and the parts that follow."""

    kind: str
    version: str
    segments: tuple[str, ...]

    @property
    def api(self) -> str:
        return _NAMES[self.kind]

    @property
    def pattern(self) -> str:
        """The path with the record's sys_id taken out, for counting."""
        version = f"/{self.version}" if self.version else ""
        table = "".join(f"/{segment}" for segment in self.segments[:1])
        return f"/api/now{version}/{self.kind}{table}" + ("/{sys_id}" if len(self.segments) > 1 else "")


def resource_of(path: str) -> Resource | None:
    """Return what the path names, or None if it is no resource of this instance."""
    match = _RESOURCE.fullmatch(path)
    if match is None:
        return None
    version, kind, *segments = match.groups()
    if (kind == "batch") != (segments[0] is None):
        return None
    return Resource(kind, version or "", tuple(segment for segment in segments if segment is not None))


def check_headers(request: ApiRequest) -> None:
    """Demand Accept and Content-Type on writes and refuse formats other than JSON; raise RefusalError 400, 406 or 415.

    A DELETE without Content-Type passes, as on real instances; an item of a batch may leave Accept to its envelope.
    """
    accept = request.headers.get("accept", "")
    if request.method in _WRITING and not accept and not request.in_batch:
        raise RefusalError(400, "Missing Accept header", None)
    if accept and not any(kind in accept for kind in ("application/json", "*/*", "application/*")):
        raise RefusalError(406, "Media type not acceptable", accept)
    content_type = request.headers.get("content-type", "")
    if request.method in _WRITING and request.method != "DELETE":
        if not content_type:
            raise RefusalError(400, "Missing Content-Type header", None)
        if not content_type.startswith("application/json"):
            raise RefusalError(415, "Unsupported media type", content_type)


@dataclass(frozen=True, slots=True)
class RestApi:
    """Answers one Table or Aggregate API call, alone or as an item of a batch."""

    instance: Instance
    chance: random.Random

    def answer(self, request: ApiRequest, caller: Caller) -> ApiAnswer:
        """Return the answer; raise RefusalError for a refusal."""
        resource = resource_of(request.path)
        if resource is None or resource.kind == "batch":
            raise no_resource(request.path)
        check_headers(request)
        if request.method == "HEAD":
            request = replace(request, method="GET")
        if resource.kind == "stats":
            return AggregateApi(self.instance).handle(request, caller, resource.segments)
        return TableApi(self.instance, self.chance).handle(request, caller, resource.version, resource.segments)
