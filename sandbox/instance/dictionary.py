"""Tables and columns that the instance has out of the box, and their rows in sys_dictionary and sys_db_object.

Names, references and cascade rules follow ServiceNow's documentation ("Create a user", "Cascade delete rules") and the
public field lists of other connectors (AWS Connect, Ping). Lengths are those of a base system where published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .config import CustomColumn, InstanceConfig

type Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``cascade`` is what happens to the row when the record it refers to is deleted: clear or delete."""

    name: str
    type: str = "string"
    max_length: int = 40
    reference: str = ""
    display: bool = False
    unique: bool = False
    mandatory: bool = False
    read_only: bool = False
    indexed: bool = False
    default: str = ""
    cascade: str = "clear"

    @property
    def label(self) -> str:
        return self.name.removeprefix("sys_").replace("_", " ").capitalize()

    @property
    def searchable(self) -> bool:
        """Whether equality on this column is answered from an index."""
        return self.indexed or self.unique or self.display or (self.type == "reference")


class TableDefinition:
    """A table's columns by name, with the display column that references show."""

    __slots__ = ("columns", "display", "label", "name")

    def __init__(self, name: str, label: str, columns: Iterable[Column]) -> None:
        self.name = name
        self.label = label
        self.columns = {column.name: column for column in (*columns, *_system_columns(name))}
        self.display = next((column.name for column in self.columns.values() if column.display), "sys_id")


def sys_id_of(*parts: str) -> str:
    """Return a stable sys_id for a record that is the same in every run."""
    return hashlib.md5("/".join(parts).encode(), usedforsecurity=False).hexdigest()


def _system_columns(table: str) -> tuple[Column, ...]:
    return (
        Column("sys_id", "GUID", 32, unique=True),
        Column("sys_created_on", "glide_date_time", read_only=True),
        Column("sys_created_by", read_only=True),
        Column("sys_updated_on", "glide_date_time", read_only=True),
        Column("sys_updated_by", read_only=True),
        Column("sys_mod_count", "integer", read_only=True, default="0"),
        Column("sys_class_name", "sys_class_name", 80, default=table, read_only=True),
        Column("sys_domain", "domain_id", 32, reference="sys_user_group", default="global", read_only=True),
        Column("sys_domain_path", "domain_path", 255, default="/", read_only=True),
        Column("sys_tags", "related_tags", read_only=True),
    )


def _text(*names: str, length: int = 40) -> tuple[Column, ...]:
    return tuple(Column(name, max_length=length) for name in names)


def _flag(*names: str, default: str = "false") -> tuple[Column, ...]:
    return tuple(Column(name, "boolean", default=default) for name in names)


def _reference(name: str, table: str, cascade: str = "clear", *, mandatory: bool = False) -> Column:
    return Column(name, "reference", 32, reference=table, cascade=cascade, mandatory=mandatory)


