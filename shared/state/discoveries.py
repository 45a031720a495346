"""What a discovery found: one row per ServiceNow account, and by which values Entra's users could be matched.

| partition | row | holds |
|---|---|---|
| ``match-{run}-{bucket}`` | ``{hash of rule and values}|{object id}`` | a user whom such values would match |
| ``discovery-{run}`` | ``{sys_id}`` | the finding about one account |
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.state.tables import Operation, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.state.tables import Row, Tables

_TABLE = "plans"
_PREFIXES = (("discovery-", "discovery."), ("match-", "match."))
_PARALLEL_READS = 16
#: A property holds 32 Ki units of UTF-16, and a character may take two.
_NAME_LENGTH, _DOCUMENT_LENGTH = 1_000, 16_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A user of Entra whom the values behind ``key`` would match."""

    key: str
    object_id: str
    name: str


def match_key(rule: int, values: Mapping[str, str]) -> str:
    """The same for values that matching holds equal: without letter case, whatever the order of columns."""
    text = json.dumps([rule, sorted((column, value.casefold()) for column, value in values.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


class Discoveries:
    """Write and read them. ``run`` is the discovery's id."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def note_candidates(self, run: str, candidates: Sequence[Candidate]) -> None:
        await self._tables.apply(
            _TABLE,
            [
                Operation(
                    "upsert",
                    row(_bucket(run, one.key), f"{one.key}|{one.object_id}", name=one.name[:_NAME_LENGTH]),
                )
                for one in candidates
            ],
        )

    async def candidates(self, run: str, keys: Sequence[str]) -> dict[str, list[Candidate]]:
        """The users behind each key; keys that nobody has are left out."""
        room = asyncio.Semaphore(_PARALLEL_READS)

        async def one(key: str) -> list[Candidate]:
            condition = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @last"
            parameters = {"partition": _bucket(run, key), "first": f"{key}|", "last": f"{key}}}"}
            async with room:
                rows = await self._tables.query(_TABLE, condition, parameters)
            return [Candidate(key, str(found["RowKey"]).partition("|")[2], str(found.get("name", ""))) for found in rows]

        distinct = list(dict.fromkeys(keys))
        answers = await asyncio.gather(*(one(key) for key in distinct))
        return {key: found for key, found in zip(distinct, answers, strict=True) if found}

    async def write(self, run: str, findings: Sequence[Mapping[str, Any]]) -> None:
        """Findings with ``sysId`` and ``status``; written again they are the same rows."""
        operations = []
        for finding in findings:
            text = json.dumps(finding, separators=(",", ":"), ensure_ascii=False)[:_DOCUMENT_LENGTH]
            operations.append(
                Operation("upsert", row(f"discovery-{run}", str(finding["sysId"]), status=finding["status"], document=text))
            )
        await self._tables.apply(_TABLE, operations)

    async def page(
        self, run: str, *, status: str, size: int, token: dict[str, str] | None
    ) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
        """One page of findings, of one status or of all, in the order of sys_ids; it may be short though others follow."""
        condition, parameters = "PartitionKey eq @run", {"run": f"discovery-{run}"}
        if status:
            condition, parameters = f"{condition} and status eq @status", {**parameters, "status": status}
        rows, following = await self._tables.page(_TABLE, condition, parameters, size=size, token=token)
        return [_document(found) for found in rows], following

    async def forget_others(self, run: str) -> None:
        """Remove every other discovery's rows."""
        for first, last in _PREFIXES:
            condition = "PartitionKey ge @first and PartitionKey lt @last"
            rows = await self._tables.query(_TABLE, condition, {"first": first, "last": last}, select=["status"])
            stale = [found for found in rows if not str(found["PartitionKey"]).startswith(f"{first}{run}")]
            await self._tables.apply(_TABLE, [Operation("delete", row(each["PartitionKey"], each["RowKey"])) for each in stale])


def _bucket(run: str, key: str) -> str:
    return f"match-{run}-{key[:1]}"


def _document(found: Row) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(str(found["document"]))
    return document
