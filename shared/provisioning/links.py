"""Links by hand: which record stands for an Entra object, in an operator's words.

An operator may link what matching may not: protected accounts, records that match by nothing, records that only collate. The
link is written under the object's lease, the record claimed first; the object is looked at right after, as for any change.
A link is removed only while the job is paused, as Microsoft Graph demands for its object connections: otherwise the next event
would match again before the operator has mended what was wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.events import GroupMembersDue, ObjectsChanged, new_id
from shared.graph.objects import Failed, Missing, read_objects
from shared.provisioning.requests import BadRequest, NotNow, Unknown, object_id_of
from shared.servicenow.sys_ids import is_sys_id
from shared.state.owners import Claim
from shared.state.tables import Stale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.events import Kind
    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping
    from shared.state.joins import Join
    from shared.state.leases import Lease

_KINDS: tuple[Kind, ...] = ("user", "group")
_CONTEXT = "https://graph.microsoft.com/beta/$metadata#objectConnection"


class Links:
    """See, adopt, remove."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def see(self, object_id: str) -> dict[str, Any]:
        """The link of an object, in the shape of Graph's object connection. Raises ``Unknown``."""
        object_id = object_id_of(object_id)
        join = await self._known(object_id)
        if join is None or not join.sys_id:
            raise Unknown(f"{object_id} is not linked to a record")
        return await self._document(join)

    async def adopt(self, object_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Link an object to the record ``targetAnchor`` and look at it at once; what it was linked to is let go.

        ``objectTypeName`` (User or Group) is needed only where Graph does not tell. Raises ``BadRequest``, ``Unknown`` for a
        record or object that is not there, and ``NotNow`` when the record belongs to another object, or one of them is held.
        """
        object_id = object_id_of(object_id)
        sys_id = str(body.get("targetAnchor") or "").strip()
        if not is_sys_id(sys_id):
            raise BadRequest("targetAnchor must be the sys_id of a record")
        await self._services.schemas.refresh()
        kind = await self._kind(object_id, str(body.get("objectTypeName") or ""))
        mapping = self._services.mapping(kind)
        if mapping is None:
            raise BadRequest(f"the schema does not provision {kind}s")
        record = await self._services.servicenow.get(mapping.table, sys_id, ("sys_id",))
        if record is None:
            raise Unknown(f"{mapping.table} has no record {sys_id} that the integration user may see")
        join, lease = await self._take(kind, object_id)
        if join.sys_id == sys_id:
            await self._services.joins.write([(replace(join, dirty=True), lease)], keep=False)
        else:
            try:
                await self._claim(mapping, join, sys_id)
            except NotNow:
                await self._services.joins.write([(join, lease)], keep=False)
                raise
            linked = replace(
                join, sys_id=sys_id, state="linked", hashes={}, fingerprint="", intent=None, dirty=True, disabled_by_us=False
            )
            if (await self._services.joins.write([(linked, lease)], keep=False))[0] is None:
                raise NotNow("ObjectIsBusy", f"another worker took {object_id} in between: ask again", retry_after=5.0)
            if join.sys_id:
                await self._services.owners.release(Claim(mapping.table, join.sys_id, object_id))
        await self._look_again(kind, object_id)
        return await self._document(await self._services.joins.get(kind, object_id))

    async def remove(self, object_id: str) -> None:
        """Forget the link of an object; its record stays as it is. Nothing happens where there is none.

        Raises ``NotNow`` unless the job is paused.
        """
        services = self._services
        object_id = object_id_of(object_id)
        if not (await services.jobs.get(fresh=True)).paused:
            raise NotNow("JobIsNotPaused", "a link is removed only while the job is paused: POST /api/job/pause first")
        join = await self._known(object_id)
        if join is None or not join.sys_id:
            return
        join, lease = await self._take(join.kind, object_id)
        mapping = services.mapping(join.kind)
        bare = replace(
            join, sys_id="", state="", hashes={}, fingerprint="", intent=None, dirty=False, disabled_by_us=False, waits=()
        )
        if (await services.joins.write([(bare, lease)], keep=False))[0] is None:
            raise NotNow("ObjectIsBusy", f"another worker took {object_id} in between: ask again", retry_after=5.0)
        await services.escrows.remove(list(join.waits))
        if mapping is not None:
            await services.owners.release(Claim(mapping.table, join.sys_id, object_id))

    async def _known(self, object_id: str) -> Join | None:
        """The join that has a record, else the one that has a row, else nothing."""
        joins = [await self._services.joins.get(kind, object_id) for kind in _KINDS]
        return next((join for join in joins if join.sys_id), next((join for join in joins if join.etag), None))

    async def _kind(self, object_id: str, named: str) -> Kind:
        """What the object is: as our rows, the request or Graph say."""
        for kind in _KINDS:
            if named.casefold() == kind:
                return kind
        if named:
            raise BadRequest("objectTypeName must be User or Group")
        known = await self._known(object_id)
        if known is not None:
            return known.kind
        for kind in _KINDS:
            mapping = self._services.mapping(kind)
            select = mapping.select if mapping is not None else ("id",)
            read = (await read_objects(self._services.graph, kind, [object_id], select))[object_id]
            if isinstance(read, Failed):
                raise read.error
            if not isinstance(read, Missing):
                return kind
        raise Unknown(f"Microsoft Graph knows no user and no group {object_id}")

    async def _take(self, kind: Kind, object_id: str) -> tuple[Join, Lease]:
        services = self._services
        ((join, taken),) = await services.joins.take([await services.joins.get(kind, object_id)], new_id())
        if taken.lease is None:
            until = taken.busy_until
            wait = (until - services.clock()).total_seconds() if until is not None else 5.0
            raise NotNow("ObjectIsBusy", f"another worker is provisioning {object_id} at this moment", retry_after=max(1.0, wait))
        return join, taken.lease

    async def _claim(self, mapping: ObjectMapping, join: Join, sys_id: str) -> None:
        """Own the record; one that another object has no link to any more passes over."""
        services = self._services
        claim = Claim(mapping.table, sys_id, join.object_id)
        owner = (await services.owners.claim([claim]))[0]
        if owner == join.object_id:
            return
        former = await services.joins.get(mapping.kind, owner)
        if former.is_held(services.clock()):
            raise NotNow("ObjectIsBusy", f"{owner}, who owns the record, is being provisioned", retry_after=5.0)
        if former.sys_id == sys_id and former.is_linked:
            raise NotNow("RecordIsLinked", f"record {sys_id} is linked to {owner}: remove that link first")
        try:
            if former.sys_id == sys_id:
                await services.joins.retire(former)
            moved = await services.owners.move(claim, owner)
        except Stale:
            moved = False
        if not moved:
            raise NotNow("ObjectIsBusy", f"the record {sys_id} changed hands in between: ask again", retry_after=5.0)

    async def _look_again(self, kind: Kind, object_id: str) -> None:
        """Provision the object under its new link, release who waits for it, move its memberships to the new record."""
        services = self._services
        at = services.clock()
        await services.queues.send(ObjectsChanged(kind=kind, ids=(object_id,), reason="request", occurred_at=at))
        await services.waiting.release_for(kind, [object_id])
        if kind == "group":
            await services.queues.send(GroupMembersDue(group_id=object_id, reason="released"))

    async def _document(self, join: Join) -> dict[str, Any]:
        mapping = self._services.mapping(join.kind)
        owner = await self._services.owners.owner(mapping.table, join.sys_id) if mapping is not None else ""
        return {
            "@odata.context": _CONTEXT,
            "objectId": join.object_id,
            "sourceAnchor": join.object_id,
            "targetAnchor": join.sys_id,
            "objectTypeName": join.kind,
            "app": {
                "state": join.state,
                "table": mapping.table if mapping is not None else "",
                "owned": owner == join.object_id,
                "schemaVersion": join.schema,
                "readDateTime": join.read_at.isoformat() if join.read_at else None,
                "awaits": sorted(join.waits),
            },
        }