def _base_tables() -> tuple[TableDefinition, ...]:
    return (
        TableDefinition(
            "sys_user",
            "User",
            (
                Column("user_name", unique=True),
                Column("name", max_length=151, display=True),
                *_text("first_name", "middle_name", "last_name", length=50),
                Column("email", "email", 100, indexed=True),
                Column("employee_number", indexed=True),
                *_flag("active", default="true"),
                *_flag("locked_out", "password_needs_reset", "vip", "web_service_access_only", "internal_integration_user"),
                *_flag("enable_multifactor_authn"),
                _reference("manager", "sys_user"),
                _reference("department", "cmn_department"),
                _reference("location", "cmn_location"),
                _reference("company", "core_company"),
                _reference("cost_center", "cmn_cost_center"),
                _reference("building", "cmn_building"),
                _reference("default_perspective", "sys_perspective"),
                _reference("schedule", "cmn_schedule"),
                Column("title", max_length=60),
                *(Column(name, "ph_number") for name in ("phone", "mobile_phone", "home_phone")),
                Column("street", max_length=255),
                *_text("city", "state", "zip", "gender", "introduction", "preferred_language", "time_zone"),
                *_text("date_format", "time_format", "time_sheet_policy", "failed_attempts", "roles"),
                Column("country", max_length=3),
                Column("notification", "integer", default="2"),
                Column("calendar_integration", "integer", default="1"),
                Column("identity_type", default="human"),
                *_text("source", "sso_source", length=255),
                Column("user_password", "password", 255),
                Column("photo", "user_image"),
                Column("last_login", "glide_date", read_only=True),
                Column("last_login_time", "glide_date_time", read_only=True),
            ),
        ),
        TableDefinition(
            "sys_user_group",
            "Group",
            (
                Column("name", max_length=80, display=True),
                Column("description", max_length=1000),
                *_flag("active", default="true"),
                _reference("manager", "sys_user"),
                _reference("parent", "sys_user_group"),
                _reference("default_assignee", "sys_user"),
                _reference("cost_center", "cmn_cost_center"),
                _reference("company", "core_company"),
                Column("type", "glide_list", 1024),
                Column("email", "email", 100),
                *_text("source", length=255),
                *_text("roles"),
                *_flag("exclude_manager", "include_members"),
            ),
        ),
        TableDefinition(
            "sys_user_grmember",
            "Group Member",
            (
                _reference("user", "sys_user", "delete", mandatory=True),
                _reference("group", "sys_user_group", "delete", mandatory=True),
                *_text("scrum_role"),
                Column("average_points_per_sprint", "integer"),
            ),
        ),
        TableDefinition(
            "cmn_department",
            "Department",
            (
                Column("name", max_length=100, display=True),
                *_text("id", "description"),
                _reference("dept_head", "sys_user"),
                _reference("primary_contact", "sys_user"),
                _reference("parent", "cmn_department"),
                _reference("company", "core_company"),
                _reference("cost_center", "cmn_cost_center"),
                Column("head_count", "integer"),
            ),
        ),
        TableDefinition(
            "cmn_location",
            "Location",
            (
                Column("name", max_length=100, display=True),
                Column("full_name", max_length=255, read_only=True),
                *_text("street", length=255),
                *_text("city", "state", "zip", "country", "phone", "time_zone"),
                _reference("parent", "cmn_location"),
                _reference("company", "core_company"),
                _reference("contact", "sys_user"),
            ),
        ),
        TableDefinition(
            "core_company",
            "Company",
            (
                Column("name", max_length=80, display=True),
                _reference("parent", "core_company"),
                *_flag("customer", "vendor", "manufacturer", "primary"),
                *_text("street", length=255),
                *_text("city", "state", "zip", "country", "phone", "website"),
                _reference("contact", "sys_user"),
            ),
        ),
        TableDefinition(
            "cmn_cost_center",
            "Cost Center",
            (
                Column("name", max_length=100, display=True),
                *_text("code", "account_number"),
                _reference("manager", "sys_user"),
                _reference("parent", "cmn_cost_center"),
                Column("valid_from", "glide_date_time"),
                Column("valid_to", "glide_date_time"),
            ),
        ),
        TableDefinition(
            "cmn_building",
            "Building",
            (
                Column("name", max_length=100, display=True),
                _reference("location", "cmn_location"),
                _reference("contact", "sys_user"),
                Column("floors", "integer"),
                Column("notes", max_length=1000),
            ),
        ),
        TableDefinition(
            "sys_user_role",
            "Role",
            (
                Column("name", max_length=100, display=True, unique=True),
                Column("description", max_length=1000),
                *_flag("elevated_privilege"),
            ),
        ),
        TableDefinition(
            "sys_user_has_role",
            "User Role",
            (
                _reference("user", "sys_user", "delete", mandatory=True),
                _reference("role", "sys_user_role", "delete", mandatory=True),
                _reference("granted_by", "sys_user_group"),
                *_flag("inherited"),
                Column("inh_count", "integer"),
                Column("state", default="active"),
            ),
        ),
        TableDefinition(
            "sys_group_has_role",
            "Group Role",
            (
                _reference("group", "sys_user_group", "delete", mandatory=True),
                _reference("role", "sys_user_role", "delete", mandatory=True),
                *_flag("inherits", default="true"),
            ),
        ),
        TableDefinition(
            "sys_properties",
            "System Property",
            (
                Column("name", max_length=100, display=True, unique=True),
                Column("value", max_length=4000),
                Column("type", default="string"),
                Column("description", max_length=4000),
            ),
        ),
        TableDefinition(
            "sys_choice",
            "Choice",
            (
                Column("name", max_length=80, indexed=True),
                Column("element", max_length=80, indexed=True),
                Column("value", max_length=255),
                Column("label", max_length=255, display=True),
                Column("sequence", "integer"),
                Column("language", default="en"),
                *_flag("inactive"),
            ),
        ),
        TableDefinition(
            "sys_db_object",
            "Table",
            (
                Column("name", max_length=80, indexed=True),
                Column("label", max_length=80, display=True),
                _reference("super_class", "sys_db_object"),
                *_flag("is_extendable"),
            ),
        ),
        TableDefinition(
            "sys_dictionary",
            "Dictionary Entry",
            (
                Column("name", max_length=80, indexed=True),
                Column("element", max_length=80, indexed=True),
                Column("column_label", max_length=80, display=True),
                Column("internal_type"),
                Column("max_length", "integer"),
                Column("reference", max_length=80),
                Column("reference_cascade_rule"),
                Column("default_value", max_length=512),
                *_flag("active", default="true"),
                *_flag("mandatory", "read_only", "unique", "display", "virtual"),
            ),
        ),
    )


