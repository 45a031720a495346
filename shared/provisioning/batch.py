"""The objects of one message on their way together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.events import Kind, ObjectsChanged, ObjectsSnapshot
    from shared.provisioning.deciding import Verdict
    from shared.provisioning.work import Work
    from shared.schema.expressions import EvaluationContext
    from shared.schema.mapping import ObjectMapping
    from shared.state.joins import Join
    from shared.state.leases import Intent
    from shared.state.owners import Claim


@dataclass(slots=True)
class Batch:
    """The works of one event and what they share.

    ``crossed``: what former workers were about to write when they took the objects over or gave them up, by object id; as long
    as the objects have not come to their ends here, the intents stand. ``announced``: our own. ``inherited``: objects taken over
    from somebody who did not come to their end. ``begun``: the records that a former worker may have created for them.
    """

    event: ObjectsChanged | ObjectsSnapshot
    mapping: ObjectMapping
    works: list[Work]
    started: datetime
    context: EvaluationContext
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    crossed: dict[str, Intent] = field(default_factory=dict)
    announced: dict[str, Intent] = field(default_factory=dict)
    inherited: set[str] = field(default_factory=set)
    begun: dict[str, str] = field(default_factory=dict)
    #: The joins of those whose begun record was found, as they were before.
    adopted: dict[str, Join] = field(default_factory=dict)
    #: Records that pass over from a former owner with this batch, by the new one's object id.
    passed: dict[str, Claim] = field(default_factory=dict)
    #: The joins are written, under their leases; what remains is to tell others.
    is_committed: bool = False
    roles: Mapping[str, tuple[str, ...]] | None = None
    #: Object ids of the groups of each object, where the mapping asks for them; None while unread.
    member_of: Mapping[str, tuple[str, ...]] | None = None

    @property
    def kind(self) -> Kind:
        return self.event.kind

    @property
    def open(self) -> list[Work]:
        """Works without an outcome yet."""
        return [work for work in self.works if work.is_open]

    def unfinished(self, work: Work) -> Join:
        """The join of an object that has not come to its end here.

        A record that a former worker created is not in it: whoever finishes adopts it anew, and it appears to others then.
        """
        before = self.adopted.get(work.object_id)
        return work.join if before is None else replace(work.join, sys_id=before.sys_id, state=before.state)

    @property
    def decided(self) -> list[Work]:
        """Open works of which it is known what should become of their records."""
        return [work for work in self.works if work.is_open and work.object_id in self.verdicts]
