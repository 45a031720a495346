"""What the provisioning log says about what was skipped, waits, or did not fit."""

from __future__ import annotations

from typing import Any

from sandbox.demo.outcomes import counts_table, reasons, reasons_table

_MANAGER = "manager refers to 6f1f3c9e-5a44-4c1e-9b8e-2a6f0f6f6d11, who is not provisioned in ServiceNow (yet)"
_COUNTRY = "the value of country has 7 characters, 3 fit: it was left out"


def _entry(name: str, status: str, reason: str = "", *, wait: str = "", **more: Any) -> dict[str, Any]:
    """A log entry of ``name``; ``wait`` is what the reference resolution complained of."""
    step = {"provisioningStepType": "referenceResolution", "status": "warning", "description": wait, "details": {}}
    return {
        "sourceIdentity": {"id": f"id-{name}", "displayName": name},
        "provisioningStatusInfo": {"status": status, "errorInformation": {"reason": reason} if reason else None},
        "provisioningSteps": [step] if wait else [],
        "modifiedProperties": [],
    } | more


def _members(group: str, *, waiting: str = "", added: str = "") -> dict[str, Any]:
    step = {
        "provisioningStepType": "referenceResolution",
        "status": "warning",
        "description": "",
        "details": {"members": waiting},
    }
    change = {"displayName": "members", "oldValue": None, "newValue": added}
    steps, changes = [step] if waiting else [], [change] if added else []
    return _entry(group, "success", provisioningSteps=steps, modifiedProperties=changes)


def test_reasons_that_differ_only_by_object_are_one() -> None:
    found = reasons([_entry("ann", "warning", _MANAGER, wait=_MANAGER), _entry("bob", "warning", _MANAGER, wait=_MANAGER)], {})
    assert found.waiting == {"manager refers to somebody, who is not provisioned in ServiceNow (yet)": {"ann", "bob"}}
    assert not found.left_out


def test_who_waited_and_was_linked_since_does_not_wait() -> None:
    found = reasons([_entry("ann", "success"), _entry("ann", "warning", _MANAGER, wait=_MANAGER)], {})
    assert not found.waiting


def test_a_value_that_did_not_fit_is_told_apart_from_a_wait() -> None:
    found = reasons([_entry("ann", "warning", f"{_MANAGER}; {_COUNTRY}", wait=_MANAGER)], {})
    assert list(found.left_out) == ["the value of country has too many characters, 3 fit: it was left out"]


def test_skipped_and_failed_have_their_own_reasons() -> None:
    found = reasons([_entry("ann", "skipped", "it is disabled"), _entry("bob", "failure", "two records match")], {})
    assert found.skipped == {"it is disabled": {"ann"}}
    assert found.failed == {"two records match": {"bob"}}


def test_a_membership_waits_until_a_newer_entry_says_that_it_was_added() -> None:
    newest_first = [_members("sales", added="u1"), _members("sales", waiting="u1,u2")]
    found = reasons(newest_first, {"u2": "bob@contoso.com", "id-sales": "Sales Team"})
    assert list(found.waiting.values()) == [{"bob@contoso.com in Sales Team"}]
    again = reasons([_members("sales", waiting="u1"), _members("sales", added="u1")], {})
    assert list(again.waiting.values()) == [{"u1 in id-sales"}]


def test_the_tables_show_counts_and_an_example() -> None:
    counts = counts_table({"users": {"created": 1900, "skipped": 2}, "groups": {"created": 3, "added": 40}})
    assert "users        created 1,900   skipped 2" in counts
    assert "memberships  added 40" in counts
    text = reasons_table(reasons([_entry("ann", "skipped", "it is disabled")], {}))
    assert "1  it is disabled  (e.g. ann)" in text
