"""Invented people and groups of the local tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.world import World


def hire(here: World, name: str, **properties: object) -> str:
    """A user called ``name``@contoso.com (or as ``userPrincipalName`` says); returns the object id."""
    upn = f"{name}@contoso.com"
    values = {
        "userPrincipalName": upn,
        "displayName": name.title(),
        "givenName": name.title(),
        "surname": "Sample",
        "mail": upn,
        **properties,
    }
    return here.tenant.tenant.create_user(**values)


def record_of(here: World, name: str) -> dict[str, str]:
    """The one sys_user record of ``name``@contoso.com."""
    row = here.user(f"{name}@contoso.com")
    assert row is not None, f"nobody is called {name}@contoso.com in ServiceNow"
    return row


def memberships(here: World, group_name: str) -> list[str]:
    """User names of a group's sys_user_grmember rows, sorted, duplicates included."""
    users = here.rows("sys_user")
    groups = {sys_id for sys_id, row in here.rows("sys_user_group").items() if row["name"] == group_name}
    return sorted(users[row["user"]]["user_name"] for row in here.rows("sys_user_grmember").values() if row["group"] in groups)
