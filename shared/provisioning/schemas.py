"""Which schema the app works by: the active version lives in storage, every worker follows it within seconds.

The first start seeds storage from PROVISIONING_SCHEMA or the packaged default; from then on only ``PUT /api/schema`` changes it.
A changed schema keeps the links and starts a full cycle, because every object has to be looked at under the new rules.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ProvisioningError, UnavailableError
from shared.graph.objects import default_domain
from shared.provisioning.requests import BadRequest, Faulty, NotNow, Unknown
from shared.schema.defaults import default_schema
from shared.schema.expressions import EvaluationContext, function_schemas, parse_expression_response
from shared.schema.faults import SchemaFaults
from shared.schema.importing import import_schema
from shared.schema.mapping import Mappings, compile_mappings, schema_version
from shared.schema.model import SynchronizationSchema, parse_schema, to_json
from shared.schema.scoping import filter_operator_schemas
from shared.servicenow.dictionary import verify_columns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping
    from shared.settings import Settings
    from shared.state.schemas import Schemas

log = logging.getLogger("provisioning.schema")

#: How long the active version is believed before storage is asked again.
_FRESH = timedelta(seconds=2)
#: Under which names the default domain may be asked for in an expression.
_ASKS_TENANT = "DefaultDomain"
_MEMBERS = "members"


def seed_schema(settings: Settings) -> SynchronizationSchema:
    """The schema of the first start: PROVISIONING_SCHEMA, or the packaged one. Raises ``SchemaFaults`` with every fault."""
    if not settings.schema_path:
        return default_schema()
    return import_schema(Path(settings.schema_path).read_bytes())[0]


class ActiveSchema:
    """The mappings in use, and an operator's ways to see and replace them.

    ``fixed`` mappings never change and need no storage: tests and rehearsals have them.
    """

    def __init__(self, services: Services, store: Schemas, *, fixed: Mappings | None = None) -> None:
        self._services = services
        self._store = store
        self._fixed = fixed
        self._seed: SynchronizationSchema | None = None if fixed else seed_schema(services.settings)
        self._current: Mappings | None = fixed
        self._refreshed_at: datetime | None = None

    @property
    def mappings(self) -> Mappings:
        """The mappings as this worker last saw them; the seed's until it has looked."""
        if self._current is None:
            self._current = compile_mappings(self._seed or default_schema())
        return self._current

    async def refresh(self, *, now: bool = False) -> None:
        """Follow storage; asks it at most every two seconds unless told ``now``. Raises ``UnavailableError``."""
        at = self._services.clock()
        if self._fixed or (not now and self._refreshed_at is not None and at - self._refreshed_at < _FRESH):
            return
        active = await self._store.active()
        if active is None:
            seed = self._seed or default_schema()
            active = await self._store.seed(schema_version(seed), json.dumps(to_json(seed)), at)
        if active.version != self.mappings.version:
            self._current = compile_mappings(await self._stored(active.version))
            log.info("the schema is now version %s", active.version)
        self._refreshed_at = at

    async def document(self, version: str = "") -> dict[str, Any]:
        """The active schema as JSON, or an earlier version of it. Raises ``Unknown``."""
        self._demand_changeable()
        await self.refresh(now=True)
        wanted = version or self.mappings.version
        text = await self._store.document(wanted)
        if text is None:
            raise Unknown(f"there is no version {wanted} of the schema")
        document: dict[str, Any] = json.loads(text)
        return {**document, "version": wanted}

    async def put(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the active schema; answers its version, what an import renamed, and what ServiceNow will not take.

        Raises ``Faulty`` with every fault by its path; the running schema stays then.
        """
        self._demand_changeable()
        try:
            schema, changes = import_schema(document)
            mappings = compile_mappings(schema)
        except SchemaFaults as faults:
            raise _faulty(faults) from faults
        warnings = await self._column_warnings(mappings, schema)
        before = (await self._store.active()) or None
        stored = to_json(schema)
        active = await self._store.activate(mappings.version, json.dumps(stored, ensure_ascii=False), self._services.clock())
        await self.refresh(now=True)
        if before is None or before.version != mappings.version:
            log.warning("schema version %s takes the place of %s: a full cycle follows", mappings.version, before)
            await self._services.cycles.request_full()
        return {
            "version": active.version,
            "number": active.number,
            "changes": [{"path": change.path, "oldValue": change.old, "newValue": change.new} for change in changes],
            "warnings": warnings,
        }

    async def versions(self) -> list[dict[str, Any]]:
        """All activations, the newest first."""
        return [
            {"version": one.version, "number": one.number, "activatedDateTime": one.at.isoformat() if one.at else None}
            for one in await self._store.history()
        ]

    async def parse_expression(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Graph's ``parseExpression``: the parsed form, and what it gives for a test object. Raises ``BadRequest``."""
        expression, test = body.get("expression"), body.get("testInputObject")
        if not isinstance(expression, str):
            raise BadRequest("expression must be a text")
        if test is not None and not _is_test_object(test):
            raise BadRequest("testInputObject must be an object with properties: a list of {key, value}")
        domain = await default_domain(self._services.graph) if test is not None and _ASKS_TENANT in expression else None
        context = EvaluationContext(now=self._services.clock(), default_domain=domain)
        return parse_expression_response(expression, test, context)

    async def _stored(self, version: str) -> SynchronizationSchema:
        """A version that another worker, perhaps of another release, has made the active one."""
        text = await self._store.document(version)
        try:
            return parse_schema(text or "")
        except SchemaFaults as faults:
            reason = f"version {version} of the schema cannot be read by this release of the app: {faults.reason}"
            raise UnavailableError(reason, retry_after=60.0, recommended_action="Put a schema without these faults.") from faults

    def _demand_changeable(self) -> None:
        if self._fixed:
            raise NotNow("SchemaIsFixed", "this process works by a schema that was given to it and cannot be changed")

    async def _column_warnings(self, mappings: Mappings, schema: SynchronizationSchema) -> list[str]:
        """What the instance's own tables lack. A matching column among it is a fault: nobody could be matched."""
        warnings: list[str] = []
        for mapping in (mappings.users, mappings.groups):
            if mapping is None or not mapping.enabled:
                continue
            try:
                dictionary = await self._services.target.dictionary(mapping.table)
            except (ProvisioningError, KeyError) as error:
                reason = error.reason if isinstance(error, ProvisioningError) else "it is none that the app knows"
                warnings.append(f"the columns of {mapping.table} could not be verified: {reason}")
                continue
            if dictionary.source != "sys_dictionary":
                continue
            columns = {attribute.target for attribute in mapping.attributes if attribute.target != _MEMBERS}
            faults = verify_columns(dictionary, read=columns, written=columns)
            matching = {column for rule in mapping.matching for column, _ in rule.pairs}
            fatal = [fault for fault in faults if fault.column in matching]
            if fatal:
                raise Faulty(
                    "InvalidSchema",
                    "a matching column cannot be used",
                    [(_path(schema, mapping, fault.column), f"{fault.table}.{fault.column} {fault.problem}") for fault in fatal],
                )
            warnings += [f"{fault.table}.{fault.column} {fault.problem}: it is left out" for fault in faults]
        return warnings


def list_functions() -> dict[str, Any]:
    """What ``GET schema/functions`` answers."""
    return {"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#functions", "value": function_schemas()}


def list_filter_operators() -> dict[str, Any]:
    """What ``GET schema/filterOperators`` answers."""
    return {"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#filterOperators", "value": filter_operator_schemas()}


def _faulty(faults: SchemaFaults) -> Faulty:
    return Faulty(faults.code, faults.reason, [(fault.path, fault.message) for fault in faults.faults])


def _path(schema: SynchronizationSchema, mapping: ObjectMapping, column: str) -> str:
    """Where the document maps a column."""
    return next(
        attribute.path
        for rule in schema.rules
        for found in rule.mappings
        for attribute in found.attributes
        if found.source_object.lower() == mapping.kind and attribute.target == column
    )


def _is_test_object(test: Any) -> bool:
    if not isinstance(test, dict):
        return False
    properties = test.get("properties") or []
    return isinstance(properties, dict) or (isinstance(properties, list) and all(isinstance(entry, dict) for entry in properties))
