"""A schema as Microsoft's service exports it: older names, unknown fields, repeated parameter keys. Sample data."""

from __future__ import annotations

from typing import Any


def _source(kind: str, name: str, expression: str, parameters: list[Any] | None = None) -> dict[str, Any]:
    return {"expression": expression, "name": name, "type": kind, "parameters": parameters or []}


def _attribute(name: str) -> dict[str, Any]:
    return _source("Attribute", name, f"[{name}]")


def _constant(text: str) -> dict[str, Any]:
    return _source("Constant", text, f'"{text}"')


def mapping(target: str, source: dict[str, Any] | None, *, matching: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "defaultValue": None,
        "exportMissingReferences": False,
        "flowBehavior": "FlowWhenChanged",
        "flowType": "Always",
        "matchingPriority": matching,
        "targetAttributeName": target,
        "source": source,
        **more,
    }


def direct(target: str, name: str, *, matching: int = 0, **more: Any) -> dict[str, Any]:
    return mapping(target, _attribute(name), matching=matching, **more)


def function(target: str, expression: str, *, matching: int = 0) -> dict[str, Any]:
    return mapping(target, _source("Function", expression.partition("(")[0], expression), matching=matching)


def _definition(name: str, kind: str = "String", *, anchor: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "anchor": anchor,
        "caseExact": False,
        "multivalued": False,
        "mutability": "ReadWrite",
        "required": False,
        "defaultValue": None,
        "flowNullValues": False,
        "apiExpressions": [],
        "metadata": [],
        "referencedObjects": [],
    }


def exported() -> dict[str, Any]:
    """A fresh copy each time: tests bend it."""
    switch = _source(
        "Function",
        "Switch",
        'Switch([IsSoftDeleted], , "False", "True", "True", "False")',
        [
            {"key": "source", "value": _attribute("IsSoftDeleted")},
            *({"key": "switchValue", "value": _constant(text)} for text in ("False", "True", "True", "False")),
        ],
    )
    phone = _source(
        "Function",
        "StripSpaces",
        "StripSpaces( [telephoneNumber] )",
        [{"key": "source", "value": _attribute("telephoneNumber")}],
    )
    users = {
        "name": "Synchronize Azure Active Directory Users to ServiceNow",
        "enabled": True,
        "flowTypes": "Add,Update,Delete",
        "sourceObjectName": "User",
        "targetObjectName": "sys_user",
        "scope": {
            "groups": [
                {
                    "name": "Office",
                    "clauses": [
                        {
                            "operatorName": "IS NOT NULL",
                            "sourceOperandName": "physicalDeliveryOfficeName",
                            "targetOperand": {"values": []},
                        },
                        {"operatorName": "EQUALS", "sourceOperandName": "dirSyncEnabled", "targetOperand": {"values": ["True"]}},
                    ],
                },
            ],
            "inputFilterGroups": [],
            "categoryFilterGroups": [],
        },
        "groupFilter": None,
        "containerFilter": None,
        "metadata": [{"key": "EscrowBehavior", "value": "Default"}, {"key": "IsCustomerDefined", "value": "False"}],
        "attributeMappings": [
            direct("user_name", "userPrincipalName", matching=1),
            mapping("active", switch),
            mapping("phone", phone),
            direct("mobile_phone", "mobile"),
            direct("location", "physicalDeliveryOfficeName"),
            direct("u_object_id", "objectId"),
            mapping("preferred_language", None, defaultValue="en"),
            mapping("company", _constant("Contoso"), flowType="ObjectAddOnly"),
        ],
    }
    source_attributes = [
        _definition("objectId", anchor=True),
        *(_definition(name) for name in ("IsSoftDeleted", "userPrincipalName", "telephoneNumber", "mobile", "dirSyncEnabled")),
        _definition("physicalDeliveryOfficeName"),
    ]
    targets = ("user_name", "active", "phone", "mobile_phone", "location", "u_object_id", "preferred_language", "company")
    return {
        "@odata.context": "https://graph.microsoft.com/beta/$metadata#schema",
        "id": "ServiceNowOutDelta.tenant.principal",
        "version": "Date:2025-01-01T00:00:00.0000000Z, Version:1",
        "provisioningTaskIdentifier": "kept",
        "directories": [
            {
                "id": "aad",
                "name": "Azure Active Directory",
                "discoverabilities": "None",
                "discoveryDateTime": None,
                "version": "1",
                "objects": [{"name": "User", "metadata": [], "supportedApis": [], "attributes": source_attributes}],
            },
            {
                "id": "snow",
                "name": "ServiceNow",
                "objects": [{"name": "sys_user", "metadata": [], "attributes": [_definition(name) for name in targets]}],
            },
        ],
        "synchronizationRules": [
            {
                "id": "USER_OUTBOUND_USER",
                "name": "USER_OUTBOUND_USER",
                "editable": True,
                "priority": 1,
                "sourceDirectoryName": "Azure Active Directory",
                "targetDirectoryName": "ServiceNow",
                "containerFilter": {"includedContainers": []},
                "metadata": [],
                "objectMappings": [users],
            },
        ],
    }
