"""Many reads in one round trip: Graph's ``$batch``, built and read here (Microsoft Graph docs, "JSON batching").

The SDK's own batch classes send absolute urls and lose JSON bodies (msgraph-sdk-python-core issues 807, 835 and 1030).
Batching saves round trips, not resource units: every part is judged against the throttling limits alone.
"""

from __future__ import annotations

import asyncio
import json
from itertools import batched
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from shared.errors import CredentialsError, ProvisioningError, UnavailableError
from shared.graph.answers import Answer, Ask, fault_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.graph.client import GraphClient

MAX_PARTS: Final = 20
_PARALLEL_BATCHES: Final = 4


async def send_batch(client: GraphClient, asks: Sequence[Ask]) -> tuple[Answer | ProvisioningError, ...]:
    """One outcome per ask, in their order: a 2xx Answer, or the error that its part is.

    A part succeeds or fails alone: its own status and its own Retry-After. A part that Graph left out, and every part of a
    batch that failed as a whole, is an error too. Only CredentialsError is raised: nothing more should be sent then.
    """
    gate = asyncio.Semaphore(_PARALLEL_BATCHES)
    refusals: list[CredentialsError] = []

    async def send(part: tuple[Ask, ...]) -> tuple[Answer | ProvisioningError, ...]:
        async with gate:
            if refusals:
                raise refusals[0]
            try:
                return await _send_one(client, part)
            except CredentialsError as refusal:
                refusals.append(refusal)
                raise

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send(part)) for part in batched(asks, MAX_PARTS, strict=False)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tuple(outcome for task in tasks for outcome in task.result())


async def _send_one(client: GraphClient, asks: tuple[Ask, ...]) -> tuple[Answer | ProvisioningError, ...]:
    try:
        envelope = await client.object(_batch_ask(asks))
    except CredentialsError:
        raise
    except ProvisioningError as error:
        return (error,) * len(asks)
    parts = _parts_by_id(envelope)
    outcomes = tuple(_outcome(client, ask, parts.get(str(number))) for number, ask in enumerate(asks, start=1))
    for outcome in outcomes:
        if isinstance(outcome, CredentialsError):
            raise outcome
    return outcomes


def _batch_ask(asks: tuple[Ask, ...]) -> Ask:
    from kiota_abstractions.method import Method
    from kiota_abstractions.request_information import RequestInformation

    info = RequestInformation(Method.POST, "{+baseurl}/$batch")
    info.headers.try_add("Accept", "application/json")
    requests = [
        {"id": str(number), "method": ask.method, "url": relative_url(ask), "headers": {"Accept": "application/json"}}
        for number, ask in enumerate(asks, start=1)
    ]
    info.set_stream_content(json.dumps({"requests": requests}).encode(), "application/json")
    return Ask(info, "POST", "/$batch", " and ".join(sorted({ask.permission for ask in asks})))


def relative_url(ask: Ask) -> str:
    """The url of ``ask`` as a batch wants it: below the version (``/users/ID?$select=id``), options as the docs write them.

    The query may be unquoted because it holds checked property names only; ids in the path stay quoted.
    """
    ask.info.path_parameters["baseurl"] = ""
    parts = urlsplit(ask.info.url)
    return f"{parts.path}?{unquote(parts.query)}" if parts.query else parts.path


def _parts_by_id(envelope: dict[str, Any]) -> dict[str, dict[str, Any]]:
    responses = envelope.get("responses")
    found: dict[str, dict[str, Any]] = {}
    for part in responses if isinstance(responses, list) else ():
        if isinstance(part, dict):
            found.setdefault(str(part.get("id")), part)
    return found


def _outcome(client: GraphClient, ask: Ask, part: dict[str, Any] | None) -> Answer | ProvisioningError:
    status = part.get("status") if part is not None else None
    if part is None or not isinstance(status, int) or isinstance(status, bool):
        return UnavailableError(f"Graph left {ask.method} {ask.route} out of its batch answer (request-id none)")
    raw_headers = part.get("headers")
    headers = {str(name).lower(): str(value) for name, value in raw_headers.items()} if isinstance(raw_headers, dict) else {}
    body = part.get("body")
    # A body that is not JSON comes as a base64 string.
    answer = Answer(status, headers, None if isinstance(body, str) else body, is_json=not isinstance(body, str))
    return fault_of(ask, answer, client.now()) or answer
