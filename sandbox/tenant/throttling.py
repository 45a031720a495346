"""Throttling in resource units (source: "Microsoft Graph service-specific throttling limits", identity and access)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from sandbox.tenant.errors import GraphError
from sandbox.tenant.objects import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.tenant.directory import Tenant

_SMALL_TENANT, _MEDIUM_TENANT = 50, 500
_SMALL_LIMIT, _MEDIUM_LIMIT, _LARGE_LIMIT = 3_500.0, 5_000.0, 8_000.0
_SECONDS = 10.0
_WRITES, _WRITE_SECONDS = 3_000.0, 150.0
_SUBSCRIPTION_REQUESTS, _SUBSCRIPTION_SECONDS = 5_000.0, 20.0
_WORTH_SAYING = 0.8
_MOST_OVERDRAWN = 0.8
_SMALL_PAGE = 20


def resource_units(base: int, options: Mapping[str, str]) -> int:
    """What a request costs: the base cost of its route, less for $select and small pages, more for $expand."""
    cost = base - ("select" in options) + ("expand" in options)
    top = options.get("top", "")
    if top.isdigit() and int(top) < _SMALL_PAGE:
        cost -= 1
    return max(1, cost)


class _Bucket:
    """A token bucket of ``limit`` that fills in ``seconds``. Refused requests count too, up to a bound."""

    def __init__(self, limit: float, seconds: float, now: float) -> None:
        self.limit = limit
        self._rate = limit / seconds
        self._left = limit
        self._at = now

    def take(self, cost: float, now: float) -> float:
        """Take ``cost``; returns the seconds to wait until there is enough, 0 if there was."""
        self._left = min(self.limit, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        enough = self._left >= cost
        self._left = max(self._left - cost, -_MOST_OVERDRAWN * self.limit)
        return 0.0 if enough else max(1.0, -self._left / self._rate)

    @property
    def used(self) -> float:
        """Share of the limit that is used: 1.0 is all, 1.8 the most that is counted."""
        return 1.0 - self._left / self.limit


class Throttle:
    """The limits of one application in this tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        now = tenant.clock()
        users = len(tenant.order[Kind.USER])
        limit = _SMALL_LIMIT if users < _SMALL_TENANT else _MEDIUM_LIMIT if users <= _MEDIUM_TENANT else _LARGE_LIMIT
        self._units = _Bucket(limit, _SECONDS, now)
        self._writes = _Bucket(_WRITES, _WRITE_SECONDS, now)
        self._subscriptions = _Bucket(_SUBSCRIPTION_REQUESTS, _SUBSCRIPTION_SECONDS, now)
        self.refused = 0

    def admit(self, *, units: int, writes: bool, subscription_service: bool) -> dict[str, str]:
        """The headers that an answer must carry; raises ``GraphError`` 429 with them and more."""
        headers = {} if subscription_service else {"x-ms-resource-unit": str(units)}
        faults = self._tenant.faults
        if faults.throttle_next > 0:
            self._tenant.faults = faults.merged({"throttle_next": faults.throttle_next - 1})
            raise self._refusal(faults.throttle_retry_after, "ResourceUnitLimitExceeded", headers)
        if not self._tenant.config.throttling:
            return headers
        now = self._tenant.clock()
        if subscription_service:
            wait = self._subscriptions.take(1, now)
            if wait:
                raise self._refusal(wait, "CPULimitExceeded", headers)
            return headers
        wait = self._units.take(units, now)
        if self._units.used > _WORTH_SAYING:
            headers["x-ms-throttle-limit-percentage"] = f"{self._units.used:.1f}"
        if wait:
            raise self._refusal(wait, "ResourceUnitLimitExceeded", headers)
        wait = self._writes.take(1, now) if writes else 0.0
        if wait:
            raise self._refusal(wait, "WriteLimitExceeded", headers)
        return headers

    def _refusal(self, wait: float, information: str, headers: dict[str, str]) -> GraphError:
        self.refused += 1
        config = self._tenant.config
        access = "Write" if information == "WriteLimitExceeded" else "ReadWrite"
        return GraphError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "TooManyRequests",
            "Too many requests.",
            headers=headers
            | {
                "Retry-After": str(math.ceil(wait)),
                "x-ms-throttle-scope": f"Tenant_Application/{access}/{config.application_id}/{config.tenant_id}",
                "x-ms-throttle-information": information,
            },
        )
