"""What waits, as operators see it, and its release by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.provisioning.paging import page_size, read_token, write_token
from shared.provisioning.requests import Unknown
from shared.state.escrows import JOB, RETRY, Escrow

if TYPE_CHECKING:
    from shared.provisioning.services import Services

_WAITS_FOR = {"object": "object", "record": "record", RETRY: "retry", JOB: "job"}


async def page(services: Services, *, top: str, token: str) -> dict[str, Any]:
    """A page of everything that waits. Raises ``BadRequest``."""
    size = page_size(top)
    escrows, following = await services.escrows.page(size=size, token=read_token(token))
    answer: dict[str, Any] = {"value": [_shown(escrow) for escrow in escrows]}
    if following is not None:
        answer["@odata.nextLink"] = f"escrows?$top={size}&$skiptoken={write_token(following)}"
    return answer


async def retry(services: Services, escrow_id: str) -> dict[str, Any]:
    """Look again at whoever waits, now. Raises ``Unknown`` for an id that nothing waits under."""
    key = Escrow.key_of(escrow_id)
    escrow = await services.escrows.get(*key) if key is not None else None
    if escrow is None:
        raise Unknown("nothing waits under this id: it may have been released meanwhile")
    await services.waiting.release([escrow], reason="retry" if escrow.partition == RETRY else "released")
    return _shown(escrow)


def _shown(escrow: Escrow) -> dict[str, Any]:
    kind, _, rest = escrow.waiter.partition(":")
    group, _, user = rest.partition(":")
    who = {"objectTypeName": "Membership", "groupId": group, "userId": user}
    if kind != "pair":
        who = {"objectTypeName": "User" if kind in {"user", "memberOf"} else "Group", "objectId": rest}
    waits_for, _, table = escrow.partition.partition("-")
    return {
        "id": escrow.id,
        **who,
        "waitsFor": _WAITS_FOR.get(waits_for, waits_for),
        "table": table if waits_for == "record" else None,
        "awaited": escrow.awaited or None,
        "errorCode": escrow.code or None,
        "reason": escrow.reason,
        "recommendedAction": escrow.recommended_action or None,
        "attempts": escrow.attempts,
        "createdDateTime": escrow.created_at.isoformat() if escrow.created_at else None,
        "nextAttemptDateTime": escrow.next_at.isoformat() if escrow.next_at else None,
    }
