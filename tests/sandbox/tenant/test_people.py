from __future__ import annotations

import time
from collections import Counter

from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS, generate


def test_the_same_seed_makes_the_same_organisation_and_another_seed_another() -> None:
    assert generate(7, 200, 20) == generate(7, 200, 20)
    assert generate(7, 200, 20) != generate(8, 200, 20)


def test_identifiers_are_unique_and_mail_addresses_are_plain_ascii() -> None:
    users = generate(1, 5000, 0).users
    assert len({user.id for user in users}) == 5000
    assert len({user.properties["userPrincipalName"].lower() for user in users}) == 5000
    numbers = [user.properties["employeeId"] for user in users if "employeeId" in user.properties]
    assert len(set(numbers)) == len(numbers)
    assert all(user.properties["userPrincipalName"].isascii() for user in users)
    assert any(not user.properties["displayName"].isascii() for user in users)


def test_managers_make_one_tree_with_spans_of_about_seven() -> None:
    users = generate(1, 2000, 0).users
    above = {user.id: user.manager_id for user in users}
    tops = [user for user in users if user.manager_id is None and user.properties["userType"] == "Member"]
    assert tops == [users[0]]
    for user in users:
        steps, manager = 0, user.manager_id
        while manager is not None:
            steps, manager = steps + 1, above[manager]
            assert steps < 10
    spans = Counter(above.values())
    del spans[None]
    assert max(spans.values()) <= 7
    assert sum(spans.values()) / len(spans) > 6


def test_guests_disabled_people_and_missing_values_are_there_in_their_shares() -> None:
    users = generate(1, 5000, 0).users
    guests = [user for user in users if user.properties["userType"] == "Guest"]
    assert 0.02 < len(guests) / 5000 < 0.04
    assert all("#EXT#@contoso.com" in user.properties["userPrincipalName"] for user in guests)
    assert 0.03 < sum(not user.properties["accountEnabled"] for user in users) / 5000 < 0.05
    assert any("officeLocation" not in user.properties for user in users)
    assert any("jobTitle" in user.properties and user.properties["jobTitle"] is None for user in users)


def test_reference_values_come_from_the_exported_lists() -> None:
    users = [user.properties for user in generate(1, 5000, 0).users]
    for name, known in (("department", DEPARTMENTS), ("officeLocation", LOCATIONS), ("companyName", COMPANIES)):
        assert {properties[name] for properties in users if properties.get(name)} == set(known)
    centers = {properties["employeeOrgData"]["costCenter"] for properties in users if properties.get("employeeOrgData")}
    assert centers == set(COST_CENTERS)


def test_groups_are_of_very_different_sizes_with_six_memberships_a_user() -> None:
    made = generate(1, 2000, 100)
    sizes = sorted(len(group.member_ids) for group in made.groups)
    assert 5.5 < sum(sizes) / 2000 < 6.5
    assert sizes[-1] > 50 * sizes[0]
    assert len({group.properties["displayName"] for group in made.groups}) == 100
    groups, devices = {group.id for group in made.groups}, {device.id for device in made.devices}
    assert any(groups & set(group.member_ids) for group in made.groups)
    assert any(devices & set(group.member_ids) for group in made.groups)
    assert any("Unified" in group.properties["groupTypes"] for group in made.groups)
    assert any("description" not in group.properties for group in made.groups)


def test_small_organisations_are_possible() -> None:
    for users, groups in ((0, 0), (1, 0), (1, 1), (2, 3), (0, 2)):
        made = generate(1, users, groups)
        assert (len(made.users), len(made.groups)) == (users, groups)


def test_fifty_thousand_people_take_seconds() -> None:
    started = time.process_time()
    assert len(generate(1, 50_000, 200).users) == 50_000
    assert time.process_time() - started < 15
