"""Where Graph sends change notifications for users and groups (Microsoft Graph docs, "subscription resource type").

Both urls are validated during the create call: the functions that answer must be able to run while it waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.errors import NotFoundError, ProtocolError

if TYPE_CHECKING:
    from shared.graph.client import GraphClient
    from shared.graph.identities import ObjectKind

MAX_LIFETIME: Final = timedelta(minutes=41_760)
# Two hours below the maximum: a clock that runs ahead of Graph's must not ask for too much.
DEFAULT_LIFETIME: Final = MAX_LIFETIME - timedelta(hours=2)
MAX_CLIENT_STATE: Final = 128
# A created user or group is announced as "updated"; "created" is refused for these resources.
_CHANGE_TYPE: Final = "updated,deleted"
_RESOURCE: Final[dict[ObjectKind, str]] = {"user": "/users", "group": "/groups"}
_PERMISSION: Final[dict[ObjectKind, str]] = {"user": "User.Read.All", "group": "Group.Read.All"}
_EITHER_PERMISSION: Final = "User.Read.All and Group.Read.All"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as Graph holds it. The clientState is never given back, so it cannot be compared here."""

    id: str
    resource: str
    change_type: str
    notification_url: str | None
    lifecycle_url: str | None
    expires_at: datetime

    @property
    def kind(self) -> ObjectKind | None:
        """User or group for the two resources that this app subscribes to; None for another's subscription."""
        resource = self.resource.strip("/").lower()
        return "user" if resource == "users" else "group" if resource == "groups" else None

    def serves(self, notification_url: str, lifecycle_url: str) -> bool:
        """Whether it leads to these urls. The lifecycle url cannot be changed later: a subscription is then recreated."""
        kept_types = {kind.strip() for kind in self.change_type.split(",")}
        wanted = self.notification_url == notification_url and self.lifecycle_url == lifecycle_url
        return wanted and kept_types >= set(_CHANGE_TYPE.split(","))


async def list_subscriptions(client: GraphClient) -> tuple[Subscription, ...]:
    """All subscriptions of this app in the tenant, also those for other resources."""
    ask = client.read(lambda graph: graph.subscriptions, permission=_EITHER_PERMISSION)
    return tuple([_subscription(raw) async for page in client.pages(ask) for raw in page])


async def create_subscription(
    client: GraphClient,
    kind: ObjectKind,
    *,
    notification_url: str,
    lifecycle_url: str,
    client_state: str,
    lifetime: timedelta = DEFAULT_LIFETIME,
) -> Subscription:
    """Subscribe to all users or all groups.

    Raises ValueError for a clientState that Graph would cut or refuse, or a lifetime above the maximum; RefusedError for a
    missing permission or an exhausted quota; ProtocolError when Graph could not validate an url; FateUnknownError when the
    answer was lost: list before creating again.
    """
    if not 0 < len(client_state) <= MAX_CLIENT_STATE:
        raise ValueError(f"a clientState has 1 to {MAX_CLIENT_STATE} characters")
    body = {
        "changeType": _CHANGE_TYPE,
        "notificationUrl": notification_url,
        "lifecycleNotificationUrl": lifecycle_url,
        "resource": _RESOURCE[kind],
        "expirationDateTime": _expiration(client, lifetime),
        "clientState": client_state,
        "latestSupportedTlsVersion": "v1_2",
    }
    ask = client.write(lambda graph: graph.subscriptions, "POST", body, permission=_PERMISSION[kind])
    return _subscription(await client.object(ask))


async def renew_subscription(
    client: GraphClient,
    subscription_id: str,
    *,
    lifetime: timedelta = DEFAULT_LIFETIME,
) -> Subscription:
    """Extend a subscription, which also reauthorizes it. Raises NotFoundError when it has expired: Graph removes it silently."""
    ask = client.write(
        lambda graph: graph.subscriptions.by_subscription_id(subscription_id),
        "PATCH",
        {"expirationDateTime": _expiration(client, lifetime)},
        permission=_EITHER_PERMISSION,
    )
    return _subscription(await client.object(ask))


async def delete_subscription(client: GraphClient, subscription_id: str) -> None:
    """Remove a subscription; one that is already gone is fine."""
    ask = client.write(
        lambda graph: graph.subscriptions.by_subscription_id(subscription_id),
        "DELETE",
        None,
        permission=_EITHER_PERMISSION,
    )
    try:
        await client.send(ask)
    except NotFoundError:
        return


def _expiration(client: GraphClient, lifetime: timedelta) -> str:
    if not timedelta(0) < lifetime < MAX_LIFETIME:
        raise ValueError(f"a subscription lives less than {MAX_LIFETIME}")
    return (client.now() + lifetime).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _subscription(raw: Any) -> Subscription:
    try:
        expires_at = datetime.fromisoformat(raw["expirationDateTime"])
        return Subscription(
            id=str(raw["id"]),
            resource=str(raw["resource"]),
            change_type=str(raw.get("changeType") or ""),
            notification_url=raw.get("notificationUrl"),
            lifecycle_url=raw.get("lifecycleNotificationUrl"),
            expires_at=expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"Graph sent a subscription that cannot be read ({type(error).__name__})") from error
