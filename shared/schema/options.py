"""The options of a mapping, kept as texts in ``metadata[]``.

An unknown value of a key below is a fault of the schema. Unknown keys are Graph's own or somebody else's: left alone.

On an **objectMapping**:

| key | values (default first) | meaning |
|---|---|---|
| ``Table`` | from targetObjectName | ServiceNow table; "User" and "Group" mean sys_user and sys_user_group |
| ``OnDisable`` | ``disable`` | what to do when accountEnabled becomes false: an action, below |
| ``OnUnassign`` | ``disable`` | when the object is unassigned or leaves the scoping filter |
| ``OnSoftDelete`` | ``disable`` | when it is in the recycle bin |
| ``OnDelete`` | ``delete`` | when it is gone for good; needs Delete among flowTypes |
| ``HireDisabled`` | ``skip``, ``create`` | a new object that is disabled |
| ``SkipOutOfScopeDeletions`` | ``false``, ``true`` | true: nothing happens when an object goes out of scope |
| ``RecreateMissing`` | ``recreate``, ``hold`` | a linked record that has vanished from ServiceNow |
| ``MatchPrefer`` | ``none``, ``active``, ``newest`` | which of several matching records; none: several are an error |
| ``Members`` | ``managed``, ``authoritative`` | only members that we added may be removed, or also others |
| ``NestedGroups`` | ``ignore``, ``expand`` | members of member groups count as members |
| ``AppRoles`` | ``off``, ``add``, ``authoritative`` | app roles to sys_user_has_role |
| ``ProtectedAccounts`` | ``admin`` | comma list of user names, ``*`` as wildcard: never touched unless linked by hand |

An action is a list separated by ";" of ``nothing``, ``disable`` (export with IsSoftDeleted true), ``delete``,
``removeMemberships`` and ``set COLUMN=VALUE``: ``disable; removeMemberships; set title=Former employee``.

On an **attributeMapping**:

| key | values (default first) | meaning |
|---|---|---|
| ``ReferencePolicy`` | ``omit``, ``fail``, ``create`` | a referenced record that does not exist |
| ``ReferenceTable`` | by column or referencedObjects | table of the referenced record |
| ``ReferenceColumns`` | by table | comma list: columns in which the value is looked up, in this order |
| ``MatchCase`` | from caseExact | ``exact`` or ``ignore`` letter case, when matching and when comparing |
| ``Clear`` | ``true``, ``false`` | an attribute that was provisioned and is now NULL is cleared |
| ``ClearNeverProvisioned`` | ``false``, ``true`` | also one that we never wrote |
| ``Drift`` | ``report``, ``repair``, ``ignore`` | a value that was changed in ServiceNow |
| ``OnOverflow`` | ``refuse``, ``truncate`` | a text longer than the column |
| ``Redact`` | ``false``, ``true`` | the value never appears in a log |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from .faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .model import Metadata

type ReferencePolicy = Literal["omit", "fail", "create"]
type Drift = Literal["report", "repair", "ignore"]
type Overflow = Literal["refuse", "truncate"]
type HireDisabled = Literal["skip", "create"]
type RecreateMissing = Literal["recreate", "hold"]
type MatchPrefer = Literal["none", "active", "newest"]
type Members = Literal["managed", "authoritative"]
type NestedGroups = Literal["ignore", "expand"]
type AppRoles = Literal["off", "add", "authoritative"]
type MatchCase = Literal["exact", "ignore"]

_SET = re.compile(r"set\s+([a-z][a-z0-9_]*)\s*=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Action:
    """What a turn of life does to the record. All false and nothing to set: nothing."""

    disable: bool = False
    delete: bool = False
    remove_memberships: bool = False
    set_attributes: tuple[tuple[str, str], ...] = ()

    @property
    def nothing(self) -> bool:
        return not (self.disable or self.delete or self.remove_memberships or self.set_attributes)


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """The options of an object mapping, see the module's table."""

    table: str | None = None
    on_disable: Action = Action(disable=True)
    on_unassign: Action = Action(disable=True)
    on_soft_delete: Action = Action(disable=True)
    on_delete: Action = Action(delete=True)
    hire_disabled: HireDisabled = "skip"
    skip_out_of_scope_deletions: bool = False
    recreate_missing: RecreateMissing = "recreate"
    match_prefer: MatchPrefer = "none"
    members: Members = "managed"
    nested_groups: NestedGroups = "ignore"
    app_roles: AppRoles = "off"
    protected_accounts: tuple[str, ...] = ("admin",)


@dataclass(frozen=True, slots=True)
class AttributeOptions:
    """The options of an attribute mapping, see the module's table."""

    reference_policy: ReferencePolicy = "omit"
    reference_table: str | None = None
    reference_columns: tuple[str, ...] = ()
    match_case: MatchCase | None = None
    clear: bool = True
    clear_never_provisioned: bool = False
    drift: Drift = "report"
    on_overflow: Overflow = "refuse"
    redact: bool = False