DESCRIPTIVE_TABLES: Final = ("sys_db_object", "sys_dictionary")
"""Tables whose rows are made from the definitions at every start."""


def definitions(config: InstanceConfig) -> dict[str, TableDefinition]:
    """Return every table of an instance with this configuration: custom columns and changed lengths included."""
    tables = {table.name: table for table in _base_tables()}
    for custom in config.custom_columns:
        tables[custom.table].columns[custom.name] = _custom(custom)
    for path, length in config.max_lengths:
        table, _, name = path.partition(".")
        tables[table].columns[name] = replace(tables[table].columns[name], max_length=length)
    if config.unique_group_names:
        columns = tables["sys_user_group"].columns
        columns["name"] = replace(columns["name"], unique=True)
    return tables


def _custom(custom: CustomColumn) -> Column:
    return Column(
        custom.name,
        "reference" if custom.reference else custom.type,
        custom.max_length,
        reference=custom.reference,
        unique=custom.unique,
        indexed=True,
    )


def describe(tables: Mapping[str, TableDefinition]) -> dict[str, list[dict[str, str]]]:
    """Return the sys_db_object and sys_dictionary rows for the tables, a collection row (empty element) included."""
    objects = [{"sys_id": sys_id_of("table", table.name), "name": table.name, "label": table.label} for table in tables.values()]
    entries: list[dict[str, str]] = []
    for table in tables.values():
        entries.append(_entry(table.name, Column("", "collection"), label=table.label))
        entries.extend(_entry(table.name, column, label=column.label) for column in table.columns.values())
    return {"sys_db_object": objects, "sys_dictionary": entries}


def _entry(table: str, column: Column, *, label: str) -> dict[str, str]:
    return {
        "sys_id": sys_id_of("column", table, column.name),
        "name": table,
        "element": column.name,
        "column_label": label,
        "internal_type": column.type,
        "max_length": str(column.max_length),
        "reference": column.reference,
        "reference_cascade_rule": column.cascade if column.reference else "",
        "default_value": column.default,
        "active": "true",
        "mandatory": _bool(column.mandatory),
        "read_only": _bool(column.read_only),
        "unique": _bool(column.unique),
        "display": _bool(column.display),
    }


def _bool(value: bool) -> str:
    return "true" if value else "false"
