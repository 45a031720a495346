"""How a local tenant is set up, and the switches that make it behave badly while it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from sandbox.tenant.errors import bad_request


@dataclass(frozen=True, slots=True)
class Faults:
    """Switches for what a real directory does on bad days. Rates are shares from 0 to 1; times are in seconds.

    ``lag_seconds``: a read is answered by a replica that is behind by a random time up to this.
    ``delta_replays``: share of delta rounds that begin with changes already reported.
    ``empty_pages``: share of delta pages without items.
    ``lost_``, ``duplicate_``, ``reordered_notifications``: shares of notifications.
    ``throttle_next``: so many requests (parts of a batch count singly) are answered with 429.
    ``throttle_retry_after``: the wait that those state.
    ``fail_next``: HTTP statuses that answer the next requests instead of their own result.
    ``refuse_credentials``: every request is answered with 401.
    ``purge_hides_memberships``: group delta does not report members who were deleted for good (reported in the field).
    ``notification_delay``: shortest and longest time between a change and its notification.
    """

    lag_seconds: float = 0.0
    delta_replays: float = 0.0
    empty_pages: float = 0.0
    lost_notifications: float = 0.0
    duplicate_notifications: float = 0.0
    reordered_notifications: float = 0.0
    throttle_next: int = 0
    throttle_retry_after: int = 1
    fail_next: tuple[int, ...] = ()
    refuse_credentials: bool = False
    purge_hides_memberships: bool = False
    notification_delay: tuple[float, float] = (0.05, 0.05)

    def merged(self, switches: dict[str, Any]) -> Faults:
        """These switches with some changed, from JSON; raises ``GraphError`` 400 for an unknown or ill-typed one."""
        hints = get_type_hints(Faults)
        changed: dict[str, Any] = {}
        for name, value in switches.items():
            if name not in hints:
                raise bad_request(f"Unknown switch {name!r}; the switches are: {', '.join(sorted(hints))}.")
            changed[name] = _switch_value(name, value, getattr(self, name))
        return dataclasses.replace(self, **changed)


def _switch_value(name: str, value: Any, present: object) -> object:
    if name == "fail_next" and isinstance(value, list) and all(isinstance(status, int) for status in value):
        return tuple(value)
    if name == "notification_delay":
        pair = value if isinstance(value, list) else [value, value]
        match pair:
            case [int() | float() as low, int() | float() as high] if 0 <= low <= high:
                return (float(low), float(high))
    if isinstance(present, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(present, (int, float)) and isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return type(present)(value)
    raise bad_request(f"The switch {name!r} does not take the value {value!r}.")


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """When Graph calls an endpoint slow, and what it does then (source: "Receive change notifications through webhooks").

    Shares are of the answers in ``window`` seconds, counted from ``minimum_answers`` on (the current text states none;
    a handful keeps one debugger stop from silencing a tenant). Times are in seconds.
    """

    timeout: float = 10.0
    slow_answer: float = 10.0
    slow_share: float = 0.10
    slow_delay: float = 10.0
    drop_share: float = 0.15
    window: float = 600.0
    minimum_answers: int = 10
    first_retry: float = 1.0
    longest_retry: float = 900.0
    retry_for: float = 4 * 3600.0


DELIVERY_RULES_2023 = DeliveryRules(timeout=3.0, slow_answer=2.9, slow_delay=600.0, minimum_answers=100)
"""The stricter rules that the same page stated in 2023."""


@dataclass(frozen=True, slots=True)
class SubscriptionRules:
    """Limits of subscriptions (source: "subscription resource type", Microsoft Graph docs). Times are in seconds.

    ``reminder_lead``, ``reminder_every``: when reauthorizationRequired is sent before a subscription ends.
    ``reauthorization_grace``: how long delivery goes on after an unanswered reauthorizationRequired.
    """

    longest: float = 41_760 * 60.0
    shortest: float = 45 * 60.0
    validation_timeout: float = 10.0
    reminder_lead: float = 30 * 60.0
    reminder_every: float = 15 * 60.0
    reauthorization_grace: float = 600.0
    per_application: int = 50_000
    per_tenant: int = 1_000
    per_application_and_tenant: int = 100


@dataclass(frozen=True, slots=True)
class TenantConfig:
    """How a tenant is made. Sizes count objects, times are in seconds.

    ``bearer_token``: the only token taken; ``None`` takes any, but never none at all.
    ``security_group_recycle_bin``: Graph deletes security groups for good at once (source: "List deletedItems").
    ``everyone_group``: adds a group that holds every user, for the cost of one change in a very big group.
    """

    seed: int = 1
    users: int = 0
    groups: int = 0
    everyone_group: bool = False
    domain: str = "contoso.com"
    tenant_id: str = "aaaaaaaa-0000-4000-8000-00000000000a"
    application_id: str = "cccccccc-0000-4000-8000-00000000000c"
    creator_id: str = "dddddddd-0000-4000-8000-00000000000d"
    service_principal_id: str = "eeeeeeee-0000-4000-8000-00000000000e"
    bearer_token: str | None = None
    throttling: bool = True
    security_group_recycle_bin: bool = False
    user_delta_page: int = 200
    group_delta_page: int = 100
    member_slice: int = 500
    delta_token_life: float = 7 * 86_400.0
    notification_batch: int = 100
    delivery: DeliveryRules = field(default_factory=DeliveryRules)
    subscriptions: SubscriptionRules = field(default_factory=SubscriptionRules)
    faults: Faults = field(default_factory=Faults)