class _Reader:
    """Reads options out of metadata entries and collects what does not fit."""

    def __init__(self, metadata: tuple[Metadata, ...]) -> None:
        self.faults: list[Fault] = []
        self._entries: dict[str, Metadata] = {}
        for entry in metadata:
            if entry.key in self._entries and entry.key in OPTION_KEYS:
                self.faults.append(Fault(f"{entry.path}.key", f"{entry.key} is given twice"))
            self._entries[entry.key] = entry

    def _fault(self, key: str, message: str) -> None:
        self.faults.append(Fault(f"{self._entries[key].path}.value", f"{key}: {message}"))

    def text(self, key: str) -> str | None:
        entry = self._entries.get(key)
        return entry.value.strip() if entry and entry.value.strip() else None

    def choice[T: str](self, key: str, allowed: tuple[T, ...], default: T) -> T:
        text = self.text(key)
        if text is None:
            return default
        for word in allowed:
            if word.lower() == text.lower():
                return word
        self._fault(key, f'"{text}" is not one of {", ".join(allowed)}')
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        return self.choice(key, ("true", "false"), "true" if default else "false") == "true"

    def names(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        text = self.text(key)
        return default if text is None else tuple(name.strip() for name in text.split(",") if name.strip())

    def action(self, key: str, default: Action) -> Action:
        text = self.text(key)
        if text is None:
            return default
        words: set[str] = set()
        columns: list[tuple[str, str]] = []
        for part in self._parts(text):
            found = _SET.fullmatch(part)
            if found is not None:
                columns.append((found[1], found[2].strip()))
            elif part in {"nothing", "disable", "delete", "removeMemberships"}:
                words.add(part)
            else:
                self._fault(key, f'"{part}" is not nothing, disable, delete, removeMemberships or set COLUMN=VALUE')
        if ("nothing" in words and (len(words) > 1 or columns)) or ("delete" in words and (len(words) > 1 or columns)):
            self._fault(key, "nothing and delete stand alone")
        return Action("disable" in words, "delete" in words, "removeMemberships" in words, tuple(columns))

    @staticmethod
    def _parts(text: str) -> Iterator[str]:
        return (part.strip() for part in text.split(";") if part.strip())


def read_object_options(metadata: tuple[Metadata, ...]) -> tuple[ObjectOptions, tuple[Fault, ...]]:
    """The options of an object mapping, and what is wrong with them."""
    reader = _Reader(metadata)
    standard = ObjectOptions()
    options = ObjectOptions(
        table=reader.text("Table"),
        on_disable=reader.action("OnDisable", standard.on_disable),
        on_unassign=reader.action("OnUnassign", standard.on_unassign),
        on_soft_delete=reader.action("OnSoftDelete", standard.on_soft_delete),
        on_delete=reader.action("OnDelete", standard.on_delete),
        hire_disabled=reader.choice("HireDisabled", get_args(HireDisabled.__value__), standard.hire_disabled),
        skip_out_of_scope_deletions=reader.flag("SkipOutOfScopeDeletions", default=False),
        recreate_missing=reader.choice("RecreateMissing", get_args(RecreateMissing.__value__), standard.recreate_missing),
        match_prefer=reader.choice("MatchPrefer", get_args(MatchPrefer.__value__), standard.match_prefer),
        members=reader.choice("Members", get_args(Members.__value__), standard.members),
        nested_groups=reader.choice("NestedGroups", get_args(NestedGroups.__value__), standard.nested_groups),
        app_roles=reader.choice("AppRoles", get_args(AppRoles.__value__), standard.app_roles),
        protected_accounts=reader.names("ProtectedAccounts", standard.protected_accounts),
    )
    return options, tuple(reader.faults)


def read_attribute_options(metadata: tuple[Metadata, ...]) -> tuple[AttributeOptions, tuple[Fault, ...]]:
    """The options of an attribute mapping, and what is wrong with them."""
    reader = _Reader(metadata)
    standard = AttributeOptions()
    has_case = reader.text("MatchCase") is not None
    options = AttributeOptions(
        reference_policy=reader.choice("ReferencePolicy", get_args(ReferencePolicy.__value__), standard.reference_policy),
        reference_table=reader.text("ReferenceTable"),
        reference_columns=reader.names("ReferenceColumns", ()),
        match_case=reader.choice("MatchCase", get_args(MatchCase.__value__), "ignore") if has_case else None,
        clear=reader.flag("Clear", default=standard.clear),
        clear_never_provisioned=reader.flag("ClearNeverProvisioned", default=standard.clear_never_provisioned),
        drift=reader.choice("Drift", get_args(Drift.__value__), standard.drift),
        on_overflow=reader.choice("OnOverflow", get_args(Overflow.__value__), standard.on_overflow),
        redact=reader.flag("Redact", default=standard.redact),
    )
    return options, tuple(reader.faults)


OPTION_KEYS = frozenset({
    "Table", "OnDisable", "OnUnassign", "OnSoftDelete", "OnDelete", "HireDisabled", "SkipOutOfScopeDeletions",
    "RecreateMissing", "MatchPrefer", "Members", "NestedGroups", "AppRoles", "ProtectedAccounts",
    "ReferencePolicy", "ReferenceTable", "ReferenceColumns", "MatchCase", "Clear", "ClearNeverProvisioned", "Drift",
    "OnOverflow", "Redact",
})  # fmt: skip
